import type { ClientName } from '../client-names.js'
import { markup, shownHost, shownName, type Markup } from './markup.js'
import type { Texts } from './texts/en.js'

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

/**
 * Writes an MCP client, once on each page. A name that its author has chosen (MCP 2025-11-25, client ID metadata documents) proves
 * nothing, so the host stands out there.
 */
export function shownClient({ client: texts }: Texts, { name, host, id }: ClientName): Markup {
  const shown = shownName(name ?? '', LONGEST, texts.nameless)
  if (host !== undefined) {
    const strong = markup`<strong>${shownHost(host)}</strong>`
    return name === undefined ? strong : texts.from(shown, strong)
  }
  if (id === undefined) return markup`<strong>${shown}</strong>`
  return texts.registered(shownName(id, LONGEST, '…'))
}

/** Writes what a client calls itself, which proves nothing. Undefined: it says nothing new. */
export function shownClaim({ name }: ClientName, claim: string | undefined): Markup | undefined {
  return claim === undefined || claim === name ? undefined : shownName(claim, LONGEST, '…')
}

/** Writes who asks, with what the client calls itself. */
export function shownAsker(texts: Texts, client: ClientName, claim: string | undefined): Markup {
  const [shown, claimed] = [shownClient(texts, client), shownClaim(client, claim)]
  return claimed === undefined ? texts.client.asks(shown) : texts.client.asksUnderName(shown, claimed)
}

/** Writes what the client of a page calls itself, as a line of its own. Undefined: it says nothing new. */
export function shownClaimLine(texts: Texts, client: ClientName, claim: string | undefined): Markup | undefined {
  const claimed = shownClaim(client, claim)
  return claimed && markup`<p class="quiet">${texts.client.callsItself(claimed)}</p>`
}

export function shownScopes({ scopes: texts, unreadable }: Texts, scopes: readonly string[]): Markup {
  if (scopes.length === 0) return markup`${texts.none}`
  const meanings = new Map(Object.entries(texts.meanings))
  const items = scopes.slice(0, MOST_SCOPES).map((scope) => {
    const meaning = meanings.get(scope)
    const code = markup`<code>${shownName(scope, LONGEST, unreadable)}</code>`
    return meaning === undefined ? markup`<li>${code}</li>` : markup`<li>${meaning} ${code}</li>`
  })
  const left = scopes.length - items.length
  return markup`<ul>${items}${left > 0 ? markup`<li>${texts.more(left)}</li>` : undefined}</ul>`
}

export function shownForm({ action, formValue }: FormTarget, button: Markup): Markup {
  return markup`<form method="post" action="${action}" autocomplete="off">
<input type="hidden" name="token" value="${formValue}">
<p class="answers">${button}</p>
</form>`
}

export function shownTime({ seconds, minutes }: Texts, count: number): string {
  return count < 90 ? seconds(count) : minutes(Math.ceil(count / 60))
}

/** Writes a moment, in milliseconds since the epoch, to the minute. */
export function shownMoment({ moment: written, months, unknownTime }: Texts, at: number): Markup {
  const moment = new Date(at)
  if (Number.isNaN(moment.getTime())) return markup`${unknownTime}`
  const minute = moment.toISOString().slice(0, -8)
  const month = months.split(' ')[moment.getUTCMonth()] ?? ''
  const text = written(moment.getUTCDate(), month, { year: moment.getUTCFullYear(), time: minute.slice(-5) })
  return markup`<time datetime="${minute}Z">${text}</time>`
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
