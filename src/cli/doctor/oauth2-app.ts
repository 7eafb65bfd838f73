import type { ClientConfig, ConnectConfig } from '../../config/config.js'
import { quirksOf } from '../../presets.js'
import { waysToGive } from './words.js'
import { failed, leftOut, passed, type Verdict } from './check.js'
import { askedOnce, fetched, type Examination } from './examination.js'
import { describe, isAnswer, isRedirect, type Answer, type NoAnswer } from './probe.js'

/** Whether grants come from Nextcloud's own app `oauth2`, whose client is known to it alone. */
export function isFromOAuth2App({ config: { grants, nextcloud } }: Examination): boolean {
  return grants !== undefined && quirksOf(nextcloud?.preset).endpoints !== undefined
}

/**
 * Asks for a response type that the app does not have: it sends the browser of a client that it knows back to the redirect URI that is
 * registered, whichever is asked for.
 */
async function askBack(context: Examination, { id }: ClientConfig): Promise<Answer | NoAnswer> {
  const { authorization_endpoint: endpoint = '' } = await context.discovery.forAuthorization()
  const url = new URL(endpoint)
  url.searchParams.set('response_type', 'token')
  url.searchParams.set('client_id', id)
  return askedOnce(context, url.href, () => context.probe(url.href, { headers: { accept: 'text/html' } }))
}

/** The token endpoint looks for the code before the client, and counts what is wrong: nothing made up is sent to it. */
export async function checkOAuth2Client(context: Examination, client: ClientConfig): Promise<Verdict> {
  const { quote } = context.secrets
  const { token_endpoint: endpoint = '' } = await context.discovery.forTokenRequests()
  const token = await fetched(context, endpoint)
  if (!isAnswer(token) || token.status !== 405) {
    return failed(
      `${endpoint} is not the token endpoint of the app oauth2 (${describe(token, quote)})`,
      'occ app:enable oauth2, and let the proxy pass /index.php/apps/oauth2 on',
    )
  }
  const answer = await askBack(context, client)
  if (!isAnswer(answer)) {
    return leftOut(`the authorization endpoint cannot be reached from here (${answer.code}), as browsers must`)
  }
  if (isRedirect(answer)) {
    return leftOut(
      `Nextcloud knows the client; its secret cannot be tried before a user connects`,
      `a wrong one is invalid_client then: compare ${waysToGive('clientSecret')}`,
    )
  }
  return failed(
    // Without the id: it may be the secret, if the two were swapped.
    `Nextcloud has no OAuth 2.0 client of that id (${describe(answer, quote)})`,
    `compare ${waysToGive('clientId')}, which must be the Client Identifier and not the secret, with Administration settings, Security, OAuth 2.0 clients`,
  )
}

export async function checkOAuth2RedirectUri(
  context: Examination,
  client: ClientConfig,
  { redirectUri }: ConnectConfig,
): Promise<Verdict> {
  const answer = await askBack(context, client)
  const location = isAnswer(answer) ? answer.headers.get('location') : null
  if (location === null) return leftOut(`no redirect to look at (${describe(answer, context.secrets.quote)})`)
  const [registered] = location.split('?')
  if (registered === redirectUri) return passed(`Nextcloud sends users back to ${redirectUri}`)
  return failed(
    `Nextcloud sends users of this client to ${context.secrets.quote(registered)}, and not to ${redirectUri}`,
    `let the redirection URI of the client (Administration settings, Security, OAuth 2.0 clients) be ${redirectUri}, to the letter; where Nextcloud has no button to edit it, add a second client, and delete the first`,
  )
}
