import type { Browser } from '../../../examples/demo/browser.js'
import { attributesOf, wordsOf } from '../../support/html.js'

/** A page on which there was nothing to press. */
export interface PageSeen {
  readonly status: number
  readonly html: string
}

/** Somebody at a browser of their own, who signs in at Keycloak and agrees to what is asked, there and here. */
export interface Person extends Browser {
  /** Goes on until there is nothing to press. */
  readonly walk: (url: URL) => Promise<PageSeen>
  /** Addresses that were opened, in their order. */
  readonly opened: readonly string[]
}

export interface PersonOptions {
  readonly username: string
  readonly password: string
  /** Origins that are somewhere else than their names say, as in a hosts file. */
  readonly hosts?: Readonly<Record<string, string>>
}

interface Form {
  readonly action: string
  readonly fields: URLSearchParams
}

interface Cookie {
  readonly value: string
  readonly path: string
}

/** Steps of the longest way, doubled: a loop is to fail. */
const MOST_STEPS = 30

/** Buttons that mean yes: on Keycloak's page of consent, and on ours. */
const YES: readonly (readonly [name: string, value: string])[] = [
  ['accept', ''],
  ['answer', 'yes'],
]

export function createPerson({ username, password, hosts = {} }: PersonOptions): Person {
  /** By host, as a browser keeps them: ports are not told apart. */
  const cookies = new Map<string, Map<string, Cookie>>()
  const opened: string[] = []

  async function send(url: URL, body?: URLSearchParams): Promise<Response> {
    opened.push(url.origin + url.pathname)
    const jar = cookies.get(url.hostname) ?? new Map<string, Cookie>()
    cookies.set(url.hostname, jar)
    const sent = [...jar].filter(([, { path }]) => url.pathname.startsWith(path))
    const response = await fetch((hosts[url.origin] ?? url.origin) + url.pathname + url.search, {
      method: body === undefined ? 'GET' : 'POST',
      redirect: 'manual',
      headers: { cookie: sent.map(([name, { value }]) => `${name}=${value}`).join('; '), accept: 'text/html' },
      ...(body && { body }),
    })
    for (const header of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? []
      if (value === '' || /;\s*max-age=0/i.test(header)) jar.delete(name)
      else jar.set(name, { value, path: /;\s*path=([^;]*)/i.exec(header)?.[1] ?? '/' })
    }
    return response
  }

  /** What this person does on a page. */
  function filledIn(html: string): Form | undefined {
    const [, attributes = '', inside = ''] = /<form\b([^>]*)>(.*?)<\/form>/s.exec(html) ?? []
    const controls = [...inside.matchAll(/<(?:input|button)\b([^>]*)>/g)].map(([, text = '']) => attributesOf(text))
    const fields = new URLSearchParams()
    for (const { type, name = '', value = '' } of controls) if (type === 'hidden') fields.set(name, value)
    const yes = YES.find(([name, value]) =>
      controls.some((control) => control['name'] === name && (control['value'] ?? '') === value),
    )
    if (controls.some(({ name }) => name === 'password')) {
      fields.set('username', username)
      fields.set('password', password)
    } else if (yes !== undefined) fields.set(...yes)
    else return undefined
    return { action: attributesOf(attributes)['action'] ?? '', fields }
  }

  async function go(start: URL, stopAt?: string): Promise<URL | PageSeen> {
    let url = start
    let body: URLSearchParams | undefined
    for (let step = 0; step < MOST_STEPS; step += 1) {
      const response = await send(url, body)
      const target =
        response.headers.get('location') ?? /^0; url=(.+)$/.exec(response.headers.get('refresh') ?? '')?.[1]
      const html = await response.text()
      if (target !== undefined) {
        url = new URL(target, url)
        body = undefined
        if (stopAt !== undefined && url.href.startsWith(stopAt)) return url
        continue
      }
      const form = filledIn(html)
      if (form === undefined) return { status: response.status, html }
      // Without an action, a form goes to the page that it is on.
      if (form.action !== '') url = new URL(form.action, url)
      body = form.fields
    }
    throw new Error('The way did not come to an end')
  }

  async function walk(url: URL): Promise<PageSeen> {
    const end = await go(url)
    if (end instanceof URL) throw new Error('A walk ends on a page')
    return end
  }

  return {
    opened,
    walk,
    async open(url, stopAt) {
      const end = await go(url, stopAt)
      if (end instanceof URL) return end
      throw new Error(`The way ended with status ${end.status} on a page that says: ${wordsOf(end.html).slice(0, 300)}`)
    },
    visit: async (url) => (await walk(url)).html,
  }
}
