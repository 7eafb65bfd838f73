import { hash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { withoutWhitespace } from '../http/whitespace.js'
import { ONE_TIME_LIFE, randomSecret } from './one-time.js'

/** A cookie that was made for one flow in one browser. */
export interface FlowCookie {
  /** Name of the flow, which is part of the cookie's name. */
  readonly flow: string
  readonly value: string
  /** `Set-Cookie` values: the cookie, and the end of the oldest ones where the browser holds too many. */
  readonly headers: readonly string[]
}

/** The cookies that tie each flow to the browser it began in. Each flow has its own, so that two tabs do not disturb each other. */
export interface FlowCookies {
  /**
   * Makes a fresh cookie, because one that the browser brought may have been planted there.
   *
   * @param given its value and its life in milliseconds. Default: a random one, for ten minutes
   */
  readonly issue: (
    req: IncomingMessage,
    flow: string,
    given?: { readonly value: string; readonly life: number },
  ) => FlowCookie
  /** Whether the browser brings a cookie of any flow. */
  readonly any: (req: IncomingMessage) => boolean
  /** The values that the browser holds for a flow: more than one if a name was set twice. */
  readonly values: (req: IncomingMessage, flow: string) => readonly string[]
  /** The `Set-Cookie` value that has the browser keep a cookie for so many milliseconds more. */
  readonly keep: (flow: string, value: string, life: number) => string
  /** The `Set-Cookie` value that ends the cookie. */
  readonly end: (flow: string) => string
}

const NAME = 'mcp-nextcloud-'
/** The cookie of a session at the server's own sign-in, on https: it is no flow, and must not end as the oldest of them. */
export const SESSION_COOKIE = `__Host-${NAME}session`
/** Flows in one browser at a time. Beyond that the oldest end, which browsers send first (RFC 6265 §5.4). */
const MOST_FLOWS = 8
const FLOW_LENGTH = 8
/** Flows that one answer ends. A browser may bring any number of cookies that others have planted. */
const MOST_ENDED = 16
/** A name that this package could have made, or a short one beside. Nothing longer is sent back. */
const FLOW = /^[\w-]{1,16}$/

/**
 * With `__Host-`, no other host and no plain connection can set or overwrite the cookie (RFC 6265bis §4.1.3.2). Browsers take
 * that prefix over https only.
 *
 * @param isSecure whether the pages are on https; if not, they are on loopback, or the operator was warned (`resource`)
 */
export function createFlowCookies(isSecure: boolean): FlowCookies {
  const prefix = isSecure ? `__Host-${NAME}` : NAME
  const attributes = `Path=/; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`
  const isFlow = (name: string): boolean => name.startsWith(prefix) && name !== SESSION_COOKIE
  const end = (flow: string): string => `${prefix}${flow}=; Max-Age=0; ${attributes}`
  const keep = (flow: string, value: string, life: number): string =>
    `${prefix}${flow}=${value}; Max-Age=${life / 1_000}; ${attributes}`

  return {
    issue(req, flow, { value, life } = { value: randomSecret(), life: ONE_TIME_LIFE }) {
      const names = new Set(readCookies(req).map(([name]) => name))
      const flows = [...names].filter(
        (name) => isFlow(name) && name !== prefix + flow && FLOW.test(name.slice(prefix.length)),
      )
      const surplus = flows.slice(0, Math.min(MOST_ENDED, Math.max(0, flows.length + 1 - MOST_FLOWS)))
      return {
        flow,
        value,
        headers: [keep(flow, value, life), ...surplus.map((name) => end(name.slice(prefix.length)))],
      }
    },
    any: (req) => readCookies(req).some(([name]) => isFlow(name)),
    values: (req, flow) =>
      readCookies(req)
        .filter(([name]) => name === prefix + flow)
        .map(([, value]) => value),
    keep,
    end,
  }
}

/** The flow's name, derived from its secret without revealing it. */
export function flowOf(secret: string): string {
  return digest(`flow ${secret}`).slice(0, FLOW_LENGTH)
}

/** The hash that is stored of a cookie, to know it again. */
export const digest = (text: string): string => hash('sha256', text, 'base64url')

/** Whether one of a browser's cookies has this hash. */
export function holds(cookies: readonly string[], cookieHash: string): boolean {
  return cookies.some((value) => isSame(digest(value), cookieHash))
}

/** Compares secrets in a time that does not tell how much of them is alike. */
export function isSame(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(digest(one)), Buffer.from(digest(other)))
}

function readCookies({ headers }: IncomingMessage): [name: string, value: string][] {
  return (headers.cookie ?? '').split(';').flatMap((pair) => {
    const at = pair.indexOf('=')
    return at < 0 ? [] : [[withoutWhitespace(pair.slice(0, at)), withoutWhitespace(pair.slice(at + 1))]]
  })
}
