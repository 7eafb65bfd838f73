import { isSecure } from '../../../config/values.js'
import { failed, leftOut, passed, type Verdict } from '../check.js'
import type { Examination } from '../examination.js'
import { describe, isAnswer, objectIn, type Answer, type NoAnswer } from '../probe.js'
import { adviceByHand, redirectUriAt } from './client-checks.js'
import { wayAt, type McpClient } from './mcp-clients.js'
import { providerSettings } from './provider-settings.js'
import type { Walk } from './walk-finds.js'

/** Comes to a client id in the way of the client. */
export async function checkRegistration(context: Examination, walk: Walk): Promise<Verdict> {
  const { client, givenId, issuer, provider } = walk
  if (givenId !== undefined) {
    walk.clientId = givenId
    return passed(`it has the client id that was made by hand, ${context.secrets.quote(givenId)}`)
  }
  const way = wayAt(client, provider)
  if (way === 'document') return byDocument(walk)
  if (way === 'registration') return byRegistration(context, walk)
  const lacks = client.ways.map((each) => LACKS[each]).join(', and ')
  return failed(
    `${client.name} cannot register itself: ${lacks}`,
    `${adviceByHand(client, issuer, provider)}; --as-client-id walks on with it`,
  )
}

const LACKS = {
  document: 'client_id_metadata_document_supported is not true, or the client authentication none is not listed',
  registration: 'there is no registration_endpoint',
} as const

function byDocument(walk: Walk): Verdict {
  const { client, provider } = walk
  const { document } = client
  if (redirectUriAt(client, provider) === client.withoutIssuer) {
    return leftOut(
      `${client.name} names itself by a document of the connector's own, with the redirect URI ${client.withoutIssuer}`,
      `have the provider name itself in its answers (RFC 9207, authorization_response_iss_parameter_supported), and it is always ${document}`,
    )
  }
  walk.clientId = document
  return passed(`its client id is ${document}, from which the provider fetches its metadata`)
}

/** The redirect URIs of a client, with a port and an id in them. */
const concrete = (uri: string): string => uri.replace('PORT', '33419').replace(/CALLBACK_ID|CONNECTOR/, 'doctor')

/** The redirect URI with which the walk asks. */
export const redirectUriOf = ({ client, provider }: Walk): string => concrete(redirectUriAt(client, provider))

/** No redirect URI, which every provider must refuse (RFC 7591 §3.2.2). */
const NO_REDIRECT_URI = 'this is not a URL'

/** Registers a client if it can be deleted again. Otherwise it makes a registration that has to be refused, which shows whether there is one. */
async function byRegistration(context: Examination, walk: Walk): Promise<Verdict> {
  const { client, provider } = walk
  const endpoint = String(provider['registration_endpoint'])
  if (!URL.canParse(endpoint) || !isSecure(new URL(endpoint))) {
    return failed(
      `registration_endpoint is ${context.secrets.quote(endpoint)}`,
      'mend it at the provider: it must be https',
    )
  }
  const canDelete = await offersDeletion(context, endpoint)
  const redirectUris = canDelete ? registeredUris(walk) : [NO_REDIRECT_URI]
  const answer = await register(context, endpoint, { client, redirectUris, scopes: walk.scopes })
  const id = noteRegistered(context, walk, answer)
  if (id !== undefined && canDelete) {
    walk.clientId = id
    return passed(`${client.name} registers itself; a client of that kind was registered for this walk, ${id}`)
  }
  if (id !== undefined) {
    return failed(
      'the provider registered a client whose redirect URI is not a URL',
      'have it refuse redirect URIs that are not URLs: codes would go anywhere',
    )
  }
  if (isAnswer(answer) && answer.status === 400 && !canDelete) {
    return passed(
      `registration is open: of a redirect URI that is not a URL, the provider says ${context.secrets.quote(errorOf(answer) ?? '400')}`,
      'nothing was registered, because the provider offers no deletion (RFC 7592); make a client by hand and give its id by --as-client-id to walk on',
    )
  }
  return refused(context, walk, answer)
}

const registeredUris = ({ client, provider }: Walk): readonly string[] => [
  ...new Set([redirectUriAt(client, provider), ...client.redirectUris].map(concrete)),
]

/**
 * Whether the provider deletes clients (RFC 7592 §2.3): it then asks for a token to delete one that does not exist, where others say that
 * there is no such place.
 */
async function offersDeletion({ probe }: Examination, endpoint: string): Promise<boolean> {
  const url = new URL(endpoint)
  url.pathname = `${url.pathname.replace(/\/$/, '')}/${crypto.randomUUID()}`
  const headers = { authorization: `Bearer ${crypto.randomUUID()}` }
  const answer = await probe(url.href, { method: 'DELETE', headers })
  return isAnswer(answer) && [400, 401, 403].includes(answer.status) && objectIn(answer) !== undefined
}

interface Registration {
  readonly client: McpClient
  readonly redirectUris: readonly string[]
  readonly scopes: readonly string[]
}

function register(
  { probe }: Examination,
  endpoint: string,
  { client, redirectUris, scopes }: Registration,
): Promise<Answer | NoAnswer> {
  const metadata = {
    client_name: `${client.name}, tried by the doctor`,
    redirect_uris: redirectUris,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: client.byHand.kind === 'confidential' ? 'client_secret_post' : 'none',
    ...(client.callsFrom === 'computer' && { application_type: 'native' }),
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
  }
  const headers = { 'content-type': 'application/json' }
  return probe(endpoint, { method: 'POST', headers, body: JSON.stringify(metadata) })
}

/** Returns the id of a client that was registered, and remembers the way to delete it. */
function noteRegistered({ secrets }: Examination, walk: Walk, answer: Answer | NoAnswer): string | undefined {
  if (!isAnswer(answer) || answer.status < 200 || answer.status > 299) return undefined
  const document = objectIn(answer) ?? {}
  const { client_id: clientId, registration_client_uri: uri, registration_access_token: token } = document
  for (const secret of [document['client_secret'], token]) secrets.add(typeof secret === 'string' ? secret : undefined)
  if (typeof clientId !== 'string') return undefined
  const isManaged = typeof uri === 'string' && URL.canParse(uri) && typeof token === 'string'
  // The token goes to the provider alone, whatever address the answer names.
  const isOurs = isManaged && new URL(uri).origin === new URL(answer.url).origin
  walk.registered = { clientId, management: isOurs ? { uri, token } : undefined }
  return clientId
}

function refused({ secrets }: Examination, walk: Walk, answer: Answer | NoAnswer): Verdict {
  const { client, issuer, provider } = walk
  const { quote } = secrets
  const { registration } = providerSettings(issuer, provider)
  const byHand = adviceByHand(client, issuer, provider)
  if (!isAnswer(answer))
    return failed(`no answer from the registration endpoint (${answer.code})`, `let it be reached; or ${byHand}`)
  const error = errorOf(answer)
  const found = `the registration endpoint answers ${describe(answer, quote)}${error === undefined ? '' : `, ${quote(error)}`}`
  if (answer.status === 429) return leftOut(found, 'too many clients have registered just now: try again later')
  if ([401, 403].includes(answer.status)) {
    return failed(
      `${found}: registration is not open to ${client.name}`,
      registration === undefined ? byHand : `switch it on (${registration}); or ${byHand}`,
    )
  }
  if (answer.status === 400 && /redirect/i.test(error ?? '')) {
    return failed(
      found,
      `let the provider accept all of ${registeredUris(walk).map(quote).join(' ')}, which ${client.name} registers together; or ${byHand}`,
    )
  }
  if (answer.status === 400) {
    return failed(
      found,
      `let the provider accept what ${client.name} registers: authorization code and refresh token, a ${client.byHand.kind} client${scopesOf(walk)}; or ${byHand}`,
    )
  }
  return failed(found, `registration_endpoint of the metadata does not work: mend it at the provider; or ${byHand}`)
}

const scopesOf = ({ scopes }: Walk): string => (scopes.length === 0 ? '' : `, the scopes ${scopes.join(' ')}`)

/** Returns error and description of an answer (RFC 7591 §3.2.2). */
export function errorOf(answer: Answer): string | undefined {
  const { error, error_description: description } = objectIn(answer) ?? {}
  const texts = [error, description].filter((text) => typeof text === 'string')
  return texts.length === 0 ? undefined : texts.join(': ')
}

/** Deletes the client that was registered for the walk. */
export async function checkRemoval({ probe, secrets }: Examination, { registered }: Walk): Promise<Verdict> {
  if (registered === undefined) return leftOut('nothing was registered')
  const { clientId, management } = registered
  const byHand = `delete the client ${secrets.quote(clientId)} at the provider`
  if (management === undefined) {
    return failed(`the client ${secrets.quote(clientId)} stays: the provider has named no place to delete it`, byHand)
  }
  const headers = { authorization: `Bearer ${management.token}` }
  const answer = await probe(management.uri, { method: 'DELETE', headers })
  if (isAnswer(answer) && answer.status < 300)
    return passed(`the client ${secrets.quote(clientId)} was deleted again (RFC 7592)`)
  return failed(`the client ${secrets.quote(clientId)} stays (${describe(answer, secrets.quote)})`, byHand)
}
