import type { TokenAnswer } from '../../authorization-server/token-answer.js'
import { createExchange } from '../../broker/modes/exchange.js'
import type { NextcloudConfig } from '../../config/config.js'
import { McpAuthError, SubjectTokenRejectedError, TokenRequestError } from '../../errors/errors.js'
import { MODES } from '../../modes.js'
import { readScopes } from '../../verify/claims.js'
import type { VerifiedToken } from '../../verify/verifier.js'
import { waysToGive } from './words.js'
import { check, failed, leftOut, missing, outcomeOf, passed, type Check, type Subject, type Verdict } from './check.js'
import { wordsOf } from './client.js'
import { withheldFrom, type Examination } from './examination.js'
import { decoded, describeClaims, type DecodedJwt } from './jwt.js'

interface Exchangeable {
  readonly nextcloud: NextcloudConfig
  readonly verified: VerifiedToken
}

const exchangeable: Subject<Exchangeable> = (context) => {
  const { config, verified } = context
  const { nextcloud } = config
  if (nextcloud === undefined || MODES[nextcloud.mode].credentialFrom !== 'exchange') {
    return missing('nothing is exchanged in this mode')
  }
  if (verified === undefined) return missing('no MCP token to exchange: give one with --token-file')
  const withheld = withheldFrom(context)
  return withheld === undefined ? { nextcloud, verified } : missing(withheld)
}

const exchanged: Subject<TokenAnswer> = (context) => context.exchanged ?? missing('no token has come back')

const exchangedJwt: Subject<DecodedJwt> = async (context) => {
  const answer = await exchanged(context)
  if ('missing' in answer) return answer
  const opaque = missing('the token is not a JWT, so that it cannot be looked into; user_oidc takes JWTs only')
  return decoded(answer.accessToken) ?? opaque
}

/** A live exchange, and whether the token that comes back is the one that Nextcloud needs. */
export const exchangeChecks: readonly Check[] = [
  check({ id: 'exchange.live', needs: ['grant.offered', 'token.accepted'], about: exchangeable, run: checkLive }),
  check({ id: 'exchange.audience', needs: ['exchange.live'], about: exchangedJwt, run: checkAudience }),
  check({ id: 'exchange.issuer', needs: ['exchange.live'], about: exchangedJwt, run: checkIssuer }),
  check({ id: 'exchange.scopes', needs: ['exchange.live'], about: exchangedJwt, run: checkScopes }),
  check({ id: 'exchange.life', needs: ['exchange.live'], about: exchanged, run: checkLife }),
]

/** Exchanges by the code of the server itself. */
async function checkLive(context: Examination, { nextcloud, verified }: Exchangeable): Promise<Verdict> {
  const { config, client, secrets } = context
  const { audience, resource, fixedScopes: scopes } = nextcloud
  const exchange = createExchange({ config, nextcloud, client })
  const answer = await outcomeOf(() => exchange(verified, { audience, resource, scopes }))
  if (answer instanceof McpAuthError) return refusal(answer, context, audience)
  const { accessToken } = answer
  secrets.add(accessToken)
  context.exchanged = answer
  context.nextcloudToken = accessToken
  const jwt = decoded(accessToken)
  return passed(`a token came back: ${jwt === undefined ? 'not a JWT' : describeClaims(jwt.claims, context)}`)
}

function refusal(failure: McpAuthError, { secrets }: Examination, audience: readonly string[]): Verdict {
  if (failure instanceof SubjectTokenRejectedError) {
    return failed(
      'the provider refuses the MCP token in the exchange, which this server itself takes',
      failure.rejection.hint ??
        'get a fresh token of a session that lives; let it be from the same realm, and for a client that this one may exchange for (Keycloak: clientId must be in its aud)',
    )
  }
  if (failure instanceof TokenRequestError) {
    return failed(
      `the exchange fails: ${secrets.quote(wordsOf(failure))}`,
      `${failure.hint ?? 'look into the log of the provider'} (asked for: audience ${audience.join(', ')}, by ${waysToGive('nextcloud.audience')})`,
    )
  }
  return failed(`the exchange gets no answer: ${secrets.quote(failure.detail)}`, 'see discovery.endpoints above')
}

function checkAudience({ config, secrets }: Examination, { claims: { aud } }: DecodedJwt): Verdict {
  const { nextcloud } = config
  const audience = [aud ?? []].flat().map(String)
  const found = `aud is ${audience.map((value) => secrets.quote(value)).join(', ') || 'none'}`
  // The target of Entra is told by scope, and its aud has a form of its own.
  if (nextcloud === undefined || !MODES[nextcloud.mode].sendsAudience) {
    return passed(found, 'user_oidc wants its own client id there')
  }
  const lacking = nextcloud.audience.filter((value) => !audience.includes(value)).join(', ')
  if (lacking === '') return passed(found)
  return failed(
    `${found}, which lacks ${lacking}`,
    `have the provider add it (Keycloak: a client scope with an audience mapper for ${lacking}, given to this client; the parameter audience only filters), or correct ${waysToGive('nextcloud.audience')}, which is the client id of user_oidc's provider`,
  )
}

function checkIssuer({ config, secrets, verified }: Examination, { claims: { iss } }: DecodedJwt): Verdict {
  const expected = config.issuer ?? verified?.issuer ?? ''
  if (iss === expected) return passed(`iss is ${expected}`)
  return failed(
    `iss is ${secrets.quote(iss ?? 'none')}, and not ${expected}`,
    'the provider names itself by the host it was asked at: give it its public address for good (Keycloak: KC_HOSTNAME); user_oidc compares iss with its own discovery endpoint',
  )
}

function checkScopes({ config }: Examination, { claims }: DecodedJwt): Verdict {
  const wanted = config.nextcloud?.fixedScopes ?? []
  if (wanted.length === 0) return leftOut('nextcloud.scopes asks for none')
  const granted = readScopes(claims)
  // Entra asks for api://…/name and grants name.
  const lacking = wanted.filter((value) => !granted.includes(value) && !granted.includes(value.replace(/^.*\//, '')))
  if (lacking.length === 0) return passed(`it has ${wanted.join(' ')}`)
  return failed(
    `it lacks ${lacking.join(' ')}`,
    `give the scopes to this client at the provider, or correct ${waysToGive('nextcloud.scopes')}`,
  )
}

/** Seconds. A token that lives shorter is fetched again with nearly every call. */
const SHORT_LIFE = 30

function checkLife({ clock }: Examination, { accessToken, expiresIn }: TokenAnswer): Verdict {
  const exp = decoded(accessToken)?.claims['exp']
  const left = typeof exp === 'number' ? Math.round(exp - clock.now() / 1_000) : Infinity
  const life = Math.min(left, expiresIn ?? Infinity)
  if (Number.isNaN(life)) {
    return failed(
      'expires_in of the answer is not a positive number, so that no token is kept',
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
