import type { ClientName } from '../client-names.js'
import type { Page } from './document.js'
import { createFrame, inEveryLanguage, type Frame, type PageNames } from './frame.js'
import { markup, shownHost, type Markup } from './markup.js'
import { cannotTell, notSignedIn, overview, signIn, visitFailed, visitOver } from './overview.js'
import {
  isErrorCode,
  shownAsker,
  shownClaimLine,
  shownClient,
  shownForm,
  shownScopes,
  shownTime,
  webAddress,
  type FormTarget,
} from './shown.js'
import type { Texts } from './texts/en.js'

/** What the pages are made with. */
export interface PageContext extends PageNames {
  /** The steps that follow a "yes": a sign-in at the provider, or Nextcloud's own question, which makes an app password, or both. */
  readonly steps: readonly ('sign-in' | 'app-password')[]
}

/** The pages of the connect endpoints. Everything in them that comes from outside is made harmless. */
export type Pages = ReturnType<typeof createPages>

export function createPages(context: PageContext) {
  const of = inEveryLanguage((texts) => createFrame(context, texts))
  const next = nextSteps(context.steps)
  return {
    consent: of((frame, asked: Asked) => consent(frame, asked, next)),
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

function nextSteps(steps: PageContext['steps']): keyof Texts['consent']['next'] {
  if (!steps.includes('app-password')) return 'signIn'
  return steps.includes('sign-in') ? 'both' : 'appPassword'
}

/** Seconds. Long enough to reach the link with a keyboard or a screen reader, which a reload disturbs. */
const LOOKS_AGAIN_AFTER = 5

const again = ({ texts }: Frame): Markup => markup`<p>${texts.again}</p>`

const yesOrNo = ({ texts }: Frame): Markup =>
  markup`<button class="primary" type="submit" name="answer" value="yes">${texts.yes}</button>
<button type="submit" name="answer" value="no">${texts.no}</button>`

/** The MCP client that a page is about. */
interface About {
  readonly client: ClientName
  /** What it calls itself in MCP (`clientInfo.name`). Undefined: it did not say. */
  readonly callsItself?: string | undefined
}

/** The question's words and form. */
interface Asked extends About, FormTarget {
  readonly scopes: readonly string[]
}

/** The question to the user, with two buttons: `answer=yes` and `answer=no`. */
function consent(frame: Frame, asked: Asked, next: keyof Texts['consent']['next']): Page {
  const { page, texts, server, nextcloud } = frame
  const { client, callsItself, scopes } = asked
  return page(200, texts.consent.title, 'plain')`
<p>${shownAsker(texts, client, callsItself)} ${texts.consent.next[next]}</p>
<div class="note"><p>${texts.consent.careful}</p></div>
<dl class="facts">
<div><dt>${texts.through}</dt><dd>${server}</dd></div>
<div><dt>Nextcloud</dt><dd>${nextcloud}</dd></div>
<div><dt>${texts.consent.asksFor}</dt><dd>${shownScopes(texts, scopes)}</dd></div>
</dl>
${shownForm(asked, yesOrNo(frame))}`
}

/** The way to the provider, which the browser takes by itself. */
function goingOn({ page, texts }: Frame, { url, host }: { readonly url: string; readonly host: string }): Page {
  const { href } = webAddress(url)
  const going = page(200, texts.goingOn.title, 'plain')`
<p>${texts.goingOn.useThisLink(shownHost(host))}</p>
<p class="answers"><a class="go" href="${href}"><span>${texts.continueTo(shownHost(host))}</span></a></p>`
  return { ...going, refreshTo: href }
}

/** The way to Nextcloud, where the user agrees. Every few seconds the page looks for the outcome at `next`. */
function waiting(
  { page, texts, server }: Frame,
  { login, next, client, callsItself }: About & { readonly login: string; readonly next: string },
): Page {
  const { href, host } = webAddress(login)
  const words = texts.waiting
  const waiting = page(200, words.title, 'plain')`
<p>${words.left(server)}</p>
<div class="note"><p>${words.ownAccount(shownClient(texts, client))}</p>
${shownClaimLine(texts, client, callsItself)}</div>
<p class="answers"><a class="go" href="${href}" target="_blank" rel="noopener noreferrer"><span>${words.open(shownHost(host))}</span></a></p>
<p>${words.keepOpen}</p>
<p class="quiet"><a href="${webAddress(next).href}">${words.look}</a></p>`
  return { ...waiting, refreshTo: webAddress(next).href, refreshAfter: LOOKS_AGAIN_AFTER }
}

function connected(
  { page, texts, nextcloud }: Frame,
  shown: About & { readonly disconnect?: FormTarget; readonly overview?: string | undefined },
): Page {
  const { client, callsItself, disconnect, overview } = shown
  const words = texts.connected
  return page(200, words.title, 'good')`
<p>${words.canWork(shownClient(texts, client), nextcloud)}</p>
${shownClaimLine(texts, client, callsItself)}
<p>${words.close}</p>
${disconnect && offerToDisconnect(words, disconnect)}
${linkToAll(words, overview)}`
}

/** @param overview path of the page of connections */
const linkToAll = ({ seeAll }: Texts['connected'], overview: string | undefined): Markup | undefined =>
  overview === undefined
    ? undefined
    : markup`<p class="answers"><a class="more" href="${overview}"><span>${seeAll}</span></a></p>`

const offerToDisconnect = (
  { changedMind, disconnectIt, disconnect }: Texts['connected'],
  target: FormTarget,
): Markup => markup`<section aria-labelledby="undo">
<h2 id="undo">${changedMind}</h2>
<p class="quiet">${disconnectIt}</p>
${shownForm(target, markup`<button type="submit">${disconnect}</button>`)}
</section>`

function declined({ page, texts, nextcloud }: Frame): Page {
  return page(200, texts.declined.title, 'plain')`
<p>${texts.declined.saidNo(nextcloud)}</p>
<p>${texts.changedMind}</p>`
}

/** The user has disconnected, or said no, while the connection was under way. */
function withdrawn({ page, texts, nextcloud }: Frame): Page {
  return page(200, texts.declined.title, 'plain')`
<p>${texts.declined.tookBack(nextcloud)}</p>
<p>${texts.changedMind}</p>`
}

function disconnected(
  { page, texts, nextcloud }: Frame,
  { overview }: { readonly overview?: string | undefined } = {},
): Page {
  return page(200, texts.disconnected.title, 'good')`
<p>${texts.disconnected.done(nextcloud)}</p>
<p>${texts.disconnected.again}</p>
${linkToAll(texts.connected, overview)}`
}

/** The ticket is unknown, used or expired. */
function linkUnusable(frame: Frame): Page {
  const { page, texts } = frame
  return page(410, texts.linkUnusable.title, 'care')`
<p>${texts.linkUnusable.why}</p>
${again(frame)}`
}

/** This browser did not open the link, or another site sent the form. */
function notFromHere({ page, texts }: Frame): Page {
  return page(403, texts.notFromHere.title, 'care')`
<p>${texts.notFromHere.why}</p>
<ul>
<li>${texts.notFromHere.sameBrowser}</li>
<li>${texts.allowCookiesBriefly}</li>
<li>${texts.closeIfSent}</li>
</ul>`
}

/** The place of the account that is another's. */
export type AccountAt = 'provider' | 'app' | 'nextcloud'

/** Returns which account it is, and what to do if the link is one's own. */
function otherAccount({ texts, server, nextcloud }: Frame, at: AccountAt): Markup {
  const { provider, app, nextcloud: there } = texts.otherPerson
  const { why, yours } = {
    provider,
    app: { why: app.why(server), yours: app.yours(server) },
    nextcloud: { why: there.why(nextcloud), yours: there.yours(nextcloud) },
  }[at]
  return markup`<p>${why}</p>
<p>${yours}</p>`
}

/** The person who signed in is not the user whose link it is. The page does not say who that is. */
function otherPerson(frame: Frame, { at, retry }: { readonly at: AccountAt; readonly retry?: FormTarget }): Page {
  const words = frame.texts.otherPerson
  const button = markup`<button class="primary" type="submit">${words.tryAnother}</button>`
  return frame.page(403, words.title, 'care')`
${otherAccount(frame, at)}
${retry === undefined ? again(frame) : shownForm(retry, button)}
<section aria-labelledby="sent"><h2 id="sent">${words.sent}</h2>
<p class="quiet">${words.close}</p></section>`
}

/** The answer that came is not the one that was expected. */
function badAnswer(frame: Frame): Page {
  const { page, texts } = frame
  return page(400, texts.badAnswer.title, 'care')`
<p>${texts.badAnswer.why}</p>
<p>${texts.badAnswer.seen}</p>
${again(frame)}`
}

/** The provider's answer is an error (RFC 6749 §4.1.2.1). Its code is shown if it looks like one. */
function providerRefused(frame: Frame, { error }: { readonly error: string }): Page {
  const { page, texts, server } = frame
  return page(502, texts.providerRefused.title, 'care')`
<p>${texts.providerRefused.why}</p>
${isErrorCode(error) ? markup`<p>${texts.reason(markup`<code>${error}</code>`)}</p>` : undefined}
${again(frame)}
<p class="quiet">${texts.notYourself(server)}</p>`
}

function noRefreshToken({ page, texts, server }: Frame): Page {
  const words = texts.noRefreshToken
  return page(502, words.title, 'care')`
<p>${words.why(server)}</p>
<section aria-labelledby="operator">
<h2 id="operator">${words.operator}</h2>
<p class="quiet">${words.atProvider}</p>
<ul class="quiet">
<li>${words.switchOn}</li>
<li>${words.allow}</li>
<li>${words.letConsent}</li>
</ul>
</section>`
}

/** The one that does not answer: the sign-in provider, Nextcloud, or the store of this server. */
export type Unavailable = 'provider' | 'nextcloud' | 'store'

/** Somebody else's service or the store is unavailable; `retryAfter` in seconds. */
function unavailable(
  frame: Frame,
  { retryAfter, who }: { readonly retryAfter: number; readonly who: Unavailable },
): Page {
  const { page, texts, server, nextcloud } = frame
  const { provider, nextcloud: itself, store, title, wait } = texts.unavailable
  const why = { provider, nextcloud: itself(nextcloud), store: store(server) }[who]
  const seconds = Number.isFinite(retryAfter) ? Math.max(1, Math.ceil(retryAfter)) : 30
  const unavailable = page(503, title, 'care')`
<p>${why}</p>
<p>${wait(shownTime(texts, seconds))}</p>
${again(frame)}`
  return { ...unavailable, retryAfter: seconds }
}

/** This user has begun too many connections; `retryAfter` in seconds. */
function tooMany({ page, texts, server }: Frame, { retryAfter }: { readonly retryAfter: number }): Page {
  const tooMany = page(429, texts.tooMany.title, 'care')`
<p>${texts.tooMany.why}</p>
<p>${texts.tooMany.wait(shownTime(texts, retryAfter), server)}</p>`
  return { ...tooMany, retryAfter }
}

/** Too many codes that came with sign-ins were refused. */
function tooManyRefused({ page, texts, server }: Frame): Page {
  return page(429, texts.tooMany.title, 'care')`
<p>${texts.tooMany.refused}</p>
<p>${texts.tooMany.inAnHour(server)}</p>`
}

/** Nextcloud has no client of the id that this server has: nobody at a browser can mend that. */
function unknownClient(
  { page, texts, server, nextcloud }: Frame,
  { redirectUri }: { readonly redirectUri: string },
): Page {
  const { title, why, tell, administrator } = texts.unknownClient
  return page(500, title, 'care')`
<p>${why(nextcloud, server)}</p>
<p>${tell(server)}</p>
<div class="note"><p>${administrator(nextcloud, server)}</p>
<p><code>${redirectUri}</code></p></div>`
}

function failed(frame: Frame): Page {
  const { page, texts, server } = frame
  return page(500, texts.failed.title, 'care')`
<p>${texts.failed.why(server)}</p>
${again(frame)}`
}
