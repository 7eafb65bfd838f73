import { createCodeGrant } from '../../authorization-server/code-grant.js'
import type { ConnectConfig } from '../../config/config.js'
import { McpAuthError } from '../../errors/errors.js'
import { MODES } from '../../modes.js'
import { forApp, waysToGive } from './words.js'
import { check, failed, leftOut, missing, outcomeOf, passed, type Check, type Subject, type Verdict } from './check.js'
import type { Examination } from './examination.js'
import { reached } from './network.js'
import { checkOAuth2RedirectUri, isFromOAuth2App } from './oauth2-app.js'
import { describe, isAnswer } from './probe.js'
import { THIS_SERVER } from './public.js'

const pages: Subject<ConnectConfig> = ({ config }) =>
  config.grants?.connect ?? missing('there are no connect pages in this mode')

/** The pages where a sign-in gives a grant that lasts, and not only the name of the user. */
const lasting: Subject<ConnectConfig> = (context) => {
  const { nextcloud } = context.config
  return nextcloud !== undefined && MODES[nextcloud.mode].signInFor === 'grant'
    ? pages(context)
    : missing('no refresh token is asked for in this mode')
}

/** Checks of the way by which users connect Nextcloud. */
export const connectChecks: readonly Check[] = [
  check({ id: 'connect.redirect-uri', needs: ['client.credentials'], about: pages, run: checkRedirectUri }),
  check({ id: 'connect.offline-access', needs: ['discovery.endpoints'], about: lasting, run: checkOfflineAccess }),
]

export const connectPage = check({ id: 'connect.page', needs: reached(THIS_SERVER), about: pages, run: checkPage })

/** Makes the authorization request of a browser, which a provider refuses at once if the redirect URI is not its client's. */
async function checkRedirectUri(context: Examination, connect: ConnectConfig): Promise<Verdict> {
  const { quote } = context.secrets
  const { client } = context.config
  if (client !== undefined && isFromOAuth2App(context)) return checkOAuth2RedirectUri(context, client, connect)
  const grant = createCodeGrant(connect, context)
  const server = await outcomeOf(grant.metadata)
  if (server instanceof McpAuthError) return leftOut(quote(server.detail))
  const redirectUri = grant.redirectUri(server)
  const fix = `register ${redirectUri}, to the letter, as a redirect URI of this client at the provider`
  const url = await grant.authorizationUrl(server, grant.secrets(), false)
  const answer = await context.probe(url.href, { headers: { accept: 'text/html' } })
  if (!isAnswer(answer)) {
    return leftOut(`the authorization endpoint cannot be reached from here (${answer.code}), as browsers must`, fix)
  }
  if (answer.status >= 400) {
    return failed(`the provider refuses the authorization request with ${describe(answer, quote)}`, fix)
  }
  const refused = errorIn(answer.headers.get('location'), redirectUri)
  if (refused !== undefined) {
    return failed(
      `the provider knows ${redirectUri}, but refuses the request: ${quote(refused)}`,
      `give this client the authorization code flow with PKCE and the scopes asked for (${waysToGive('connect.scopes')})`,
    )
  }
  if (await takesAny(context, url, redirectUri)) {
    return leftOut(
      'the provider judges redirect URIs only after the sign-in, so this one cannot be looked at from here',
      fix,
    )
  }
  if (redirectUri !== connect.redirectUri && (await takes(context, url, connect.redirectUri))) {
    return failed(
      `the provider takes ${connect.redirectUri}, too, which is of another issuer: that one could have this provider's codes sent to it`,
      `let ${redirectUri} be the only redirect URI of this server at the provider`,
    )
  }
  return passed(`the provider takes ${redirectUri}`)
}

/** Whether the provider answers a redirect URI that nobody has registered like this server's. */
const takesAny = (context: Examination, url: URL, redirectUri: string): Promise<boolean> =>
  takes(context, url, `${new URL(redirectUri).origin}/not-registered-${crypto.randomUUID()}`)

/** Whether the provider answers the same request with this redirect URI like that with this server's. */
async function takes({ probe }: Examination, url: URL, redirectUri: string): Promise<boolean> {
  const made = new URL(url)
  made.searchParams.set('redirect_uri', redirectUri)
  const answer = await probe(made.href, { headers: { accept: 'text/html' } })
  return isAnswer(answer) && answer.status < 400
}

/** Returns the `error` that comes straight back to this server (RFC 6749 §4.1.2.1), unless it only asks for a sign-in. */
function errorIn(location: string | null, redirectUri: string): string | undefined {
  if (location?.startsWith(redirectUri) !== true || !URL.canParse(location)) return undefined
  const error = new URL(location).searchParams.get('error')
  return error === null || ['login_required', 'interaction_required'].includes(error) ? undefined : error
}

/** Chooses the scopes by the code of the server itself. */
async function checkOfflineAccess(context: Examination, connect: ConnectConfig): Promise<Verdict> {
  const grant = createCodeGrant(connect, context)
  const server = await grant.metadata()
  if (server.scopes_supported === undefined) return leftOut('the provider does not list its scopes')
  if (grant.scopes(server).includes('offline_access')) {
    return passed('the provider lists offline_access, so it is asked for')
  }
  return leftOut(
    'scopes_supported has no offline_access, so it is not asked for',
    'see that the provider gives refresh tokens without it; else switch the scope on for this client, or no user can connect',
  )
}

/** The answer to a link without a ticket: a page that says that the link is of no use. */
async function checkPage({ config, probe, secrets }: Examination, { path }: ConnectConfig): Promise<Verdict> {
  const url = `${new URL(config.resource).origin}${path}/connect`
  const answer = await probe(url, { headers: { accept: 'text/html' } })
  if (isAnswer(answer) && answer.status === 410) return passed(`${url} is there`)
  return failed(
    `${url} is not the connect page of this server (${describe(answer, secrets.quote)})`,
    `let ${forApp('app.use(auth.routes())')} stand in the app, and the proxy pass on ${path} and what is below it; the path is set by ${waysToGive('connect.path')}`,
  )
}
