import { createExchange } from '../../broker/modes/exchange.js'
import {
  ConfigurationError,
  SubjectTokenRejectedError,
  TokenRequestError,
  UpstreamUnavailableError,
} from '../../errors/errors.js'
import type { Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { waysToGive } from './options.js'
import { decoded, describeClaims } from './token.js'
import { wordsOf } from './refusal.js'

/** A live exchange, and whether what comes back is what Nextcloud needs. */
export const exchangeChecks: readonly Check<Examination>[] = [
  { id: 'exchange.live', needs: ['client.credentials', 'grant.offered', 'token.accepted'], run: checkLive },
  { id: 'exchange.audience', needs: ['exchange.live'], run: (context) => withClaims(context, checkAudience) },
  { id: 'exchange.issuer', needs: ['exchange.live'], run: (context) => withClaims(context, checkIssuer) },
  { id: 'exchange.scopes', needs: ['exchange.live'], run: (context) => withClaims(context, checkScopes) },
  { id: 'exchange.life', needs: ['exchange.live'], run: checkLife },
]

const isExchange = (mode: string | undefined): boolean => mode === 'token-exchange' || mode === 'jwt-bearer'

/** By the very code that the server itself exchanges with. */
async function checkLive(context: Examination): Promise<Verdict> {
  const { config, client, verified, secrets } = context
  const { nextcloud } = config
  if (nextcloud === undefined || !isExchange(nextcloud.mode)) return leftOut('nothing is exchanged in this mode')
  if (verified === undefined) return leftOut('no MCP token to exchange: give one with --token-file')
  const { audience, resource, fixedScopes: scopes } = nextcloud
  const exchange = createExchange({ config, nextcloud, client })
  try {
    const { accessToken, expiresIn } = await exchange(verified, { audience, resource, scopes })
    secrets.add(accessToken)
    context.nextcloudToken = accessToken
    context.expiresIn = expiresIn
    const jwt = decoded(accessToken)
    return passed(`a token came back: ${jwt === undefined ? 'no JWT' : describeClaims(jwt.claims, context)}`)
  } catch (error) {
    return refusal(error, context)
  }
}

function refusal(error: unknown, { secrets, config }: Examination): Verdict {
  if (error instanceof SubjectTokenRejectedError) {
    return failed(
      'the provider refuses the MCP token in the exchange, which this server itself takes',
      'get a fresh token of a session that lives; let it be from the same realm, and for a client that this one may exchange for (Keycloak: clientId has to be in its aud)',
    )
  }
  if (error instanceof TokenRequestError) {
    return failed(
      `the exchange fails: ${secrets.quote(wordsOf(error))}`,
      `${error.hint ?? 'look into the log of the provider'} (asked for: audience ${config.nextcloud?.audience.join(', ') ?? ''}, by ${waysToGive('nextcloud.audience')})`,
    )
  }
  if (error instanceof UpstreamUnavailableError || error instanceof ConfigurationError) {
    return failed(`the exchange gets no answer: ${secrets.quote(error.message)}`, 'see discovery.endpoints above')
  }
  throw error
}

type Claims = Readonly<Record<string, unknown>>

function withClaims(context: Examination, check: (claims: Claims, context: Examination) => Verdict): Verdict {
  const { config, nextcloudToken } = context
  if (!isExchange(config.nextcloud?.mode) || nextcloudToken === undefined) return leftOut('no token has come back')
  const jwt = decoded(nextcloudToken)
  if (jwt !== undefined) return check(jwt.claims, context)
  return leftOut('the token is no JWT, so that it cannot be looked into; user_oidc takes JWTs only')
}

function checkAudience({ aud }: Claims, { config, secrets }: Examination): Verdict {
  const { mode, audience: wanted = [] } = config.nextcloud ?? {}
  const audience = [aud ?? []].flat().map(String)
  const shown = audience.length === 0 ? 'none' : audience.map((value) => secrets.quote(value)).join(', ')
  // Entra's target is told by scope, and its aud has a form of its own.
  if (mode === 'jwt-bearer') return passed(`aud is ${shown}`, 'user_oidc wants its own client id there')
  const missing = wanted.filter((value) => !audience.includes(value))
  if (missing.length === 0) return passed(`aud is ${shown}`)
  return failed(
    `aud is ${shown}, which lacks ${missing.join(', ')}`,
    `have the provider add it (Keycloak: a client scope with an audience mapper for ${missing.join(', ')}, given to this client; the parameter audience only filters), or correct ${waysToGive('nextcloud.audience')}, which is the client id of user_oidc's provider`,
  )
}

function checkIssuer({ iss }: Claims, { config, secrets, verified }: Examination): Verdict {
  const expected = config.issuer ?? verified?.issuer ?? ''
  if (iss === expected) return passed(`iss is ${expected}`)
  return failed(
    `iss is ${secrets.quote(iss ?? 'none')}, and not ${expected}`,
    'the provider names itself by the host it was asked at: give it its public address for good (Keycloak: KC_HOSTNAME); user_oidc compares iss with its own discovery endpoint',
  )
}

function checkScopes({ scope, scp }: Claims, { config }: Examination): Verdict {
  const wanted = config.nextcloud?.scopes ?? []
  if (typeof wanted === 'function' || wanted.length === 0) return leftOut('nextcloud.scopes asks for none')
  const granted = [scope ?? scp ?? []].flat().flatMap((value) => (typeof value === 'string' ? value.split(' ') : []))
  // Entra asks for api://…/name and grants name.
  const missing = wanted.filter((value) => !granted.includes(value) && !granted.includes(value.replace(/^.*\//, '')))
  if (missing.length === 0) return passed(`it has ${wanted.join(' ')}`)
  return failed(
    `it lacks ${missing.join(' ')}`,
    `give the scopes to this client at the provider, or correct ${waysToGive('nextcloud.scopes')}`,
  )
}

/** Seconds. A token that lives shorter is got anew with nearly every call. */
const SHORT_LIFE = 30

function checkLife({ config, nextcloudToken, expiresIn, clock }: Examination): Verdict {
  if (!isExchange(config.nextcloud?.mode) || nextcloudToken === undefined) return leftOut('no token has come back')
  const exp = decoded(nextcloudToken)?.claims['exp']
  const left = typeof exp === 'number' ? Math.round(exp - clock.now() / 1_000) : undefined
  const life = Math.min(left ?? Infinity, expiresIn ?? Infinity)
  if (Number.isNaN(life)) {
    return failed(
      'expires_in of the answer is no positive number, so that no token is kept',
      'set the life of access tokens at the provider (Keycloak: Access token lifespan)',
    )
  }
  if (life === Infinity) return leftOut('the answer does not say how long the token lives; 300 s are taken')
  if (life >= SHORT_LIFE) return passed(`it lives for ${life} s`)
  return failed(
    life <= 0 ? `it had expired ${-life} s ago as it came` : `it lives for ${life} s only`,
    'look at the clocks (clock.issuer), and lengthen the life of access tokens at the provider (Keycloak: Access token lifespan)',
  )
}
