import type { ClientName } from '../client-names.js'
import { markup, shownHost, shownName, type Markup } from './markup.js'
import {
  isErrorCode,
  LONGEST,
  shownClaim,
  shownClient,
  shownForm,
  shownScopes,
  shownTime,
  webAddress,
  type FormTarget,
} from './shown.js'
import { writeDocument, type Page } from './document.js'
import type { Frame } from './frame.js'
import { cannotTell, notSignedIn, overview, signIn, visitFailed, visitOver } from './overview.js'

/** The names on every page. */
export interface PageContext {
  /** Name of this MCP server. */
  readonly serverName: string
  /** Host of the Nextcloud that users connect. */
  readonly nextcloudHost: string
  /** The steps that follow a "yes": a sign-in at the provider, or Nextcloud's own question, which makes an app password, or both. */
  readonly steps: readonly ('sign-in' | 'app-password')[]
}

/** The pages of the connect endpoints. Everything in them that comes from outside is made harmless. */
export type Pages = ReturnType<typeof createPages>

export function createPages({ serverName, nextcloudHost, steps }: PageContext) {
  const server = shownName(serverName, LONGEST, 'this server')
  const frame: Frame = {
    server,
    nextcloud: shownHost(nextcloudHost),
    next: nextSteps(steps),
    page:
      (status, title, tone) =>
      (...content) => ({ status, html: writeDocument(title, tone, server, markup(...content)) }),
  }
  const of =
    <P extends readonly unknown[]>(draw: (frame: Frame, ...p: P) => Page) =>
    (...p: P): Page =>
      draw(frame, ...p)
  return {
    consent: of(consent),
    goingOn: of(goingOn),
    waiting: of(waiting),
    connected: of(connected),
    declined: of(declined),
    withdrawn: of(withdrawn),
    disconnected: of(disconnected),
    linkUnusable: of(linkUnusable),
    notFromHere: of(notFromHere),
    otherPerson: of(otherPerson),
    badAnswer: of(badAnswer),
    providerRefused: of(providerRefused),
    noRefreshToken: of(noRefreshToken),
    unavailable: of(unavailable),
    tooMany: of(tooMany),
    tooManyRefused: of(tooManyRefused),
    failed: of(failed),
    unknownClient: of(unknownClient),
    signIn: of(signIn),
    overview: of(overview),
    notSignedIn: of(notSignedIn),
    cannotTell: of(cannotTell),
    visitFailed: of(visitFailed),
    visitOver: of(visitOver),
  }
}

function nextSteps(steps: PageContext['steps']): Markup {
  if (!steps.includes('app-password')) {
    return markup`If you say yes, you sign in as usual, and the connection stays until it is disconnected.`
  }
  const signIn = steps.includes('sign-in') ? 'you sign in, and then ' : ''
  return markup`If you say yes, ${signIn}Nextcloud asks you to grant access. It makes an app password, which you can end there at any time (Settings, Security).`
}

/** Seconds. Long enough to reach the link with a keyboard or a screen reader, which a reload disturbs. */
const LOOKS_AGAIN_AFTER = 5

const AGAIN = markup`<p>To try again, go back to the app you came from (your MCP client) and ask for the same thing once more. It will give you a new link.</p>`

const YES_OR_NO = markup`<button class="primary" type="submit" name="answer" value="yes">Yes, connect</button>
<button type="submit" name="answer" value="no">No, thanks</button>`

/** The question's words and form. */
interface Asked extends FormTarget {
  readonly client: ClientName
  /** What the MCP client calls itself in MCP (`clientInfo.name`). Undefined: it did not say. */
  readonly callsItself?: string | undefined
  readonly scopes: readonly string[]
}

/** The question to the user, with two buttons: `answer=yes` and `answer=no`. */
function consent({ page, server, nextcloud, next }: Frame, asked: Asked): Page {
  const { client, callsItself, scopes } = asked
  return page(200, 'Connect your Nextcloud?', 'plain')`
<p>${shownClient(client)}${shownClaim(callsItself, client)} would like to work in your Nextcloud for you. ${next}</p>
<div class="note"><p>Say yes only if you have just asked this app for it yourself. If somebody sent you this link, say no.</p></div>
<dl class="facts">
<div><dt>Through</dt><dd>${server}</dd></div>
<div><dt>Nextcloud</dt><dd>${nextcloud}</dd></div>
<div><dt>It asks for</dt><dd>${shownScopes(scopes)}</dd></div>
</dl>
${shownForm(asked, YES_OR_NO)}`
}

/** The way to the provider, which the browser takes by itself. */
function goingOn({ page }: Frame, { url, host }: { readonly url: string; readonly host: string }): Page {
  const { href } = webAddress(url)
  const going = page(200, 'On to your sign-in', 'plain')`
<p>You are being taken to ${shownHost(host)} to sign in. If nothing happens, please use this link:</p>
<p class="answers"><a class="go" href="${href}"><span>Continue to ${shownHost(host)}</span></a></p>`
  return { ...going, refreshTo: href }
}

/** The way to Nextcloud, where the user agrees. Every few seconds the page looks for the outcome at `next`. */
function waiting(
  { page, server }: Frame,
  { login, client, next }: { readonly login: string; readonly client: ClientName; readonly next: string },
): Page {
  const { href, host } = webAddress(login)
  const waiting = page(200, 'Now agree in Nextcloud', 'plain')`
<p>One step is left: in Nextcloud, allow ${server} to work with your account. There you may have to sign in, and then press “Grant access”.</p>
<div class="note"><p>Use your own account there. It is the one with which ${shownClient(client)} will work.</p></div>
<p class="answers"><a class="go" href="${href}" target="_blank" rel="noopener noreferrer"><span>Open ${shownHost(host)} in a new tab</span></a></p>
<p>Keep this page open. When you are done, it goes on by itself within seconds.</p>
<p class="quiet"><a href="${webAddress(next).href}">Look now</a></p>`
  return { ...waiting, refreshTo: webAddress(next).href, refreshAfter: LOOKS_AGAIN_AFTER }
}

function connected(
  { page, nextcloud }: Frame,
  shown: { readonly client: ClientName; readonly disconnect?: FormTarget; readonly overview?: string | undefined },
): Page {
  const { client, disconnect, overview } = shown
  return page(200, 'Connected, you can go back', 'good')`
<p>${shownClient(client)} can now work in your Nextcloud at ${nextcloud}.</p>
<p>You can close this page. If the app was waiting, it goes on by itself; if not, ask it once more.</p>
${disconnect && offerToDisconnect(disconnect)}
${linkToAll(overview)}`
}

/** @param overview path of the page of connections */
const linkToAll = (overview: string | undefined): Markup | undefined =>
  overview === undefined
    ? undefined
    : markup`<p class="answers"><a class="more" href="${overview}"><span>See all connections</span></a></p>`

const offerToDisconnect = (target: FormTarget): Markup => markup`<section aria-labelledby="undo">
<h2 id="undo">Changed your mind?</h2>
<p class="quiet">Disconnect, and the app can no longer use your Nextcloud.</p>
${shownForm(target, markup`<button type="submit">Disconnect</button>`)}
</section>`

const CHANGED_MIND = markup`<p>If you change your mind, ask for the same thing once more in the app you came from. It will give you a new link.</p>`

function declined({ page, nextcloud }: Frame): Page {
  return page(200, 'Not connected', 'plain')`
<p>You said no, so nothing was connected: no app has got access to your Nextcloud at ${nextcloud} by this link. You can close this page.</p>
${CHANGED_MIND}`
}

/** The user has disconnected, or said no, while the connection was under way. */
function withdrawn({ page, nextcloud }: Frame): Page {
  return page(200, 'Not connected', 'plain')`
<p>You said no, or disconnected, after you had said yes. So nothing was connected: no app has got access to your Nextcloud at ${nextcloud} by this link. You can close this page.</p>
${CHANGED_MIND}`
}

function disconnected({ page, nextcloud }: Frame, { overview }: { readonly overview?: string | undefined } = {}): Page {
  return page(200, 'Disconnected', 'good')`
<p>The app can no longer use your Nextcloud at ${nextcloud}. Your files, notes and everything else there are as they were. You can close this page.</p>
<p>To connect again, ask the app for something that needs Nextcloud. It will give you a new link.</p>
${linkToAll(overview)}`
}

/** The ticket is unknown, used or expired. */
function linkUnusable({ page }: Frame): Page {
  return page(410, 'This link no longer works', 'care')`
<p>A link like this can be used once, for a few minutes. This one has been used, has run out, or was not copied whole. Nothing was changed.</p>
${AGAIN}`
}

/** This browser did not open the link, or another site sent the form. */
function notFromHere({ page }: Frame): Page {
  return page(403, 'Please open the link again', 'care')`
<p>This browser cannot be recognised as the one that opened the link, so nothing was connected.</p>
<ul>
<li>Open the link in the browser in which you want to sign in, and answer there.</li>
<li>If that does not help, allow cookies for this site. They are needed for a few minutes only.</li>
<li>If another site or a message brought you here, close this page. There is nothing else to do.</li>
</ul>`
}

const OTHER_ACCOUNT = markup`<button class="primary" type="submit">Try again with another account</button>`

/** The place of the account that is another's. */
export type AccountAt = 'provider' | 'app' | 'nextcloud'

/** Returns which account it is, and what to do if the link is one's own. */
function otherAccount({ server, nextcloud }: Frame, at: AccountAt): Markup {
  switch (at) {
    case 'provider':
      return markup`<p>You have signed in with another account than the one this link was made for. Nothing was connected, and nothing of yours was kept.</p>
<p>If this is your own link: sign out at your sign-in provider, then try again with the account that you use in your app (your MCP client).</p>`
    case 'app':
      return markup`<p>In this browser, another person is signed in to ${server} than the one this link was made for. Nothing was connected, and nothing of yours was kept.</p>
<p>If this is your own link: sign out of ${server}, then sign in with the account that you use in your app (your MCP client).</p>`
    case 'nextcloud':
      return markup`<p>The account in Nextcloud at ${nextcloud} is another than the one that belongs to this link. Nothing was connected, and nothing of yours was kept.</p>
<p>If this is your own link: sign out of Nextcloud at ${nextcloud}, then try again with your own account there.</p>`
  }
}

/** The person who signed in is not the user whose link it is. The page does not say who that is. */
function otherPerson(frame: Frame, { at, retry }: { readonly at: AccountAt; readonly retry?: FormTarget }): Page {
  return frame.page(403, 'That is another account', 'care')`
${otherAccount(frame, at)}
${retry === undefined ? AGAIN : shownForm(retry, OTHER_ACCOUNT)}
<section aria-labelledby="sent"><h2 id="sent">Did somebody send you the link?</h2>
<p class="quiet">Then close this page and do not use the link again: it would have let them into your Nextcloud.</p></section>`
}

/** The answer that came is not the one that was expected. */
function badAnswer({ page }: Frame): Page {
  return page(400, 'That did not fit', 'care')`
<p>The answer that came here was incomplete, or had been used before. That happens when a page is reloaded or opened a second time.</p>
<p>If you have already seen “Connected”, all is well, and you can close this page.</p>
${AGAIN}`
}

/** The provider's answer is an error (RFC 6749 §4.1.2.1). Its code is shown if it looks like one. */
function providerRefused({ page, server }: Frame, { error }: { readonly error: string }): Page {
  return page(502, 'The sign-in was refused', 'care')`
<p>Your sign-in provider did not let the connection be made. Nothing was connected.</p>
${isErrorCode(error) ? markup`<p>Its reason: <code>${error}</code></p>` : undefined}
${AGAIN}
<p class="quiet">If you did not refuse it yourself and it happens again, please tell the people who run ${server}.</p>`
}

function noRefreshToken({ page, server }: Frame): Page {
  return page(502, 'The connection would not last', 'care')`
<p>You have signed in, but the provider gave no lasting access (no refresh token). So nothing was connected. You can do nothing about it here: please show this page to the people who run ${server}.</p>
<section aria-labelledby="operator">
<h2 id="operator">For the people who run this server</h2>
<p class="quiet">At the provider, for the client of this server:</p>
<ul class="quiet">
<li>Switch on refresh tokens (the grant type <code>refresh_token</code>).</li>
<li>Allow the scope <code>offline_access</code>, where the provider knows it.</li>
<li>Let users consent to it, or consent for them. Some providers give a refresh token only for a parameter of their own, which the option <code>connect.authorizationParameters</code> adds.</li>
</ul>
</section>`
}

/** The one that does not answer: the sign-in provider, Nextcloud, or the store of this server. */
export type Unavailable = 'provider' | 'nextcloud' | 'store'

/** Somebody else's service or the store is unavailable; `retryAfter` in seconds. */
function unavailable(
  { page, server, nextcloud }: Frame,
  { retryAfter, who }: { readonly retryAfter: number; readonly who: Unavailable },
): Page {
  const names: Readonly<Record<Unavailable, Markup>> = {
    provider: markup`The sign-in provider`,
    nextcloud: markup`Nextcloud at ${nextcloud}`,
    store: markup`The place where ${server} keeps connections`,
  }
  const seconds = Number.isFinite(retryAfter) ? Math.max(1, Math.ceil(retryAfter)) : 30
  const unavailable = page(503, 'Not possible just now', 'care')`
<p>${names[who]} does not answer at the moment. This is not your fault.</p>
<p>Please wait ${shownTime(seconds)} before you try again.</p>
${AGAIN}`
  return { ...unavailable, retryAfter: seconds }
}

/** This user has begun too many connections; `retryAfter` in seconds. */
function tooMany({ page, server }: Frame, { retryAfter }: { readonly retryAfter: number }): Page {
  const tooMany = page(429, 'Too many attempts', 'care')`
<p>Connecting your Nextcloud was begun many times within a few minutes. Nothing was changed.</p>
<p>Please wait ${shownTime(retryAfter)} before you try again. If it was not you who began it, tell the people who run ${server}.</p>`
  return { ...tooMany, retryAfter }
}

/** Too many codes that came with sign-ins were refused. */
function tooManyRefused({ page, server }: Frame): Page {
  return page(429, 'Too many attempts', 'care')`
<p>Several sign-ins have come to nothing lately, so this one was not finished. Nothing was changed.</p>
<p>Please try again in an hour: go back to the app you came from (your MCP client) and ask for the same thing once more. If it is urgent, tell the people who run ${server}.</p>`
}

/** Nextcloud has no client of the id that this server has: nobody at a browser can mend that. */
function unknownClient({ page, server, nextcloud }: Frame, { redirectUri }: { readonly redirectUri: string }): Page {
  return page(500, 'Nextcloud does not know this server', 'care')`
<p>${nextcloud} has no OAuth 2.0 client with the identifier that ${server} has for it. It was deleted there, or the identifier is wrong. Nobody can sign in or connect before that is mended. Nothing was changed.</p>
<p>Please tell the people who run ${server}. Then connect once more in your app.</p>
<div class="note"><p>For the administrator: in ${nextcloud}, add a client under Administration settings, Security, OAuth 2.0 clients, with the redirection URI below. Give its identifier and secret to ${server}, and start that again.</p>
<p><code>${redirectUri}</code></p></div>`
}

function failed({ page, server }: Frame): Page {
  return page(500, 'Something went wrong', 'care')`
<p>This is a fault of the server and not yours. If it happens again, please tell the people who run ${server}.</p>
${AGAIN}`
}
