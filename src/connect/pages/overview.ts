import type { ClientName } from '../client-names.js'
import type { Page } from './document.js'
import type { Frame } from './frame.js'
import type { OwnSession } from '../../local-options.js'
import { digest } from '../cookies.js'
import { markup, shownName, type Markup } from './markup.js'
import { isErrorCode, LONGEST, shownClaim, shownClient, shownForm, shownMoment, type FormTarget } from './shown.js'
import type { Texts } from './texts/en.js'

/** A user's connection, as its page shows it. */
export interface Connection {
  /** The reason for which it does not work. Undefined: it does. */
  readonly trouble: Trouble | undefined
  /** Milliseconds since the epoch. Undefined: not known. */
  readonly since: number | undefined
  readonly clients: readonly ConnectedClient[]
  /** Further clients, which are not shown. */
  readonly more: number
}

/**
 * The sign-in provider or Nextcloud refuses it (`refused`) or its stated end has passed; it was made for another configuration
 * (`elsewhere`); the key that it is sealed with is gone (`unreadable`).
 */
export type Trouble = 'refused' | 'expired' | 'elsewhere' | 'unreadable'

/** An MCP client that may use a connection. */
export interface ConnectedClient {
  readonly client: ClientName
  /** What it calls itself. Undefined: not known. */
  readonly callsItself?: string | undefined
  /** Milliseconds since the epoch. */
  readonly since: number
  /** Undefined: not known. */
  readonly lastUsed: number | undefined
  /** The value of the button that ends its access. Undefined where consent is per user. */
  readonly end: string | undefined
}

/** The last thing that was done on the page. `pending`: the other server could not be reached, and is tried again. */
export type Done = 'one' | 'one-pending' | 'all' | 'all-pending' | 'out' | 'signed-out' | 'browser'

/** The way in: opening the page alone starts nothing. */
export function signIn(
  { page, texts, server, nextcloud }: Frame,
  asked: FormTarget & {
    readonly done: Done | undefined
    /** Whether the page is that of the sign-in server. */
    readonly isOwn?: boolean
    /** The servers of which the person chooses one. None: there is one. */
    readonly servers?: readonly { readonly name: string; readonly value: string }[]
  },
): Page {
  const { servers = [] } = asked
  const words = texts.visit
  const wish = asked.done === 'out' ? 'another' : 'sign-in'
  const buttons = servers.map(
    ({ name, value }) =>
      markup`<button class="primary" type="submit" name="do" value="${wish} ${value}">${words.signInAt(shownName(name, LONGEST, '…'))}</button>`,
  )
  return page(200, words.title, 'plain')`${shownDone(texts, asked.done)}
<p>${words.why(nextcloud, server)}</p>
<p class="quiet">${asked.isOwn === true ? words.lastsHere : words.lasts}</p>
${shownForm(asked, servers.length === 0 ? markup`<button class="primary" type="submit" name="do" value="${wish}">${words.signIn}</button>` : markup`${buttons}`)}`
}

/** The connection, with a button for each way to end it. */
export function overview(
  { page, texts, server, nextcloud }: Frame,
  shown: FormTarget & {
    /** Undefined: nothing is connected. */
    readonly connection: Connection | undefined
    readonly done: Done | undefined
    /** Whether there is a sign-in of this page, or of its sign-in server, to end. */
    readonly signsOut: boolean
    readonly isOwn?: boolean
    /** The browsers in which the person is signed in at the sign-in server. */
    readonly sessions?: readonly OwnSession[]
  },
): Page {
  const { connection, done, signsOut, isOwn = false, sessions = [] } = shown
  const words = texts.overview
  const tone = connection === undefined ? 'plain' : connection.trouble === undefined ? 'good' : 'care'
  return page(200, words.title, tone)`${shownDone(texts, done)}
<dl class="facts">
<div><dt>Nextcloud</dt><dd>${nextcloud}</dd></div>
<div><dt>${texts.through}</dt><dd>${server}</dd></div>
<div><dt>${words.state}</dt><dd>${words.states[stateOf(connection)]}</dd></div>
${connection?.since === undefined ? undefined : markup`<div><dt>${texts.since}</dt><dd>${shownMoment(texts, connection.since)}</dd></div>`}
</dl>
${connection === undefined ? markup`<p>${words.nothing}</p>` : shownConnection(texts, shown, connection)}
${sessions.length === 0 ? undefined : shownSessions(texts, shown, sessions)}
${signsOut ? leave(words, shown, isOwn) : undefined}`
}

function leave(words: Texts['overview'], form: FormTarget, isOwn: boolean): Markup {
  return markup`<section aria-labelledby="leave">
<h2 id="leave">${words.leave}</h2>
<p class="quiet">${isOwn ? words.leaveHere : words.leaveVisit}</p>
${shownForm(form, markup`<button type="submit" name="do" value="sign-out">${words.signOut}</button>`)}
</section>`
}

/** Browsers: whoever is at one of them can let apps in without a sign-in at Nextcloud. */
function shownSessions(texts: Texts, form: FormTarget, sessions: readonly OwnSession[]): Markup {
  return markup`<section aria-labelledby="browsers">
<h2 id="browsers">${texts.overview.browsers}</h2>
<ul class="apps" role="list">${sessions.map((session, index) => shownSession(texts, form, { ...session, index }))}</ul>
</section>`
}

function shownSession(
  texts: Texts,
  form: FormTarget,
  { id, since, lastUsed, isHere, index }: OwnSession & { readonly index: number },
): Markup {
  const words = texts.overview
  const [title, button] = [`browser-${index}`, `end-browser-${index}`]
  return markup`<li>
<h3 id="${title}">${isHere ? words.thisBrowser : words.anotherBrowser}</h3>
<p class="quiet">${words.since(shownMoment(texts, since))}<br>${words.lastUsed(shownMoment(texts, lastUsed))}</p>
${isHere ? undefined : shownForm(form, markup`<button id="${button}" type="submit" name="do" value="${digest(id)}" aria-labelledby="${button} ${title}">${words.end}</button>`)}
</li>`
}

function stateOf(connection: Connection | undefined): keyof Texts['overview']['states'] {
  if (connection === undefined) return 'none'
  return connection.trouble === undefined ? 'good' : 'trouble'
}

function shownConnection(texts: Texts, form: FormTarget, { trouble, clients, more }: Connection): Markup {
  const words = texts.overview
  const why = trouble && markup`<div class="note"><p>${words.trouble[trouble]}</p></div>`
  return markup`${why}
${
  clients.length === 0
    ? undefined
    : markup`<section aria-labelledby="apps">
<h2 id="apps">${words.apps}</h2>
<ul class="apps" role="list">${clients.map((client, index) => shownEntry(texts, form, { ...client, index }))}</ul>
${more > 0 ? markup`<p class="quiet">${words.more(more)}</p>` : undefined}
</section>`
}
<section aria-labelledby="all">
<h2 id="all">${words.endAll}</h2>
<p class="quiet">${words.disconnect}</p>
${shownForm(form, markup`<button type="submit" name="do" value="all">${words.disconnectAll}</button>`)}
</section>`
}

function shownEntry(texts: Texts, form: FormTarget, entry: ConnectedClient & { readonly index: number }): Markup {
  const { client, callsItself, since, lastUsed, end, index } = entry
  const words = texts.overview
  const [title, button] = [`app-${index}`, `end-${index}`]
  const claim = shownClaim(client, callsItself)
  const claimed = claim && markup`${words.callsItself(claim)}<br>`
  const used = lastUsed === undefined ? undefined : markup`<br>${words.lastUsed(shownMoment(texts, lastUsed))}`
  return markup`<li>
<h3 id="${title}">${shownClient(texts, client)}</h3>
<p class="quiet">${claimed}${words.since(shownMoment(texts, since))}${used}</p>
${end === undefined ? undefined : shownForm(form, markup`<button id="${button}" type="submit" name="do" value="${end}" aria-labelledby="${button} ${title}">${words.end}</button>`)}
</li>`
}

function shownDone({ overview: words }: Texts, done: Done | undefined): Markup | undefined {
  if (done === undefined) return undefined
  const isPending = done === 'one-pending' || done === 'all-pending'
  const what = isPending ? (done === 'one-pending' ? 'one' : 'all') : done
  return markup`
<div class="note done" role="status"><p>${words.done[what]}${isPending ? markup` ${words.pending}` : undefined}</p></div>`
}

/** The app, whose sign-in says who is there, knows nobody. */
export function notSignedIn({ page, texts, server }: Frame, { again }: { readonly again: string }): Page {
  return page(403, texts.visit.notSignedIn, 'plain')`
<p>${texts.visit.signInToApp(server)}</p>
${goTo(again, texts.visit.openAgain)}`
}

/** Nothing says which MCP user is at the browser. */
export function cannotTell({ page, texts, server }: Frame): Page {
  const words = texts.visit
  return page(403, words.cannotTell, 'plain')`
<p>${words.whoYouAre(server)}</p>
<ul>
<li>${words.endInApp}</li>
<li>${words.endInNextcloud}</li>
</ul>
<p class="quiet">${words.forOperator(server)}</p>`
}

/** The sign-in for the page came to nothing. `error` is the provider's error code, which is shown if it looks like one. */
export function visitFailed(
  { page, texts, server }: Frame,
  refused: { readonly reason: keyof typeof VISIT_STATUS; readonly error?: string | undefined; readonly again: string },
): Page {
  const { reason, error = '', again } = refused
  const words = texts.visit
  return page(VISIT_STATUS[reason], words.failed, 'care')`
<p>${words.cameToNothing}</p>
${isErrorCode(error) ? markup`<p>${words.reason(markup`<code>${error}</code>`)}</p>` : undefined}
${goTo(again, words.tryAgain)}
<p class="quiet">${words.notYourself(server)}</p>`
}

const VISIT_STATUS = { answer: 400, declined: 200, refused: 502, id_token: 403 } as const

/** The form is not of this browser, or too old. */
export function visitOver({ page, texts }: Frame, { again }: { readonly again: string }): Page {
  const words = texts.visit
  return page(403, words.over, 'care')`
<p>${words.noLonger}</p>
<ul>
<li>${words.tenMinutes}</li>
<li>${texts.allowCookies}</li>
<li>${texts.closeIfSent}</li>
</ul>
${goTo(again, words.openAgain)}`
}

const goTo = (href: string, label: string): Markup =>
  markup`<p class="answers"><a class="go" href="${href}"><span>${label}</span></a></p>`
