import { randomUUID } from 'node:crypto'
import { hintForGrant } from '../../authorization-server/hints.js'
import { createClient, type AuthorizationServerClient } from '../../authorization-server/client.js'
import { blamesClient, refusesGrant } from '../../authorization-server/token-error.js'
import { createExchange } from '../../broker/modes/exchange.js'
import type { ClientConfig, NextcloudConfig } from '../../config/config.js'
import {
  ConfigurationError,
  McpAuthError,
  SubjectTokenRejectedError,
  TokenRequestError,
  UpstreamUnavailableError,
} from '../../errors/errors.js'
import { MODES } from '../../modes.js'
import { waysToGive } from './words.js'
import { check, failed, leftOut, missing, outcomeOf, passed, type Check, type Subject, type Verdict } from './check.js'
import { withheldFrom, type Examination } from './examination.js'
import { nextcloudOf } from './nextcloud.js'
import { checkOAuth2Client, isFromOAuth2App } from './oauth2-app.js'

const clientWithSecret: Subject<ClientConfig> = (context) => {
  const { client } = context.config
  if (client === undefined) return missing('there is no clientId, and nothing here needs one')
  const withheld = withheldFrom(context)
  if (withheld !== undefined) return missing(withheld)
  return client.hasCredentials ? client : missing(`the client ${client.id} has no secret to try`)
}

const withGrant: Subject<NextcloudConfig> = (context) => {
  const nextcloud = nextcloudOf(context)
  if ('missing' in nextcloud || MODES[nextcloud.mode].grantTypes.length > 0) return nextcloud
  return missing(`not in ${nextcloud.mode} mode`)
}

/** Checks of the client at the provider: it is known, and may use the grant that the mode needs. */
export const clientChecks: readonly Check[] = [
  check({
    id: 'client.credentials',
    needs: (context) => [isFromOAuth2App(context) ? 'nextcloud.status' : 'discovery.endpoints'],
    about: clientWithSecret,
    run: (context, client) => (isFromOAuth2App(context) ? checkOAuth2Client : checkCredentials)(context, client),
  }),
  check({ id: 'grant.offered', needs: ['client.credentials'], about: withGrant, run: checkGrant }),
]

/** Returns a token that does not exist, and tells the reader of the provider's log who asked. */
const madeUp = (): string => `mcp-nextcloud-auth-doctor-${randomUUID()}`

/** Returns the words in which the provider refuses a request, if it has any. */
export function wordsOf({ error, errorDescription, message }: TokenRequestError): string {
  return [error, errorDescription].filter(Boolean).join(': ') || message
}

/** A refresh with a token that does not exist, which changes nothing. */
const refreshMadeUp = (client: AuthorizationServerClient) =>
  outcomeOf(() => client.refresh(madeUp(), new URLSearchParams(), () => undefined))

const blames = (outcome: unknown): boolean => outcome instanceof TokenRequestError && blamesClient(outcome)

/** An answer about the token shows that the client is known, if a client that does not exist gets another. */
async function checkCredentials(context: Examination, { id }: ClientConfig): Promise<Verdict> {
  const { client, secrets, needs } = context
  const failure = await refreshMadeUp(client)
  if (blames(failure)) return wrongCredentials(id, secrets.quote(wordsOf(failure as TokenRequestError)))
  if (!(failure instanceof McpAuthError) || failure instanceof TokenRequestError) {
    const stranger = {
      ...context.config,
      client: { id: madeUp(), secret: madeUp(), auth: undefined, hasCredentials: true },
    }
    if (!blames(await refreshMadeUp(createClient({ ...context, config: stranger })))) return introspects(context, id)
    const said = failure instanceof McpAuthError ? secrets.quote(wordsOf(failure)) : 'that it is dead'
    return passed(`the provider takes the credentials of ${id} (of a made-up refresh token it says ${said})`)
  }
  const found = `the token endpoint gives no usable answer: ${secrets.quote(failure.detail)}`
  if (!needs.tokenRequests) return leftOut(`${found}; this configuration does not need one`)
  return failed(
    found,
    `make token_endpoint work from here; ${waysToGive('authorizationServer.tokenEndpoint')} replaces it`,
  )
}

const wrongCredentials = (id: string, said: string): Verdict =>
  failed(
    `the provider does not take the credentials of ${id} (${said})`,
    `compare ${waysToGive('clientId')} and ${waysToGive('clientSecret')} with the client's page at the provider: it must be a confidential client with client_secret_basic or client_secret_post; the secret must hold no newline`,
  )

/** The introspection endpoint looks at the client first where the token endpoint looks at the grant (Nextcloud's app oidc). */
async function introspects({ client, secrets }: Examination, id: string): Promise<Verdict> {
  const answer = await outcomeOf(() => client.introspect(madeUp(), 'always'))
  if (answer instanceof ConfigurationError) return wrongCredentials(id, secrets.quote(answer.detail))
  if (answer !== undefined && !(answer instanceof McpAuthError)) {
    return passed(`the provider takes the credentials of ${id} (it introspects a made-up token for them)`)
  }
  return leftOut(
    `whether the provider takes the credentials of ${id} cannot be tried: its token endpoint tells a client that does not exist the same`,
    `a wrong secret shows when a user connects: compare ${waysToGive('clientId')} and ${waysToGive('clientSecret')}`,
  )
}

/** Entra offers on-behalf-of without a word in its metadata, so that an exchange tells more than a list without it. */
const UNLISTED = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

async function checkGrant(context: Examination, nextcloud: NextcloudConfig): Promise<Verdict> {
  const { discovery, token } = context
  const { grantTypes, credentialFrom } = MODES[nextcloud.mode]
  const fix = `${hintForGrant(grantTypes[0] ?? '')}; the mode is chosen by ${waysToGive('nextcloud.mode')}`
  // The metadata of the server that is asked for the tokens, which is not always the issuer of the MCP tokens.
  const { grant_types_supported: listed } = await discovery.forTokenRequests()
  const lacking = grantTypes.filter((grant) => listed?.includes(grant) === false)
  // Listed for the server as a whole: an attempt shows whether this client may use it.
  if (lacking.length > 0 && (token === undefined || !lacking.includes(UNLISTED))) {
    return failed(`the provider's grant_types_supported lacks ${lacking.join(', ')}`, fix)
  }
  const says = listed === undefined ? 'the provider does not list its grants' : 'the provider lists the grant'
  if (credentialFrom === 'grant') return listed === undefined ? leftOut(says) : passed(says)
  const withheld = withheldFrom(context)
  if (withheld !== undefined) return leftOut(`${says}; ${withheld}`)
  if (token !== undefined) return passed(`${says}; exchange.live tries it`)
  return tryMadeUp(context, nextcloud, says, fix)
}

/** An exchange of a token that does not exist: a server that refuses the grant says so, and any other finds the token bad. */
async function tryMadeUp(
  { client, config, secrets }: Examination,
  nextcloud: NextcloudConfig,
  says: string,
  fix: string,
): Promise<Verdict> {
  const exchange = createExchange({ config, nextcloud, client })
  // Without a target, which would be one more thing to refuse.
  const target = { audience: [], resource: [], scopes: [] }
  const failure = await outcomeOf(() => exchange({ token: madeUp() }, target))
  if (failure instanceof SubjectTokenRejectedError) return passed(`${says}, and finds only the made-up token wrong`)
  if (failure instanceof UpstreamUnavailableError) return leftOut(`${says}; no usable answer to an attempt`)
  if (failure instanceof TokenRequestError) {
    const said = secrets.quote(wordsOf(failure))
    return refusesGrant(failure)
      ? failed(`the provider refuses the grant to this client (${said})`, fix)
      : passed(`${says}; to a made-up token it says ${said}`, 'try a real one with --token-file')
  }
  if (failure instanceof McpAuthError) throw failure
  return leftOut(`${says}, and gave a token for a made-up one`)
}
