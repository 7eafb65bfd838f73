import { createCodeGrant } from '../../authorization-server/code-grant.js'
import { McpAuthError } from '../../errors/errors.js'
import { issuerDocument, needsDocument, type Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { waysToGive } from './options.js'
import { describeAnswer, isAnswer, listIn } from './probe.js'

const NO_PAGES = 'there are no connect pages in this mode'

/** Whether users can connect Nextcloud (refresh-token mode). */
export const connectChecks: readonly Check<Examination>[] = [
  { id: 'connect.redirect-uri', needs: ['discovery.endpoints', 'client.credentials'], run: checkRedirectUri },
  { id: 'connect.offline-access', needs: ['discovery.issuer'], run: checkOfflineAccess },
]

export const connectPage: Check<Examination> = {
  id: 'connect.page',
  needs: ['public.reachable', 'public.tls'],
  run: checkPage,
}

/** The authorization request that a browser would make: a provider refuses it at once where the redirect URI is not its client's. */
async function checkRedirectUri(context: Examination): Promise<Verdict> {
  const { config, probe, secrets } = context
  const connect = config.grants?.connect
  if (connect === undefined) return leftOut(NO_PAGES)
  const { redirectUri } = connect
  const fix = `register ${redirectUri}, to the letter, as a redirect URI of this client at the provider`
  const grant = createCodeGrant(connect, context)
  let url: URL
  try {
    url = await grant.authorizationUrl(await grant.metadata(), grant.secrets(), false)
  } catch (error) {
    if (error instanceof McpAuthError) return leftOut(secrets.quote(error.message), fix)
    throw error
  }
  const answer = await probe(url.href, { headers: { accept: 'text/html' } })
  if (!isAnswer(answer)) {
    return leftOut(`the authorization endpoint cannot be reached from here (${answer.code}); browsers have to`, fix)
  }
  if (answer.status >= 400) {
    return failed(`the provider refuses the authorization request with ${describeAnswer(answer, secrets.quote)}`, fix)
  }
  const refused = errorIn(answer.headers.get('location'), redirectUri)
  if (refused !== undefined) {
    return failed(
      `the provider knows ${redirectUri}, but refuses the request: ${secrets.quote(refused)}`,
      `give this client the authorization code flow with PKCE and the scopes asked for (${waysToGive('connect.scopes')})`,
    )
  }
  return passed(`the provider takes ${redirectUri}`, 'where it only says so on a page, see that it is registered')
}

/** The `error` that came straight back to this server (RFC 6749 §4.1.2.1). Asking for a sign-in without one is none. */
function errorIn(location: string | null, redirectUri: string): string | undefined {
  if (location?.startsWith(redirectUri) !== true || !URL.canParse(location)) return undefined
  const error = new URL(location).searchParams.get('error')
  return error === null || ['login_required', 'interaction_required'].includes(error) ? undefined : error
}

async function checkOfflineAccess(context: Examination): Promise<Verdict> {
  if (context.config.grants?.connect === undefined) return leftOut(NO_PAGES)
  const answer = needsDocument(context) ? await issuerDocument(context) : undefined
  const scopes = listIn(answer, 'scopes_supported')
  if (scopes === undefined) return leftOut('the provider does not list its scopes')
  if (scopes.includes('offline_access')) return passed('the provider lists offline_access, so it is asked for')
  return leftOut(
    'scopes_supported has no offline_access, so it is not asked for',
    'see that the provider gives refresh tokens without it; else switch the scope on for this client, or nobody can connect',
  )
}

async function checkPage(context: Examination): Promise<Verdict> {
  const { config, probe, secrets } = context
  const connect = config.grants?.connect
  if (connect === undefined) return leftOut(NO_PAGES)
  const url = `${new URL(config.resource).origin}${connect.path}/connect`
  const answer = await probe(url, { headers: { accept: 'text/html' } })
  // Without a ticket, the page says that the link is of no use.
  if (isAnswer(answer) && answer.status === 410) return passed(`${url} is there`)
  const what = isAnswer(answer) ? describeAnswer(answer, secrets.quote) : answer.code
  return failed(
    `${url} is not the connect page of this server (${what})`,
    `let app.use(auth.routes()) stand in the app, and the proxy pass on ${connect.path} and what is below it; the path is set by ${waysToGive('connect.path')}`,
  )
}
