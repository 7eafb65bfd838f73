import type { ClientName } from '../client-names.js'
import { markup, shownHost, shownName, type Markup } from './markup.js'

/** A form with buttons only. */
export interface FormTarget {
  readonly action: string
  /** The hidden value `token`, bound to a cookie of the browser. */
  readonly formValue: string
}

/** Longest name of a client or server, and longest scope, in characters. */
export const LONGEST = 100
/** Scopes that are written out. */
const MOST_SCOPES = 40

const SCOPE_MEANINGS: ReadonlyMap<string, string> = new Map([
  ['openid', 'Know that it is you'],
  ['profile', 'See your name and profile'],
  ['email', 'See your e-mail address'],
  ['groups', 'See which groups you are in'],
  ['offline_access', 'Keep access while you are away'],
])

/**
 * Writes an MCP client, once on each page. A name that its author has chosen (MCP 2025-11-25, client ID metadata documents) proves
 * nothing, so the host stands out there.
 */
export function shownClient({ name, host, id }: ClientName): Markup {
  const shown = shownName(name ?? '', LONGEST, NAMELESS)
  if (host !== undefined) {
    const strong = markup`<strong>${shownHost(host)}</strong>`
    return name === undefined ? strong : markup`“${shown}” from ${strong}`
  }
  if (id === undefined) return markup`<strong>${shown}</strong>`
  return markup`<strong>An app that registered itself</strong> (${shownName(id, LONGEST, '…')})`
}

/** Writes what the client calls itself in MCP, if that says something new. */
export function shownClaim(claim: string | undefined, { name }: ClientName): Markup | undefined {
  return claim === undefined || claim === name
    ? undefined
    : markup`, which calls itself “${shownName(claim, LONGEST, '…')}”,`
}

const NAMELESS = 'An app without a name'

export function shownScopes(scopes: readonly string[]): Markup {
  if (scopes.length === 0) return markup`Access to your Nextcloud as you`
  const items = scopes.slice(0, MOST_SCOPES).map((scope) => {
    const meaning = SCOPE_MEANINGS.get(scope)
    const code = markup`<code>${shownName(scope, LONGEST, '(not readable)')}</code>`
    return meaning === undefined ? markup`<li>${code}</li>` : markup`<li>${meaning} ${code}</li>`
  })
  const left = scopes.length - items.length
  return markup`<ul>${items}${left > 0 ? markup`<li>and ${left} more</li>` : undefined}</ul>`
}

export function shownForm({ action, formValue }: FormTarget, button: Markup): Markup {
  return markup`<form method="post" action="${action}" autocomplete="off">
<input type="hidden" name="token" value="${formValue}">
<p class="answers">${button}</p>
</form>`
}

export function shownTime(seconds: number): string {
  if (seconds < 90) return seconds === 1 ? 'a second' : `${seconds} seconds`
  return `${Math.ceil(seconds / 60)} minutes`
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ')

/** Writes a moment, in milliseconds since the epoch, to the minute. */
export function shownMoment(at: number): Markup {
  const moment = new Date(at)
  if (Number.isNaN(moment.getTime())) return markup`an unknown time`
  const minute = moment.toISOString().slice(0, -8)
  const day = `${moment.getUTCDate()} ${String(MONTHS[moment.getUTCMonth()])} ${moment.getUTCFullYear()}`
  return markup`<time datetime="${minute}Z">${day}, ${minute.slice(-5)} UTC</time>`
}

/** Reads an address as a browser writes it, which is one line of ASCII. */
export function webAddress(url: string): URL {
  const address = new URL(url)
  if (address.protocol !== 'https:' && address.protocol !== 'http:') throw new TypeError('That is not a web address')
  return address
}

/** RFC 6749 §4.1.2.1, and short enough to be read. */
export function isErrorCode(error: string): boolean {
  return error.length <= 100 && /^[\x21\x23-\x26\x28-\x5B\x5D-\x7E][\x20\x21\x23-\x26\x28-\x5B\x5D-\x7E]*$/.test(error)
}
