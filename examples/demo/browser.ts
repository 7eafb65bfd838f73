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
}

/**
 * A browser with a cookie jar and without a window, so that a sign-in that is meant for a person can run in a script.
 * Cookies stay between calls: whoever signed in once is recognised.
 *
 * @param presses the buttons to press, on whichever page they are
 * @param onPress hears of each
 */
export function createBrowser(presses: readonly Press[], onPress: (press: Press) => void = () => undefined): Browser {
  const cookies = new Map<string, Cookie>()

  return {
    async open(url, stopAt) {
      let request = new Request(url, { redirect: 'manual' })
      // More steps than any sign-in needs: a loop should fail, not hang.
      for (let step = 0; step < 20; step += 1) {
        const here = new URL(request.url)
        request.headers.set('Cookie', cookieHeader(here))
        const response = await fetch(request)
        for (const header of response.headers.getSetCookie()) store(header)
        const location = response.headers.get('Location')
        if (location === null) {
          const body = formAnswer(await response.text(), here)
          request = new Request(here, { method: 'POST', body, redirect: 'manual' })
          continue
        }
        const target = new URL(location, here)
        if (target.href.startsWith(stopAt)) return target
        request = new Request(target, { redirect: 'manual' })
      }
      throw new Error('The sign-in did not come to an end')
    },
  }

  function formAnswer(html: string, here: URL): URLSearchParams {
    const press = presses.find(([name, value]) => html.includes(`name="${name}" value="${value}"`))
    if (press === undefined) throw new Error(`No button to press on the page at ${here.origin}${here.pathname}`)
    onPress(press)
    return new URLSearchParams([[...press]])
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

function splitOnce(text: string): [string, string] {
  const at = text.indexOf('=')
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
