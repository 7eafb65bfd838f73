import type { ClientName } from '../connect/client-names.js'
import { writeDocument, type Page } from '../connect/pages/document.js'
import { markup, shownHost, shownName, type Markup } from '../connect/pages/markup.js'
import { LONGEST, shownClaim, shownClient, shownForm, webAddress, type FormTarget } from '../connect/pages/shown.js'
import { shownTarget } from './redirect-uri.js'

/** The MCP client that asks, and what it asks for. */
export interface Asked {
  readonly client: ClientName
  /** What it calls itself. Undefined: nothing that can be shown. */
  readonly callsItself: string | undefined
  /** Host, or scheme of an app, to which the browser is sent back. */
  readonly goesTo: string
  /** Sentences, one for each scope. */
  readonly scopes: readonly string[]
  /** Nextcloud user id of the person who has signed in here before. Undefined: nobody has. */
  readonly user: string | undefined
}

export interface SignInPageContext {
  /** Name of this MCP server. */
  readonly serverName: string
  readonly nextcloudHost: string
  /** Address at which Nextcloud gives its code back. */
  readonly redirectUri: string
}

/** The pages of a sign-in that the pages for connecting do not have. */
export type SignInPages = ReturnType<typeof createSignInPages>

export function createSignInPages({ serverName, nextcloudHost, redirectUri }: SignInPageContext) {
  const server = shownName(serverName, LONGEST, 'this server')
  const nextcloud = shownHost(nextcloudHost)
  const page: Frame = (status, title, content) => ({
    status,
    html: writeDocument(title, status === 200 ? 'plain' : 'care', server, content),
  })
  return {
    consent: (asked: Asked, form: FormTarget): Page =>
      page(200, 'Let this app use your Nextcloud?', consent({ ...asked, server, nextcloud }, form)),
    /** On to another page of this server, or to Nextcloud. */
    goOn: (url: string, to: 'nextcloud' | 'app' | 'connections'): Page => {
      const { href } = webAddress(url)
      const { title, where } = {
        nextcloud: { title: 'On to Nextcloud', where: nextcloud },
        app: { title: 'Signed in, on to your app', where: markup`your app` },
        connections: { title: 'On to your connections', where: markup`your connections` },
      }[to]
      const content = markup`
<p>You are being taken to ${where}. If nothing happens, please use this link:</p>
<p class="answers"><a class="go" href="${href}"><span>Continue to ${where}</span></a></p>`
      return { ...page(200, title, content), refreshTo: href }
    },
    ...endings(page, { server, nextcloud }),
    ...lost(page, { nextcloud, redirectUri }),
  }
}

type Frame = (status: number, title: string, content: Markup) => Page

/** The pages on which a sign-in ends without a way back to the app. */
function endings(page: Frame, { server, nextcloud }: { readonly server: Markup; readonly nextcloud: Markup }) {
  return {
    /** The sign-in has run out, or this browser did not begin it. */
    unknown: (): Page =>
      page(
        410,
        'This sign-in is over',
        markup`
<p>It has been finished, has run out after ten minutes, or was begun in another browser. Nothing was changed.</p>
<p>Go back to your app and connect once more. If that does not help, allow cookies for this site.</p>`,
      ),
    /** @param again address of the same request, made once more */
    anotherPerson: (again: string): Page =>
      page(
        403,
        'Somebody else is signed in here now',
        markup`
<p>This question was asked before somebody signed in or out in this browser, so it cannot be answered any more. Nothing was changed.</p>
<p class="answers"><a class="go" href="${webAddress(again).href}"><span>Ask me again</span></a></p>`,
      ),
    /** This browser did not begin the sign-in, or another site sent the form. */
    notFromHere: (): Page =>
      page(
        403,
        'Please connect again in your app',
        markup`
<p>This browser cannot be recognised as the one in which the sign-in was begun, so nobody was signed in.</p>
<ul>
<li>Connect once more in your app, and stay in the browser that it opens.</li>
<li>If that does not help, allow cookies for this site. They are needed for a few minutes only.</li>
<li>If another site or a message brought you here, close this page. There is nothing else to do.</li>
</ul>`,
      ),
    /** What came back from Nextcloud is not the answer that was expected. */
    badAnswer: (): Page =>
      page(
        400,
        'That did not fit',
        markup`
<p>The answer of ${nextcloud} that came here was incomplete, or had been used before. That happens when a page is reloaded or opened a second time.</p>
<p>If your app is connected, all is well, and you can close this page. If not, connect once more there.</p>`,
      ),
    /** Nextcloud gives no tokens for its code (RFC 6749 §5.2). */
    notLetIn: (error: string): Page =>
      page(
        502,
        'The sign-in was refused',
        markup`
<p>${nextcloud} did not let this server finish the sign-in, so nobody was signed in. Its reason: <code>${shownName(error, LONGEST, 'unknown')}</code></p>
${error === 'invalid_client' ? wrongSecret(server) : again(server)}`,
      ),
    /** Too many wrong codes have come from this address. */
    tooMany: (): Page =>
      page(
        429,
        'Too many attempts',
        markup`
<p>Several sign-ins from your network have come to nothing lately, so this one was not finished. Nobody was signed in.</p>
<p>Connect once more in your app in an hour. If it is urgent, please tell the people who run ${server}.</p>`,
      ),
    /** @param back address at which the app waits for the error. Undefined: there is none */
    refused: (error: string, back?: string): Page =>
      page(
        error === 'temporarily_unavailable' ? 503 : 400,
        'The app asked for something that is not possible',
        markup`
<p>Your app sent a request that this server cannot answer. Its reason: <code>${shownName(error, LONGEST, 'unknown')}</code></p>
<p>Connect once more in your app. If it happens again, remove this server there and add it again.</p>${back === undefined ? undefined : wayBack(back)}`,
      ),
    otherAccount: (): Page =>
      page(
        403,
        'Nextcloud named another account',
        markup`<p>The two answers of Nextcloud do not name the same account, so nobody was signed in. Please connect once more in your app.</p>`,
      ),
  }
}

/** Anybody may have registered the address, so that the person decides (RFC 9700 §4.11.2). */
const wayBack = (to: string): Markup => markup`
<div class="note"><p>If somebody sent you here, close this page. If you have just connected an app yourself, you can tell it what happened.</p></div>
<p class="answers"><a class="go" href="${to}"><span>Go back to ${shownHost(shownTarget(to))}</span></a></p>`

const again = (server: Markup): Markup =>
  markup`<p>Connect once more in your app. If it happens again, please tell the people who run ${server}.</p>`

/** Another attempt would end as this one. */
const wrongSecret = (server: Markup): Markup =>
  markup`<p>The administrator of ${server} has to look at the client secret that it has for Nextcloud, and start ${server} again. Its log says more. Then connect once more in your app.</p>`

/** The pages for a browser that comes to a place where nothing of a sign-in can go on. */
function lost(page: Frame, { nextcloud, redirectUri }: { readonly nextcloud: Markup; readonly redirectUri: string }) {
  return {
    /** Somebody has opened the address by itself. */
    noAnswer: (): Page =>
      page(
        400,
        'A sign-in begins in your app',
        markup`
<p>${nextcloud} sends browsers to this address at the end of a sign-in. Opened by itself, it does nothing, and nothing was changed.</p>
<p>Connect in your app. It opens the right page.</p>
${registered(redirectUri)}`,
      ),
  }
}

const registered = (redirectUri: string): Markup =>
  markup`<p class="quiet">For the administrator: the redirection URI of the OAuth 2.0 client in Nextcloud must be <code>${redirectUri}</code></p>`

const YES_OR_NO = (
  name: string,
): Markup => markup`<button class="primary" type="submit" name="answer" value="yes">${name}</button>
<button type="submit" name="answer" value="no">No, thanks</button>`

function consent(
  { client, callsItself, goesTo, scopes, user, server, nextcloud }: Asked & { server: Markup; nextcloud: Markup },
  form: FormTarget,
): Markup {
  const next =
    user === undefined
      ? markup`If you say yes, you sign in at ${nextcloud} and press “Grant access” there.`
      : markup`You are signed in as ${shownName(user, LONGEST, '')}.`
  return markup`
<p>${shownClient(client)}${shownClaim(callsItself, client)} would like to work in your Nextcloud for you. ${next}</p>
<dl class="facts">
<div><dt>Sends you back to</dt><dd>${shownHost(goesTo)}</dd></div>
<div><dt>Through</dt><dd>${server}</dd></div>
<div><dt>It may</dt><dd>${shownList(scopes)}</dd></div>
</dl>
<div class="note"><p>Say yes only if you have just connected this app yourself. If somebody sent you here, say no.</p></div>
${shownForm(form, YES_OR_NO(user === undefined ? 'Yes, sign in' : 'Yes, allow it'))}`
}

function shownList(sentences: readonly string[]): Markup {
  return markup`<ul>${sentences.map((sentence) => markup`<li>${shownName(sentence, 200, '')}</li>`)}</ul>`
}
