import type { IncomingHttpHeaders } from 'node:http'
import { expect } from 'vitest'
import { send } from './answers.js'
import { RESOURCE } from './scripted-authorization-server.js'

export const ORIGIN = new URL(RESOURCE).origin

/** A page, as a browser has got it. */
export interface Visit {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly setCookies: readonly string[]
  readonly text: string
  /** Where the browser goes on to by itself. */
  readonly refreshTo: URL | undefined
}

export interface BrowserRequest {
  readonly method?: string
  readonly headers?: readonly (readonly [string, string])[]
  readonly body?: string
}

/** A browser that keeps cookies, as far as they are for this one server. */
export interface TestBrowser {
  readonly cookies: Map<string, string>
  /** Opens a URL of the server: its path and query. */
  readonly open: (url: string | URL, request?: BrowserRequest) => Promise<Visit>
  /** Presses a button on a page: sends its form, with the headers that browsers send along. */
  readonly press: (page: Visit, fields?: Record<string, string>, request?: BrowserRequest) => Promise<Visit>
}

/** A browser at a server, with these cookies. */
export function createTestBrowser(server: string, cookies = new Map<string, string>()): TestBrowser {
  async function open(url: string | URL, { method = 'GET', headers = [], body }: BrowserRequest = {}): Promise<Visit> {
    const { pathname, search } = new URL(url, ORIGIN)
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const { response, text } = await send(server, {
      method,
      path: pathname + search,
      headers: [...(cookie === '' ? [] : [['Cookie', cookie] as const]), ...headers],
      ...(body !== undefined && { body }),
    })
    const setCookies = response.headers['set-cookie'] ?? []
    for (const header of setCookies) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? []
      if (header.includes('Max-Age=0;')) cookies.delete(name)
      else cookies.set(name, value)
    }
    const refresh = /^0; url=(.*)$/.exec(String(response.headers['refresh'] ?? ''))?.[1]
    const refreshTo = refresh === undefined ? undefined : new URL(refresh)
    return { status: response.statusCode ?? 0, headers: response.headers, setCookies, text, refreshTo }
  }

  return {
    cookies,
    open,
    async press(page, fields = {}, request = {}) {
      const form = formOf(page)
      return open(form.action, {
        method: 'POST',
        body: new URLSearchParams({ token: form.token, ...fields }).toString(),
        ...request,
        headers: [
          ['Content-Type', 'application/x-www-form-urlencoded'],
          ['Origin', 'null'],
          ['Sec-Fetch-Site', 'same-origin'],
          ...(request.headers ?? []),
        ],
      })
    },
  }
}

/** The form on a page. */
export function formOf({ text }: Pick<Visit, 'text'>): { readonly action: string; readonly token: string } {
  const action = attribute(/<form\b[^>]*>/.exec(text)?.[0], 'action')
  const inputs = [...text.matchAll(/<input\b[^>]*>/g)].map(([tag]) => tag)
  const token = attribute(
    inputs.find((tag) => attribute(tag, 'name') === 'token'),
    'value',
  )
  if (action === undefined || token === undefined) throw new Error(`There is no form on the page: ${text}`)
  return { action, token }
}

function attribute(tag: string | undefined, name: string): string | undefined {
  const value = new RegExp(` ${name}="([^"]*)"`).exec(tag ?? '')?.[1]
  return value === undefined ? undefined : unescape(value)
}

/** Expects a page with this status, and with the headers that every page has. */
export function expectPage({ status, headers }: Visit, expected: number): void {
  expect({
    status,
    type: headers['content-type'],
    cache: headers['cache-control'],
    referrer: headers['referrer-policy'],
    framed: /frame-ancestors 'none'/.test(String(headers['content-security-policy'])),
  }).toEqual({
    status: expected,
    type: 'text/html; charset=utf-8',
    cache: 'no-store',
    referrer: 'no-referrer',
    framed: true,
  })
}

function unescape(html: string): string {
  return html
    .replace(/&#(\d+);/g, (_match, code: string) => String.fromCharCode(Number(code)))
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}
