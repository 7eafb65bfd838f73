interface Cookie {
  readonly name: string
  readonly value: string
  readonly path: string
}

/** A button of a page that the person at this browser would press: its name and value. */
export type Press = readonly [name: string, value: string]

export interface Browser {
  /**
   * Opens a page, follows redirects and presses the buttons it was told to, until it is sent to `stopAt`.
   *
   * @returns the URL that starts with `stopAt`, which is not opened
   */
  open(url: URL, stopAt: string): Promise<URL>
  /** The same, until there is a page on which there is nothing to press: that page's HTML. */
  visit(url: URL): Promise<string>
}

/** Where a walk through pages ended: before a URL that it was not to open, or on a page with nothing to press. */
type End = { readonly stoppedAt: URL } | { readonly page: string; readonly address: string }

/**
 * A browser with a cookie jar and without a window, so that a sign-in that is meant for a person can run in a script.
 * Cookies stay between calls: whoever signed in once is recognised.
 *
 * @param presses the buttons to press, on whichever page they are
 * @param onPress hears of each, and of the origin whose page it was on
 */
export function createBrowser(
  presses: readonly Press[],
  onPress: (press: Press, origin: string) => void = () => undefined,
): Browser {
  const cookies = new Map<string, Cookie>()

  return {
    async open(url, stopAt) {
      const end = await walk(url, stopAt)
      if ('stoppedAt' in end) return end.stoppedAt
      throw new Error(`No button to press on the page at ${end.address}`)
    },
    async visit(url) {
      const end = await walk(url)
      if ('page' in end) return end.page
      throw new Error('A visit ends on a page')
    },
  }

  async function walk(url: URL, stopAt?: string): Promise<End> {
    let request = new Request(url, { redirect: 'manual' })
    // More steps than any sign-in needs: a loop should fail, not hang.
    for (let step = 0; step < 20; step += 1) {
      const here = new URL(request.url)
      request.headers.set('Cookie', cookieHeader(here))
      const response = await fetch(request)
      for (const header of response.headers.getSetCookie()) store(header)
      const page = await response.text()
      const target = nextAddress(response, here)
      if (target !== undefined) {
        if (stopAt !== undefined && target.href.startsWith(stopAt)) return { stoppedAt: target }
        request = new Request(target, { redirect: 'manual' })
        continue
      }
      const body = formAnswer(page, here)
      if (body === undefined) return { page, address: here.origin + here.pathname }
      // Every form here is sent to the page that it is on.
      request = new Request(here, { method: 'POST', body, redirect: 'manual' })
    }
    throw new Error('The sign-in did not come to an end')
  }

  function formAnswer(html: string, { origin }: URL): URLSearchParams | undefined {
    const press = presses.find(([name, value]) => html.includes(`name="${name}" value="${value}"`))
    if (press === undefined) return undefined
    onPress(press, origin)
    const fields = new URLSearchParams([[...press]])
    for (const [, name = '', value = ''] of html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)) {
      fields.append(name, value)
    }
    return fields
  }

  function store(header: string): void {
    const [pair = '', ...attributes] = header.split(';').map((part) => part.trim())
    const [name, value] = splitOnce(pair)
    const path = attributes.map(splitOnce).find(([attribute]) => attribute.toLowerCase() === 'path')?.[1] ?? '/'
    if (value === '') cookies.delete(`${name} ${path}`)
    else cookies.set(`${name} ${path}`, { name, value, path })
  }

  function cookieHeader({ pathname }: URL): string {
    const fitting = [...cookies.values()].filter(({ path }) => pathname.startsWith(path))
    return fitting.map(({ name, value }) => `${name}=${value}`).join('; ')
  }
}

/** Where the browser goes on to by itself: a redirect, or a page with a `Refresh`. */
function nextAddress({ headers }: Response, here: URL): URL | undefined {
  const target = headers.get('Location') ?? /^0; url=(.+)$/.exec(headers.get('Refresh') ?? '')?.[1]
  return target === undefined ? undefined : new URL(target, here)
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf('=')
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
