import { decodeJwt, decodeProtectedHeader } from 'jose'
import { passThrough } from '../../broker/modes/pass-through.js'
import {
  AudienceMismatchError,
  InsufficientScopeError,
  InvalidTokenError,
  McpAuthError,
  type InvalidTokenReason,
} from '../../errors/errors.js'
import { checkScopes } from '../../verify/scopes.js'
import type { Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { waysToGive } from './options.js'

const NO_TOKEN = 'no MCP token to try: give one with --token-file (or - for standard input)'

/** What an MCP token says, and whether this server would take it. */
export const tokenChecks: readonly Check<Examination>[] = [
  { id: 'token.form', run: (context) => checkForm(context) },
  { id: 'token.accepted', needs: ['jwks.keys'], run: checkAccepted },
  { id: 'token.scopes', needs: ['token.accepted'], run: checkTokenScopes },
  { id: 'pass-through.audience', needs: ['token.accepted'], run: checkPassThrough },
]

type Claims = Readonly<Record<string, unknown>>

/** What a JWT says, its signature not looked at; undefined for anything else. */
export function decoded(token: string): { readonly header: Claims; readonly claims: Claims } | undefined {
  try {
    return { header: { ...decodeProtectedHeader(token) }, claims: decodeJwt(token) }
  } catch {
    return undefined
  }
}

/** Claims that are shown, and tell nothing of a person beyond the subject; of others only the names are. */
const SHOWN = ['iss', 'aud', 'sub', 'client_id', 'azp', 'cid', 'scope', 'scp', 'iat', 'nbf', 'exp', 'typ', 'token_use']

export function describeClaims(claims: Claims, { secrets, clock }: Pick<Examination, 'secrets' | 'clock'>): string {
  const shown = SHOWN.filter((name) => name in claims).map((name) => {
    const value = claims[name]
    return ['iat', 'nbf', 'exp'].includes(name) && typeof value === 'number'
      ? `${name} ${relative(value, clock.now())}`
      : `${name} ${secrets.quote(value)}`
  })
  const others = Object.keys(claims).filter((name) => !SHOWN.includes(name))
  return [...shown, ...(others.length === 0 ? [] : [`also ${secrets.quote(others.join(', '))}`])].join('; ')
}

function relative(seconds: number, now: number): string {
  const left = Math.round(seconds - now / 1_000)
  return left >= 0 ? `in ${left} s` : `${-left} s ago`
}

function checkForm(context: Examination): Verdict {
  const { token, secrets, config } = context
  if (token === undefined) return leftOut(NO_TOKEN)
  const jwt = decoded(token)
  if (jwt === undefined) {
    return config.introspection === false
      ? leftOut('the token is no JWT, so nothing can be read from it')
      : leftOut('the token is no JWT: it can only be introspected')
  }
  const { header, claims } = jwt
  const head = ['alg', 'typ', 'kid'].map((name) => `${name} ${secrets.quote(header[name])}`)
  return passed(`a JWT: ${head.join(', ')}; ${describeClaims(claims, context)}`)
}

/** By the very code that the server itself verifies with. */
async function checkAccepted(context: Examination): Promise<Verdict> {
  const { token, verifier } = context
  if (token === undefined) return leftOut(NO_TOKEN)
  try {
    const verified = await verifier.verify(token)
    context.verified = verified
    return passed(
      `this server takes it, as ${context.secrets.quote(verified.subject)} through ${context.secrets.quote(verified.clientId)}`,
    )
  } catch (error) {
    if (error instanceof InvalidTokenError) return refused(error)
    if (error instanceof McpAuthError) {
      return failed(
        `whether this server takes it cannot be told: ${context.secrets.quote(error.message)}`,
        'see the checks of discovery, jwks and client above',
      )
    }
    throw error
  }
}

function refused({ reason, details }: InvalidTokenError): Verdict {
  return {
    status: 'failed',
    found: `this server would refuse it with 401 invalid_token, reason ${reason}: ${details.message}`,
    fix: TOKEN_FIXES[reason],
    reason,
  }
}

const AUDIENCE_FIX = `have the provider put this server into aud of what MCP clients get (Keycloak: a client scope with an audience mapper, as a default scope of the MCP clients), or accept what is there by ${waysToGive('audience')}`

const TOKEN_FIXES: Readonly<Record<InvalidTokenReason, string>> = {
  audience: AUDIENCE_FIX,
  issuer: `take the token from the provider that ${waysToGive('issuer')} names; where it has two names, make it name the public one everywhere (Keycloak: KC_HOSTNAME)`,
  expired: 'get a fresh token; if it is fresh, look at the clocks (clock.issuer)',
  not_yet_valid: 'look at the clocks (clock.issuer): NTP on both machines, or --clock-tolerance',
  missing_claim:
    'have the provider put it into access tokens (Keycloak: the client scope basic has sub; without an audience mapper there is no aud)',
  token_type:
    'send the access_token of the token answer, not the id_token; have the provider mark access tokens with typ at+jwt, or put scope or client_id into them',
  algorithm: `let the provider sign access tokens with one of them (Keycloak: Access token signature algorithm of the client), or widen ${waysToGive('algorithms')}`,
  key: 'the token is from another issuer or realm, or older than a rotation of keys: get a fresh one, and compare iss',
  signature: 'the token was changed on its way, or is from another realm with the same kid: get a fresh one',
  malformed: 'give the whole access token and nothing else: without Bearer, quotes or line breaks',
  too_large: 'a token of more than 16 KiB: take groups and roles out of it at the provider',
  opaque:
    'let the provider issue JWTs as access tokens, or let this server introspect: it needs clientId, clientSecret and an introspection_endpoint',
  inactive: 'the provider says that the token is not active (ended, revoked, or not for this client): get a fresh one',
  sender_constrained:
    'switch DPoP or mTLS binding of access tokens off for the MCP clients: proofs are not verified here',
  client: `add the client to ${waysToGive('allowedClients')}`,
  claims: 'your validateClaims refuses it; the doctor cannot see why',
}

function checkTokenScopes({ verified, config, token }: Examination): Verdict {
  if (verified === undefined) return leftOut(token === undefined ? NO_TOKEN : 'the token is not good')
  if (config.requiredScopes.length === 0) return leftOut('requiredScopes asks for none')
  try {
    checkScopes(config, verified, config.requiredScopes)
  } catch (error) {
    if (!(error instanceof InsufficientScopeError)) throw error
    return failed(
      `it would be answered with 403 insufficient_scope: needed are ${config.requiredScopes.join(' ')}, it has ${verified.scopes.join(' ') || 'none'}`,
      `let the MCP client ask for them and the provider grant them, or change ${waysToGive('requiredScopes')}`,
    )
  }
  return passed(`it has ${config.requiredScopes.join(' ')}`)
}

function checkPassThrough(context: Examination): Verdict {
  const { config, verified, token } = context
  const { nextcloud } = config
  if (nextcloud?.mode !== 'pass-through') return leftOut('not in this mode')
  if (verified === undefined) return leftOut(token === undefined ? NO_TOKEN : 'the token is not good')
  try {
    context.nextcloudToken = passThrough(verified, nextcloud.audience)
  } catch (error) {
    if (!(error instanceof AudienceMismatchError)) throw error
    return failed(
      `aud is ${context.secrets.quote(verified.audience)}, which lacks ${nextcloud.audience.filter((value) => !verified.audience.includes(value)).join(', ')}`,
      `have the provider put both into aud, correct ${waysToGive('nextcloud.audience')}, or use token-exchange mode`,
    )
  }
  return passed(`aud holds ${nextcloud.audience.join(', ')}`)
}
