import type { ClientName } from '../client-names.js'
import type { Page } from './document.js'
import type { Frame } from './frame.js'
import type { OwnSession } from '../../local-options.js'
import { digest } from '../cookies.js'
import { markup, shownName, type Markup } from './markup.js'
import { isErrorCode, LONGEST, shownClient, shownForm, shownMoment, type FormTarget } from './shown.js'

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
  { page, server, nextcloud }: Frame,
  asked: FormTarget & {
    readonly done: Done | undefined
    /** Whether the page is that of the sign-in server. */
    readonly isOwn?: boolean
    /** The servers of which the person chooses one. None: there is one. */
    readonly servers?: readonly { readonly name: string; readonly value: string }[]
  },
): Page {
  const { servers = [] } = asked
  const wish = asked.done === 'out' ? 'another' : 'sign-in'
  const buttons = servers.map(
    ({ name, value }) =>
      markup`<button class="primary" type="submit" name="do" value="${wish} ${value}">Sign in at ${shownName(name, LONGEST, '…')}</button>`,
  )
  const lasts =
    asked.isOwn === true
      ? 'You are signed in here, in this browser, for a day'
      : 'It is good for this page, in this browser, for ten minutes'
  return page(200, 'See your connection', 'plain')`${shownDone(asked.done)}
<p>Sign in to see which apps can use your Nextcloud at ${nextcloud} through ${server}, and to end that.</p>
<p class="quiet">The sign-in only tells this server who you are. ${lasts}${asked.isOwn === true ? ', or until you sign out' : ''}.</p>
${shownForm(asked, servers.length === 0 ? markup`<button class="primary" type="submit" name="do" value="${wish}">Sign in</button>` : markup`${buttons}`)}`
}

/** The connection, with a button for each way to end it. */
export function overview(
  { page, server, nextcloud }: Frame,
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
  const tone = connection === undefined ? 'plain' : connection.trouble === undefined ? 'good' : 'care'
  return page(200, 'Your Nextcloud connection', tone)`${shownDone(done)}
<dl class="facts">
<div><dt>Nextcloud</dt><dd>${nextcloud}</dd></div>
<div><dt>Through</dt><dd>${server}</dd></div>
<div><dt>State</dt><dd>${stateOf(connection)}</dd></div>
${connection?.since === undefined ? undefined : markup`<div><dt>Since</dt><dd>${shownMoment(connection.since)}</dd></div>`}
</dl>
${connection === undefined ? NOTHING : shownConnection(shown, connection)}
${sessions.length === 0 ? undefined : shownSessions(shown, sessions)}
${signsOut ? leave(shown, isOwn) : undefined}`
}

function leave(form: FormTarget, isOwn: boolean): Markup {
  const why = isOwn
    ? 'Sign out, and this browser is signed in here no more. Your apps go on. Is this not your account? Sign out at Nextcloud too, before you sign in again.'
    : 'You are signed in to this page for ten minutes at most. Is this not your account? Sign out, then sign in with another one.'
  return markup`<section aria-labelledby="leave">
<h2 id="leave">Done here?</h2>
<p class="quiet">${why}</p>
${shownForm(form, markup`<button type="submit" name="do" value="sign-out">Sign out</button>`)}
</section>`
}

/** Browsers: whoever is at one of them can let apps in without a sign-in at Nextcloud. */
function shownSessions(form: FormTarget, sessions: readonly OwnSession[]): Markup {
  return markup`<section aria-labelledby="browsers">
<h2 id="browsers">Browsers in which you are signed in</h2>
<ul class="apps" role="list">${sessions.map((session, index) => shownSession(form, session, index))}</ul>
</section>`
}

function shownSession(form: FormTarget, { id, since, lastUsed, isHere }: OwnSession, index: number): Markup {
  const [title, button] = [`browser-${index}`, `end-browser-${index}`]
  return markup`<li>
<h3 id="${title}">${isHere ? 'This browser' : 'Another browser'}</h3>
<p class="quiet">Since ${shownMoment(since)}<br>Last used about ${shownMoment(lastUsed)}</p>
${isHere ? undefined : shownForm(form, markup`<button id="${button}" type="submit" name="do" value="${digest(id)}" aria-labelledby="${button} ${title}">End</button>`)}
</li>`
}

function stateOf(connection: Connection | undefined): string {
  if (connection === undefined) return 'Not connected'
  return connection.trouble === undefined ? 'Connected' : 'Must be connected again'
}

const NOTHING = markup`<p>Nothing is connected, and no app can use your Nextcloud through this server. There is nothing to do here: when an app (your MCP client) needs your Nextcloud, it gives you a link to connect it.</p>`

const WHY: Readonly<Record<Trouble, string>> = {
  refused: 'Nextcloud, or your sign-in provider, does not accept it any more.',
  expired: 'The time for which your sign-in provider gave it is over.',
  elsewhere: 'It was made in another way than this server now connects, or for another Nextcloud.',
  unreadable: 'It is stored under a key that this server does not have any more.',
}

function shownConnection(form: FormTarget, { trouble, clients, more }: Connection): Markup {
  const why =
    trouble &&
    markup`<div class="note"><p>The connection does not work now. ${WHY[trouble]} To connect again, ask your app for something that needs Nextcloud: it gives you a new link.</p></div>`
  return markup`${why}
${
  clients.length === 0
    ? undefined
    : markup`<section aria-labelledby="apps">
<h2 id="apps">Apps that may use it</h2>
<ul class="apps" role="list">${clients.map((client, index) => shownEntry(form, client, index))}</ul>
${more > 0 ? markup`<p class="quiet">and ${more} more, which are shown when others are ended.</p>` : undefined}
</section>`
}
<section aria-labelledby="all">
<h2 id="all">End it all</h2>
<p class="quiet">Disconnect, and no app can use your Nextcloud through this server any more. Your files, notes and everything else stay as they are.</p>
${shownForm(form, markup`<button type="submit" name="do" value="all">Disconnect all</button>`)}
</section>`
}

function shownEntry(form: FormTarget, entry: ConnectedClient, index: number): Markup {
  const { client, callsItself, since, lastUsed, end } = entry
  const [title, button] = [`app-${index}`, `end-${index}`]
  const claimed =
    callsItself === undefined || callsItself === client.name
      ? undefined
      : markup`Calls itself “${shownName(callsItself, LONGEST, '…')}”<br>`
  const used = lastUsed === undefined ? undefined : markup`<br>Last used about ${shownMoment(lastUsed)}`
  return markup`<li>
<h3 id="${title}">${shownClient(client)}</h3>
<p class="quiet">${claimed}Since ${shownMoment(since)}${used}</p>
${end === undefined ? undefined : shownForm(form, markup`<button id="${button}" type="submit" name="do" value="${end}" aria-labelledby="${button} ${title}">End</button>`)}
</li>`
}

const PENDING = markup` Nextcloud, or your sign-in provider, could not be reached to end it there as well. This server tries that again by itself until it works.`

function shownDone(done: Done | undefined): Markup | undefined {
  if (done === undefined) return undefined
  const pending = done.endsWith('-pending') ? PENDING : undefined
  if (done === 'out') return doneNote(markup`You have signed out of this page.`)
  if (done === 'signed-out') return doneNote(markup`You have signed out here. Your apps go on.`)
  if (done === 'browser') return doneNote(markup`You are signed out in that browser.`)
  const what = done.startsWith('all')
    ? markup`Your Nextcloud is disconnected: no app can use it through this server any more.`
    : markup`That app can no longer use your Nextcloud through this server.`
  return doneNote(markup`${what}${pending}`)
}

const doneNote = (text: Markup): Markup => markup`
<div class="note done" role="status"><p>${text}</p></div>`

/** The app, whose sign-in says who is there, knows nobody. */
export function notSignedIn({ page, server }: Frame, { again }: { readonly again: string }): Page {
  return page(403, 'Please sign in first', 'plain')`
<p>This page shows the connection of the person who is signed in to the app that ${server} belongs to, and you are not signed in there. Sign in there in this browser, then open this page again.</p>
${goTo(again, 'Open this page again')}`
}

/** Nothing says which MCP user is at the browser. */
export function cannotTell({ page, server }: Frame): Page {
  return page(403, 'Not possible on a page', 'plain')`
<p>The sign-in here cannot tell ${server} which user of your app (your MCP client) you are, so this page can show nothing. You can end a connection in other ways:</p>
<ul>
<li>If your app offers to disconnect Nextcloud, do it there: it then sends <code>POST …/disconnect</code> to this server.</li>
<li>In Nextcloud itself, open your settings and there “Security”: under “Devices &amp; sessions”, revoke what this server has.</li>
</ul>
<p class="quiet">For the people who run ${server}: <code>connect.authenticateBrowser</code> makes this page possible.</p>`
}

/** The sign-in for the page came to nothing. `error` is the provider's error code, which is shown if it looks like one. */
export function visitFailed(
  { page, server }: Frame,
  refused: { readonly reason: keyof typeof VISIT_STATUS; readonly error?: string | undefined; readonly again: string },
): Page {
  const { reason, error = '', again } = refused
  return page(VISIT_STATUS[reason], 'You are not signed in', 'care')`
<p>The sign-in did not come to an end, so nothing can be shown here. Nothing was changed.</p>
${isErrorCode(error) ? markup`<p>The reason that your sign-in provider gives: <code>${error}</code></p>` : undefined}
${goTo(again, 'Try again')}
<p class="quiet">If you did not break it off yourself and it happens again, please tell the people who run ${server}.</p>`
}

const VISIT_STATUS = { answer: 400, declined: 200, refused: 502, id_token: 403 } as const

/** The form is not of this browser, or too old. */
export function visitOver({ page }: Frame, { again }: { readonly again: string }): Page {
  return page(403, 'Please open this page again', 'care')`
<p>You are not signed in here any more, or this was not sent by the page itself. Nothing was changed.</p>
<ul>
<li>Open the page again, and sign in. That counts for ten minutes.</li>
<li>If that does not help, allow cookies for this site.</li>
<li>If another site or a message brought you here, close this page. There is nothing else to do.</li>
</ul>
${goTo(again, 'Open this page again')}`
}

const goTo = (href: string, label: string): Markup =>
  markup`<p class="answers"><a class="go" href="${href}"><span>${label}</span></a></p>`
