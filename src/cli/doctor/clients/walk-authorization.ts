import { createHash, randomBytes } from 'node:crypto'
import { waysToGive } from '../words.js'
import { failed, leftOut, passed, type Verdict } from '../check.js'
import type { Examination } from '../examination.js'
import { describe, isAnswer, type Answer } from '../probe.js'
import { providerSettings } from './provider-settings.js'
import { errorOf, redirectUriOf } from './walk-registration.js'
import type { Walk } from './walk-finds.js'

/** Makes the authorization request of the client, and goes no further: the sign-in is for a person. */
export async function checkAuthorization(context: Examination, walk: Walk): Promise<Verdict> {
  const { clientId } = walk
  if (clientId === undefined) {
    return leftOut('there is no client id to ask with: one that was made by hand is given by --as-client-id')
  }
  const url = authorizationUrl(walk, clientId)
  const answer = await context.probe(url.href, { headers: { accept: 'text/html' } })
  const asked = shown(url)
  if (!isAnswer(answer)) {
    return leftOut(
      `the authorization endpoint cannot be reached from here (${answer.code}), as browsers must: ${asked}`,
      'open that address in a browser',
    )
  }
  const error = errorIn(answer, redirectUriOf(walk))
  if (error !== undefined || answer.status >= 400) {
    const words = error === undefined ? '' : `, ${context.secrets.quote(error)}`
    return failed(
      `the provider refuses ${asked} (${describe(answer, context.secrets.quote)}${words})`,
      adviceFor(walk, error ?? ''),
    )
  }
  if (await takesAny(context, url)) {
    return passed(
      `the provider goes on to the sign-in: ${asked}`,
      `it judges redirect URIs only after the sign-in, if at all: see that ${redirectUriOf(walk)} is registered`,
    )
  }
  return passed(`the provider goes on to the sign-in: ${asked}`)
}

/** The endpoint keeps its own query (RFC 6749 §3.1). */
function authorizationUrl(walk: Walk, clientId: string): URL {
  const { client, address, metadata, provider, scopes } = walk
  const url = new URL(String(provider['authorization_endpoint']))
  const set = (name: string, value: string): void => url.searchParams.set(name, value)
  set('response_type', 'code')
  set('client_id', clientId)
  set('redirect_uri', redirectUriOf(walk))
  set('state', crypto.randomUUID())
  set('code_challenge', createHash('sha256').update(randomBytes(32).toString('base64url')).digest('base64url'))
  set('code_challenge_method', 'S256')
  if (scopes.length > 0) set('scope', scopes.join(' '))
  const resource = client.resource === 'address' ? address : metadata['resource']
  if (client.metadataAt === 'provider' && typeof resource === 'string') set('resource', resource)
  // OIDC Core §11.
  if (scopes.includes('offline_access')) set('prompt', 'consent')
  return url
}

/** The request without what is of this one time. */
function shown(url: URL): string {
  const copy = new URL(url)
  for (const name of ['state', 'code_challenge']) copy.searchParams.delete(name)
  return copy.href
}

const NOT_ERRORS = ['login_required', 'interaction_required', 'account_selection_required']
/** What providers say on their error pages: the codes of RFC 6749 §4.1.2.1 and RFC 8707 §2, and those of Entra. */
const ERROR_WORDS =
  /\b(?:AADSTS\d+|invalid_(?:scope|target|client|request|redirect_uri)|unauthorized_client|unsupported_response_type|access_denied|redirect_uri)\b/

/** Returns the error that an answer is about: sent back to the client, or shown on a page. */
function errorIn(answer: Answer, redirectUri: string): string | undefined {
  const location = answer.headers.get('location')
  if (location !== null && URL.canParse(location, answer.url)) {
    const { searchParams, origin, pathname } = new URL(location, answer.url)
    const error = searchParams.get('error')
    const isBack = redirectUri.startsWith(`${origin}${pathname}`)
    if (error === null || (isBack && NOT_ERRORS.includes(error))) return undefined
    const description = searchParams.get('error_description')
    return description === null ? error : `${error}: ${description}`
  }
  if (answer.status >= 400) return errorOf(answer) ?? ERROR_WORDS.exec(answer.text)?.[0]
  // Entra shows its errors under 200.
  return /\bAADSTS\d+\b/.exec(answer.text)?.[0]
}

function adviceFor(walk: Walk, error: string): string {
  const { client, scopes, issuer, provider } = walk
  const { client: place } = providerSettings(issuer, provider)
  const isUrl = walk.clientId === client.document
  if (/invalid_target|AADSTS9010010|\bresource\b/i.test(error)) {
    return `the provider has to know ${walk.address} as a resource: name it so there (Auth0: identifier of the API; Entra: Application ID URI, with scopes of it; oidc-provider: resourceIndicators), or let it ignore the parameter resource`
  }
  if (/invalid_scope|AADSTS70011|\bscopes?\b/i.test(error)) {
    return `the client may not have all of ${scopes.join(' ')}: give them to it at the provider, or name others by ${waysToGive('challengeScopes')}`
  }
  if (/redirect|AADSTS50011/i.test(error)) {
    return `register ${redirectUriOf(walk)} for the client (${place})${client.callsFrom === 'computer' ? '; on loopback the provider must not compare ports (RFC 8252 section 7.3)' : ''}`
  }
  if (/invalid_client|client/i.test(error) && isUrl) {
    return `the provider must be able to fetch ${client.document}, and accept it: outgoing https, a list of trusted hosts, clients with the authentication none`
  }
  if (/unauthorized_client|unsupported_response_type|AADSTS700016|client/i.test(error)) {
    return `compare the client id; the client needs the authorization code flow with PKCE (${place})`
  }
  return `look into the log of the provider; the client needs the authorization code flow with PKCE, the redirect URI ${redirectUriOf(walk)} and the scopes ${scopes.join(' ')}`
}

/** Whether the provider answers a redirect URI that nobody has registered in the same way. */
async function takesAny({ probe }: Examination, url: URL): Promise<boolean> {
  const made = new URL(url)
  made.searchParams.set('redirect_uri', `https://not-registered.example/${crypto.randomUUID()}`)
  const answer = await probe(made.href, { headers: { accept: 'text/html' } })
  return isAnswer(answer) && answer.status < 400 && errorIn(answer, '') === undefined
}
