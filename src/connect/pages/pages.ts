import { markup, shownHost, shownName, type Markup } from './markup.js'
import { writeDocument, type Page, type Tone } from './document.js'

export { sendPage, type Page } from './document.js'

/** Whom every page names. */
export interface PageContext {
  /** How this MCP server is called. */
  readonly serverName: string
  /** Which Nextcloud it is about. */
  readonly nextcloudHost: string
}

/** A form that has nothing but a button. */
export interface FormTarget {
  readonly action: string
  /** The hidden value `token`, bound to a cookie of the browser. */
  readonly formValue: string
}

/** The pages of the connect endpoints. Everything in them that comes from outside is made harmless. */
export interface Pages {
  /** Who wants what: two buttons, `answer=yes` and `answer=no`. */
  readonly consent: (p: FormTarget & { readonly clientName: string; readonly scopes: readonly string[] }) => Page
  /** The way to the provider, which the browser takes by itself. */
  readonly goingOn: (p: { readonly url: string; readonly host: string }) => Page
  /** The way to Nextcloud, where the user agrees; `next` is where this page looks for what came of it, every few seconds. */
  readonly waiting: (p: { readonly login: string; readonly clientName: string; readonly next: string }) => Page
  readonly connected: (p: { readonly clientName: string; readonly disconnect?: FormTarget }) => Page
  readonly declined: () => Page
  readonly disconnected: () => Page
  /** The ticket is unknown, used or expired. */
  readonly linkUnusable: () => Page
  /** This browser did not open the link, or another site sent the form. */
  readonly notFromHere: () => Page
  /** Signed in as somebody else than the one whom the link is for; who that is stays untold. */
  readonly otherPerson: (p: { readonly retry?: FormTarget }) => Page
  /** The answer is not one that was waited for. */
  readonly badAnswer: () => Page
  /** The provider's answer is an error (RFC 6749 §4.1.2.1); its code is shown where it looks like one. */
  readonly providerRefused: (p: { readonly error: string }) => Page
  readonly noRefreshToken: () => Page
  /** The provider or the store is away; `retryAfter` in seconds. */
  readonly unavailable: (p: { readonly retryAfter: number }) => Page
  /** This user has begun too many connections; `retryAfter` in seconds. */
  readonly tooMany: (p: { readonly retryAfter: number }) => Page
  readonly failed: () => Page
}

/** Longest name of a client or server, and longest scope, in characters. */
const LONGEST = 80
/** Seconds. Long enough to reach the link with a keyboard or a screen reader, which the page coming anew disturbs. */
const LOOKS_AGAIN_AFTER = 5
/** How many scopes are written out. */
const MOST_SCOPES = 40

const SCOPE_MEANINGS: ReadonlyMap<string, string> = new Map([
  ['openid', 'Know that it is you'],
  ['profile', 'See your name and profile'],
  ['email', 'See your e-mail address'],
  ['groups', 'See which groups you are in'],
  ['offline_access', 'Keep access while you are away'],
])

const AGAIN = markup`<p>To try again, go back to the app you came from (your MCP client) and ask for the same thing once more. It will give you a new link.</p>`

export function createPages(context: PageContext): Pages {
  const server = shownName(context.serverName, LONGEST, 'this server')
  const nextcloud = shownHost(context.nextcloudHost)
  const page = (status: number, title: string, tone: Tone, ...content: readonly Markup[]): Page => ({
    status,
    html: writeDocument(title, tone, server, content),
  })

  return {
    consent({ clientName, scopes, formValue, action }) {
      const client = shownClient(clientName)
      return page(
        200,
        'Connect your Nextcloud?',
        'plain',
        markup`<p><strong>${client}</strong> would like to work in your Nextcloud for you. If you say yes, you sign in as usual, and the connection stays until it is disconnected.</p>
<dl class="facts">
<div><dt>App</dt><dd>${client}</dd></div>
<div><dt>Through</dt><dd>${server}</dd></div>
<div><dt>Nextcloud</dt><dd>${nextcloud}</dd></div>
<div><dt>It asks for</dt><dd>${shownScopes(scopes)}</dd></div>
</dl>
<div class="note"><p>Say yes only if you have just asked this app for it yourself. If somebody sent you this link, say no.</p></div>
<form method="post" action="${action}" autocomplete="off">
<input type="hidden" name="token" value="${formValue}">
<p class="answers"><button class="primary" type="submit" name="answer" value="yes">Yes, connect</button>
<button type="submit" name="answer" value="no">No, thanks</button></p>
</form>`,
      )
    },

    goingOn({ url, host }) {
      const { href } = webAddress(url)
      const going = page(
        200,
        'On to your sign-in',
        'plain',
        markup`<p>You are being taken to ${shownHost(host)} to sign in. If nothing happens, please use this link:</p>
<p class="answers"><a class="go" href="${href}"><span>Continue to ${shownHost(host)}</span></a></p>`,
      )
      return { ...going, refreshTo: href }
    },

    waiting({ login, clientName, next }) {
      const { href, host } = webAddress(login)
      const waiting = page(
        200,
        'Now agree in Nextcloud',
        'plain',
        markup`<p>One step is left: in Nextcloud, allow ${server} to work with your account. There you may have to sign in, and then press “Grant access”.</p>
<div class="note"><p>Use your own account there. What ${shownClient(clientName)} does, it will do with that one.</p></div>
<p class="answers"><a class="go" href="${href}" target="_blank" rel="noopener noreferrer"><span>Open ${shownHost(host)} in a new tab</span></a></p>
<p>Keep this page open. When you are done, it goes on by itself within seconds.</p>
<p class="quiet"><a href="${webAddress(next).href}">Look now</a></p>`,
      )
      return { ...waiting, refreshTo: webAddress(next).href, refreshAfter: LOOKS_AGAIN_AFTER }
    },

    connected({ clientName, disconnect }) {
      const client = shownClient(clientName)
      return page(
        200,
        'Connected, you can go back',
        'good',
        markup`<p><strong>${client}</strong> can now work in your Nextcloud at ${nextcloud}.</p>
<p>You can close this page. If ${client} was waiting, it goes on by itself; if not, ask it once more.</p>`,
        ...(disconnect === undefined
          ? []
          : [
              markup`<section aria-labelledby="undo">
<h2 id="undo">Changed your mind?</h2>
<p class="quiet">Disconnect, and ${client} can no longer use your Nextcloud.</p>
${shownForm(disconnect, markup`<button type="submit">Disconnect</button>`)}
</section>`,
            ]),
      )
    },

    declined: () =>
      page(
        200,
        'Not connected',
        'plain',
        markup`<p>You said no, so nothing was connected: no app has got access to your Nextcloud at ${nextcloud} by this link. You can close this page.</p>
<p>If you change your mind, ask for the same thing once more in the app you came from. It will give you a new link.</p>`,
      ),

    disconnected: () =>
      page(
        200,
        'Disconnected',
        'good',
        markup`<p>The app can no longer use your Nextcloud at ${nextcloud}. Your files, notes and everything else there are as they were. You can close this page.</p>
<p>To connect again, ask the app for something that needs Nextcloud. It will give you a new link.</p>`,
      ),

    linkUnusable: () =>
      page(
        410,
        'This link no longer works',
        'care',
        markup`<p>A link like this can be used once, for a few minutes. This one has been used, has run out, or was not copied whole. Nothing was changed.</p>`,
        AGAIN,
      ),

    notFromHere: () =>
      page(
        403,
        'Please open the link again',
        'care',
        markup`<p>This browser cannot be recognised as the one that opened the link, so nothing was connected.</p>
<ul>
<li>Open the link in the browser in which you want to sign in, and answer there.</li>
<li>If that does not help, allow cookies for this site. They are needed for a few minutes only.</li>
<li>If another site or a message brought you here, close this page. There is nothing else to do.</li>
</ul>`,
      ),

    otherPerson: ({ retry }) =>
      page(
        403,
        'That is another account',
        'care',
        markup`<p>You have signed in with another account than the one this link was made for. Nothing was connected, and nothing of yours was kept.</p>
<p>If this is your own link: sign out at your sign-in provider, then try again with the account that you use in your app (your MCP client).</p>`,
        ...(retry === undefined
          ? [AGAIN]
          : [shownForm(retry, markup`<button class="primary" type="submit">Try again with another account</button>`)]),
        markup`<section aria-labelledby="sent"><h2 id="sent">Did somebody send you the link?</h2>
<p class="quiet">Then close this page and do not use the link again: it would have let them into your Nextcloud.</p></section>`,
      ),

    badAnswer: () =>
      page(
        400,
        'That did not fit',
        'care',
        markup`<p>The answer that came here was incomplete, or had been used before. That happens when a page is reloaded or opened a second time.</p>
<p>If you have already seen “Connected”, all is well, and you can close this page.</p>`,
        AGAIN,
      ),

    providerRefused: ({ error }) =>
      page(
        502,
        'The sign-in was refused',
        'care',
        markup`<p>Your sign-in provider did not let the connection be made. Nothing was connected.</p>`,
        ...(isErrorCode(error) ? [markup`<p>Its reason: <code>${error}</code></p>`] : []),
        AGAIN,
        markup`<p class="quiet">If you did not refuse it yourself and it happens again, please tell the people who run ${server}.</p>`,
      ),

    noRefreshToken: () =>
      page(
        502,
        'The connection would not last',
        'care',
        markup`<p>You have signed in, but the provider gave no lasting access (no refresh token). So nothing was connected. You can do nothing about it here: please show this page to the people who run ${server}.</p>
<section aria-labelledby="operator">
<h2 id="operator">For the people who run this server</h2>
<p class="quiet">At the provider, for the client of this server:</p>
<ul class="quiet">
<li>Switch on refresh tokens (the grant type <code>refresh_token</code>).</li>
<li>Allow the scope <code>offline_access</code>, where the provider knows it.</li>
<li>Let users consent to it, or consent for them. Some providers give a refresh token only for a parameter of their own, which the option <code>connect.authorizationParameters</code> adds.</li>
</ul>
</section>`,
      ),

    unavailable({ retryAfter }) {
      const seconds = Number.isFinite(retryAfter) ? Math.max(1, Math.ceil(retryAfter)) : 30
      const unavailable = page(
        503,
        'Not possible just now',
        'care',
        markup`<p>The sign-in provider, or the place where connections are kept, does not answer at the moment. This is not your fault.</p>
<p>Please wait ${shownTime(seconds)} before you try again.</p>`,
        AGAIN,
      )
      return { ...unavailable, retryAfter: seconds }
    },

    tooMany: ({ retryAfter }) => ({
      ...page(
        429,
        'Too many attempts',
        'care',
        markup`<p>Connecting your Nextcloud was begun many times within a few minutes. Nothing was changed.</p>
<p>Please wait ${shownTime(retryAfter)} before you try again. If it was not you who began it, tell the people who run ${server}.</p>`,
      ),
      retryAfter,
    }),

    failed: () =>
      page(
        500,
        'Something went wrong',
        'care',
        markup`<p>This is a fault of the server and not yours. If it happens again, please tell the people who run ${server}.</p>`,
        AGAIN,
      ),
  }
}

/**
 * A client id may be the URL of a metadata document (MCP 2025-11-25, client ID metadata documents), chosen by whoever wrote it: of
 * such a name the host counts, above all its end.
 */
function shownClient(name: string): Markup {
  const url = /^https?:/i.test(name) && URL.canParse(name) ? new URL(name) : undefined
  if (url !== undefined && url.host !== '') {
    const path = url.pathname === '/' ? '' : url.pathname
    return path === '' ? shownHost(url.host) : markup`${shownHost(url.host)} ${shownName(`(${path})`, LONGEST, '')}`
  }
  return shownName(name, LONGEST, 'An app without a name')
}

function shownScopes(scopes: readonly string[]): Markup {
  if (scopes.length === 0) return markup`Access to your Nextcloud as you`
  const items = scopes.slice(0, MOST_SCOPES).map((scope) => {
    const meaning = SCOPE_MEANINGS.get(scope)
    const code = markup`<code>${shownName(scope, LONGEST, '(not readable)')}</code>`
    return meaning === undefined ? markup`<li>${code}</li>` : markup`<li>${meaning} ${code}</li>`
  })
  const left = scopes.length - items.length
  return markup`<ul>${items}${left > 0 ? markup`<li>and ${left} more</li>` : undefined}</ul>`
}

function shownForm({ action, formValue }: FormTarget, button: Markup): Markup {
  return markup`<form method="post" action="${action}" autocomplete="off">
<input type="hidden" name="token" value="${formValue}">
<p class="answers">${button}</p>
</form>`
}

function shownTime(seconds: number): string {
  if (seconds < 90) return seconds === 1 ? 'a second' : `${seconds} seconds`
  return `${Math.ceil(seconds / 60)} minutes`
}

/** As a browser writes it, so that it is one line of ASCII. */
function webAddress(url: string): URL {
  const address = new URL(url)
  if (address.protocol !== 'https:' && address.protocol !== 'http:') throw new TypeError('That is no web address')
  return address
}

/** RFC 6749 §4.1.2.1, and short enough to be read. */
function isErrorCode(error: string): boolean {
  return error.length <= 100 && /^[\x21\x23-\x26\x28-\x5B\x5D-\x7E][\x20\x21\x23-\x26\x28-\x5B\x5D-\x7E]*$/.test(error)
}
