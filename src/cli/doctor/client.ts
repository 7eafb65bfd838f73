import { randomUUID } from 'node:crypto'
import {
  ConfigurationError,
  SubjectTokenRejectedError,
  TokenRequestError,
  UpstreamUnavailableError,
} from '../../errors/errors.js'
import { issuerDocument, needsDocument, type Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { waysToGive } from './options.js'
import { listIn } from './probe.js'
import { wordsOf } from './refusal.js'

/** Whether the provider knows this server, and lets it do what the mode needs. */
export const clientChecks: readonly Check<Examination>[] = [
  { id: 'client.credentials', needs: ['discovery.endpoints'], run: checkCredentials },
  { id: 'grant.offered', needs: ['discovery.endpoints', 'client.credentials'], run: checkGrant },
]

/** A value that is no token of anybody's, and says in the provider's log who asked. */
const madeUp = (): string => `mcp-nextcloud-auth-doctor-${randomUUID()}`
/** In words, and Entra's codes for a secret that is wrong (7000215) or has expired (7000222), and for an unknown client (700016). */
const WRONG_CLIENT = /client[\s_-]*(?:credentials|secret|authentication)|AADSTS(?:7000215|7000222|700016)\b/i

/** A refresh token that does not exist: whoever is told so has shown who it is, and nothing has changed. */
async function checkCredentials(context: Examination): Promise<Verdict> {
  const { config, client, secrets } = context
  if (config.client === undefined) return leftOut('there is no clientId, and nothing here needs one')
  if (!config.client.hasCredentials) return leftOut(`the client ${config.client.id} has no secret to try`)
  try {
    await client.refresh(madeUp(), new URLSearchParams(), () => undefined)
  } catch (error) {
    if (error instanceof TokenRequestError) {
      const { error: code = '', errorDescription = '', httpStatus } = error
      const said = secrets.quote(wordsOf(error))
      const wrong = code === 'invalid_client' || httpStatus === 401 || WRONG_CLIENT.test(errorDescription)
      if (wrong) return wrongCredentials(config.client.id, said, httpStatus)
      return passed(`the provider knows ${config.client.id} (to a made-up refresh token it says ${said})`)
    }
    if (error instanceof UpstreamUnavailableError || error instanceof ConfigurationError) {
      return failed(
        `the token endpoint gives no usable answer: ${secrets.quote(error.message)}`,
        `make token_endpoint work from here; ${waysToGive('authorizationServer.tokenEndpoint')} replaces it`,
      )
    }
    throw error
  }
  return passed(`the provider takes the credentials of ${config.client.id}`)
}

function wrongCredentials(id: string, said: string, httpStatus: number | undefined): Verdict {
  return failed(
    `the provider does not take the credentials of ${id} (${said}, status ${httpStatus ?? '?'})`,
    `compare ${waysToGive('clientId')} and ${waysToGive('clientSecret')} with the client's page at the provider, which has to be a confidential client with client_secret_basic or client_secret_post; the secret must hold no newline`,
  )
}

const GRANT_TYPES: Readonly<Record<string, readonly string[]>> = {
  'token-exchange': ['urn:ietf:params:oauth:grant-type:token-exchange'],
  'jwt-bearer': ['urn:ietf:params:oauth:grant-type:jwt-bearer'],
  'refresh-token': ['authorization_code', 'refresh_token'],
}

const SWITCH_ON: Readonly<Record<string, string>> = {
  'token-exchange':
    'switch token exchange on for this client at the provider (Keycloak 26.2 or later: Clients, the client, Capability config, Standard token exchange); a provider without it needs another mode: refresh-token',
  'jwt-bearer': 'jwt-bearer mode is for Entra (on-behalf-of); elsewhere use token-exchange or refresh-token mode',
  'refresh-token': 'switch the authorization code flow and refresh tokens on for this client at the provider',
}

async function checkGrant(context: Examination): Promise<Verdict> {
  const { config, token } = context
  const mode: string = config.nextcloud?.mode ?? ''
  const wanted = GRANT_TYPES[mode]
  if (wanted === undefined)
    return leftOut(config.nextcloud === undefined ? 'there is no Nextcloud' : `not in ${mode} mode`)
  const answer = needsDocument(context) ? await issuerDocument(context) : undefined
  const listed = listIn(answer, 'grant_types_supported')
  const fix = `${SWITCH_ON[mode] ?? ''}; the mode is chosen by ${waysToGive('nextcloud.mode')}`
  if (listed !== undefined) {
    const missing = wanted.filter((grant) => !listed.includes(grant))
    // Listed for the server as a whole; whether this client may is for an attempt to show.
    if (missing.length > 0 && (mode !== 'jwt-bearer' || token === undefined)) {
      return failed(`the provider's grant_types_supported lacks ${missing.join(', ')}`, fix)
    }
  }
  const says = listed !== undefined ? 'the provider lists the grant' : 'the provider does not list its grants'
  if (mode === 'refresh-token') return listed !== undefined ? passed(says) : leftOut(says)
  return token === undefined ? tryMadeUp(context, wanted, says, fix) : passed(`${says}; exchange.live tries it`)
}

/** RFC 6749 §5.2, and what Keycloak says of a client without the switch. */
const NOT_FOR_THIS_CLIENT = /\bnot (?:enabled|allowed|permitted|supported|authorized)\b/i

/** An exchange of a token that does not exist tells a grant that is refused from one that only finds the token bad. */
async function tryMadeUp(
  { client, config, secrets }: Examination,
  [grant = '']: readonly string[],
  says: string,
  fix: string,
): Promise<Verdict> {
  const accessToken = 'urn:ietf:params:oauth:token-type:access_token'
  const made = madeUp()
  const parameters = new URLSearchParams(
    config.nextcloud?.mode === 'jwt-bearer'
      ? { requested_token_use: 'on_behalf_of', assertion: made }
      : { subject_token_type: accessToken, requested_token_type: accessToken, subject_token: made },
  )
  try {
    await client.exchange(grant, made, parameters)
  } catch (error) {
    if (error instanceof SubjectTokenRejectedError)
      return passed(`${says}, and finds nothing wrong but a made-up token`)
    if (error instanceof TokenRequestError) {
      const { error: code = '', errorDescription = '' } = error
      const said = secrets.quote(wordsOf(error))
      const refused = ['unauthorized_client', 'unsupported_grant_type'].includes(code)
      if (refused || NOT_FOR_THIS_CLIENT.test(errorDescription)) {
        return failed(`the provider refuses the grant to this client (${said})`, fix)
      }
      return passed(`${says}; to a made-up token it says ${said}`, 'try a real one with --token-file')
    }
    if (error instanceof UpstreamUnavailableError) return leftOut(`${says}; no usable answer to an attempt`)
    throw error
  }
  return leftOut(`${says}, and gave a token for a made-up one`)
}
