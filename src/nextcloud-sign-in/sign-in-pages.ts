import type { ClientName } from '../connect/client-names.js'
import type { Page } from '../connect/pages/document.js'
import { createFrame, inEveryLanguage, type Frame, type PageNames } from '../connect/pages/frame.js'
import { markup, shownHost, shownName, type Markup } from '../connect/pages/markup.js'
import { LONGEST, shownAsker, shownForm, webAddress, type FormTarget } from '../connect/pages/shown.js'
import type { Texts } from '../connect/pages/texts/en.js'
import { targetOf, type Target } from './redirect-uri.js'

/** The MCP client that asks, and what it asks for. */
export interface Asked {
  readonly client: ClientName
  /** What it calls itself. Undefined: nothing that can be shown. */
  readonly callsItself: string | undefined
  /** The place to which the browser is sent back. */
  readonly goesTo: Target
  /** Sentences, one for each scope. */
  readonly scopes: readonly string[]
  /** Nextcloud user id of the person who has signed in here before. Undefined: nobody has. */
  readonly user: string | undefined
}

export interface SignInPageContext extends PageNames {
  /** Address at which Nextcloud gives its code back. */
  readonly redirectUri: string
}

/** The pages of a sign-in that the pages for connecting do not have. */
export type SignInPages = ReturnType<typeof createSignInPages>

export function createSignInPages(context: SignInPageContext) {
  const of = inEveryLanguage((texts) => createFrame(context, texts))
  return {
    consent: of(consent),
    goOn: of(goOn),
    unknown: of(unknown),
    anotherPerson: of(anotherPerson),
    notFromHere: of(notFromHere),
    badAnswer: of(badAnswer),
    notLetIn: of(notLetIn),
    tooMany: of(tooMany),
    refused: of(refused),
    otherAccount: of(otherAccount),
    noAnswer: of((frame: Frame) => noAnswer(frame, context.redirectUri)),
  }
}

/** On to another page of this server, or to Nextcloud. */
function goOn({ page, texts, nextcloud }: Frame, url: string, to: 'nextcloud' | 'app' | 'connections'): Page {
  const { href } = webAddress(url)
  const words = texts.signIn
  const { title, where } = {
    nextcloud: { title: words.toNextcloud, where: nextcloud },
    app: { title: words.toApp, where: markup`${words.yourApp}` },
    connections: { title: words.toConnections, where: markup`${words.yourConnections}` },
  }[to]
  const going = page(200, title, 'plain')`
<p>${texts.useThisLink(where)}</p>
<p class="answers"><a class="go" href="${href}"><span>${texts.continueTo(where)}</span></a></p>`
  return { ...going, refreshTo: href }
}

/** The sign-in has run out, or this browser did not begin it. */
function unknown({ page, texts }: Frame): Page {
  return page(410, texts.signIn.unknown, 'care')`
<p>${texts.signIn.runOut}</p>
<p>${texts.signIn.backToApp}</p>`
}

/** @param again address of the same request, made once more */
function anotherPerson({ page, texts }: Frame, again: string): Page {
  return page(403, texts.signIn.anotherPerson, 'care')`
<p>${texts.signIn.askedBefore}</p>
<p class="answers"><a class="go" href="${webAddress(again).href}"><span>${texts.signIn.askAgain}</span></a></p>`
}

/** This browser did not begin the sign-in, or another site sent the form. */
function notFromHere({ page, texts }: Frame): Page {
  return page(403, texts.signIn.notFromHere, 'care')`
<p>${texts.signIn.notRecognised}</p>
<ul>
<li>${texts.signIn.sameBrowser}</li>
<li>${texts.allowCookiesBriefly}</li>
<li>${texts.closeIfSent}</li>
</ul>`
}

/** What came back from Nextcloud is not the answer that was expected. */
function badAnswer({ page, texts, nextcloud }: Frame): Page {
  return page(400, texts.badAnswer.title, 'care')`
<p>${texts.signIn.badAnswer(nextcloud)}</p>
<p>${texts.signIn.ifConnected}</p>`
}

const shownReason = ({ unknown }: Texts, error: string): Markup =>
  markup`<code>${shownName(error, LONGEST, unknown)}</code>`

/** Nextcloud gives no tokens for its code (RFC 6749 §5.2). With a wrong secret, another attempt would end as this one. */
function notLetIn({ page, texts, server, nextcloud }: Frame, error: string): Page {
  const { notLetIn: why, wrongSecret, onceMore } = texts.signIn
  return page(502, texts.providerRefused.title, 'care')`
<p>${why(nextcloud, shownReason(texts, error))}</p>
<p>${error === 'invalid_client' ? wrongSecret(server) : onceMore(server)}</p>`
}

/** Too many wrong codes have come from this address. */
function tooMany({ page, texts, server }: Frame): Page {
  return page(429, texts.tooMany.title, 'care')`
<p>${texts.signIn.tooMany}</p>
<p>${texts.signIn.inAnHour(server)}</p>`
}

/** @param back address at which the app waits for the error. Undefined: there is none */
function refused({ page, texts }: Frame, error: string, back?: string): Page {
  const status = error === 'temporarily_unavailable' ? 503 : 400
  return page(status, texts.signIn.refused, 'care')`
<p>${texts.signIn.cannotAnswer(shownReason(texts, error))}</p>
<p>${texts.signIn.addAgain}</p>${back === undefined ? undefined : wayBack(texts, back)}`
}

/** Anybody may have registered the address, so that the person decides (RFC 9700 §4.11.2). */
const wayBack = (texts: Texts, to: string): Markup => markup`
<div class="note"><p>${texts.signIn.wayBack}</p></div>
<p class="answers"><a class="go" href="${to}"><span>${texts.signIn.goBackTo(shownTarget(texts, targetOf(to)))}</span></a></p>`

function otherAccount({ page, texts }: Frame): Page {
  return page(403, texts.signIn.otherAccount, 'care')`<p>${texts.signIn.twoAccounts}</p>`
}

/** Somebody has opened the address of Nextcloud's answers by itself, where nothing of a sign-in can go on. */
function noAnswer({ page, texts, nextcloud }: Frame, redirectUri: string): Page {
  return page(400, texts.signIn.noAnswer, 'care')`
<p>${texts.signIn.byItself(nextcloud)}</p>
<p>${texts.signIn.connectInApp}</p>
<p class="quiet">${texts.signIn.redirectUri(markup`<code>${redirectUri}</code>`)}</p>`
}

const yesOrNo = (yes: string, no: string): Markup =>
  markup`<button class="primary" type="submit" name="answer" value="yes">${yes}</button>
<button type="submit" name="answer" value="no">${no}</button>`

function consent(
  { page, texts, server, nextcloud }: Frame,
  { client, callsItself, goesTo, scopes, user }: Asked,
  form: FormTarget,
): Page {
  const words = texts.signIn
  const next = user === undefined ? words.next(nextcloud) : words.signedInAs(shownName(user, LONGEST, ''))
  return page(200, words.title, 'plain')`
<p>${shownAsker(texts, client, callsItself)} ${next}</p>
<dl class="facts">
<div><dt>${words.sendsBackTo}</dt><dd>${shownTarget(texts, goesTo)}</dd></div>
<div><dt>${texts.through}</dt><dd>${server}</dd></div>
<div><dt>${words.itMay}</dt><dd>${shownList(scopes)}</dd></div>
</dl>
<div class="note"><p>${words.careful}</p></div>
${shownForm(form, yesOrNo(user === undefined ? words.yesSignIn : words.yesAllow, texts.no))}`
}

/** Names the place of a redirect URI to a person: its host, or for an app on this computer what it is. */
function shownTarget({ signIn }: Texts, { place, isOnDevice }: Target): Markup {
  return isOnDevice ? signIn.appOnDevice(shownHost(place)) : shownHost(place)
}

function shownList(sentences: readonly string[]): Markup {
  return markup`<ul>${sentences.map((sentence) => markup`<li>${shownName(sentence, 200, '')}</li>`)}</ul>`
}
