import { attributesOf, wordsOf } from '../html.js'

/** A page on which there was nothing to press. */
export interface PageSeen {
  readonly status: number
  readonly html: string
  readonly url: URL
}

/** Somebody at a browser without scripts, who signs in, agrees, and goes on until there is nothing to press. */
export interface Visitor {
  readonly open: (url: string | URL) => Promise<PageSeen>
  /** The same, until the browser is sent to an address that begins so, which is not opened. */
  readonly until: (url: string | URL, stopAt: string) => Promise<URL>
  /** Sends a form, and goes on from there. */
  readonly submit: (url: string | URL, fields: Readonly<Record<string, string>>) => Promise<PageSeen>
  /** Sets a cookie of a host, as if it had been there before. */
  readonly setCookie: (host: string, cookie: string) => void
  /** The `Cookie` header that it sends to an address. */
  readonly cookies: (url: string | URL) => string
}

interface Step {
  readonly url: URL
  readonly fields?: URLSearchParams
}

interface Cookie {
  readonly value: string
  readonly path: string
}

/** Steps of the longest way, doubled: a loop is to fail. */
const MOST_STEPS = 30

/** @param account what is typed into every sign-in: at a provider as at Nextcloud */
export function createVisitor(account: { readonly name: string; readonly password: string }): Visitor {
  /** By host, as a browser keeps them: ports are not told apart. */
  const jars = new Map<string, Map<string, Cookie>>()
  const jarOf = (host: string): Map<string, Cookie> => {
    const jar = jars.get(host) ?? new Map<string, Cookie>()
    jars.set(host, jar)
    return jar
  }

  const cookiesFor = (url: URL): string =>
    [...jarOf(url.hostname)]
      .filter(([, { path }]) => url.pathname.startsWith(path))
      .map(([name, { value }]) => `${name}=${value}`)
      .join('; ')

  async function send({ url, fields }: Step): Promise<Response> {
    const jar = jarOf(url.hostname)
    const response = await fetch(url, {
      method: fields === undefined ? 'GET' : 'POST',
      redirect: 'manual',
      headers: {
        cookie: cookiesFor(url),
        accept: 'text/html',
        ...(fields && { origin: url.origin }),
      },
      ...(fields && { body: fields }),
    })
    for (const header of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? []
      if (value === '' || value === 'deleted' || /;\s*max-age=0/i.test(header)) jar.delete(name)
      else jar.set(name, { value, path: /;\s*path=([^;]*)/i.exec(header)?.[1] ?? '/' })
    }
    return response
  }

  async function go(start: string | URL, stopAt?: string, fields?: URLSearchParams): Promise<PageSeen | URL> {
    let step: Step = { url: new URL(start), ...(fields && { fields }) }
    for (let count = 0; count < MOST_STEPS; count += 1) {
      const response = await send(step)
      const html = await response.text()
      const target =
        response.headers.get('location') ?? /^0; url=(.+)$/.exec(response.headers.get('refresh') ?? '')?.[1]
      const next = target === undefined ? pressed(html, step.url, account) : { url: new URL(target, step.url) }
      if (next === undefined) return { status: response.status, html, url: step.url }
      if (stopAt !== undefined && next.url.href.startsWith(stopAt)) return next.url
      step = next
    }
    throw new Error('The way did not come to an end')
  }

  return {
    async open(url) {
      const end = await go(url)
      if (end instanceof URL) throw new Error('A visit ends on a page')
      return end
    },
    async submit(url, fields) {
      const end = await go(url, undefined, new URLSearchParams(fields))
      if (end instanceof URL) throw new Error('A visit ends on a page')
      return end
    },
    async until(url, stopAt) {
      const end = await go(url, stopAt)
      if (end instanceof URL) return end
      throw new Error(
        `The way ended with status ${end.status} at ${end.url.pathname}: ${wordsOf(end.html).slice(0, 300)}`,
      )
    },
    cookies: (url) => cookiesFor(new URL(url)),
    setCookie(host, cookie) {
      const [name = '', value = ''] = cookie.split('=')
      jarOf(host).set(name, { value, path: '/' })
    },
  }
}

/** Returns what is sent from a page: a form that is filled in, or nothing. */
function pressed(
  html: string,
  url: URL,
  { name, password }: { readonly name: string; readonly password: string },
): Step | undefined {
  const signIn = nextcloudSignIn(html, url)
  const authorize = /^(.*\/apps\/oidc\/)redirect$/.exec(url.pathname)?.[1]
  if (authorize !== undefined) return { url: oidcAuthorize(url, authorize) }
  if (signIn !== undefined) return { url, fields: new URLSearchParams({ user: name, password, ...signIn }) }
  for (const [, text = '', inside = ''] of html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gs)) {
    const form = attributesOf(text)
    // Nextcloud's script opens this address as it stands.
    if (form['id'] === 'login-form') return { url: new URL(form['action'] ?? '', url) }
    const fields = filledIn(inside, name, password)
    if (fields !== undefined) return { url: new URL(form['action'] ?? '', url), fields }
  }
  return undefined
}

/** Nextcloud's sign-in is a script; what it sends is this. */
function nextcloudSignIn(html: string, { pathname, searchParams }: URL): Record<string, string> | undefined {
  const [, requesttoken] = /data-requesttoken="([^"]+)"/.exec(html) ?? []
  if (requesttoken === undefined || !/\/login$/.test(pathname)) return undefined
  return { requesttoken, redirect_url: searchParams.get('redirect_url') ?? '', timezone: 'UTC', timezone_offset: '0' }
}

/** The page of the app `oidc` behind a sign-in is a script as well, which goes back to where the sign-in came from. */
function oidcAuthorize(url: URL, folder: string): URL {
  const next = new URL(`${folder}authorize${url.search}`, url)
  next.searchParams.delete('prompt')
  return next
}

function filledIn(inside: string, username: string, password: string): URLSearchParams | undefined {
  const controls = [...inside.matchAll(/<(?:input|button)\b([^>]*)>/g)].map(([, text = '']) => attributesOf(text))
  const has = (name: string, value?: string) =>
    controls.some((control) => control['name'] === name && (value === undefined || (control['value'] ?? '') === value))
  const fields = new URLSearchParams()
  for (const { type, name = '', value = '' } of controls) if (type === 'hidden') fields.set(name, value)
  if (has('answer', 'yes')) fields.set('answer', 'yes')
  else if (has('accept')) fields.set('accept', '')
  else if (has('username') && has('password')) {
    fields.set('username', username)
    fields.set('password', password)
  } else if (!has('stateToken') || has('user')) return undefined
  return fields
}
