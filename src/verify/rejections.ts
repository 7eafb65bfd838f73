import { decodeProtectedHeader } from 'jose/decode/protected_header'
import { LONGEST_CLIENT_ID } from '../client-id.js'
import { variableOf } from '../config/declarations.js'
import { InvalidTokenError, type InvalidTokenReason } from '../errors/errors.js'
import { isoTime, type Fault } from '../errors/rejection-details.js'
import { isJsonObject } from '../json.js'
import { adviceOnIssuer } from './issuer-advice.js'

const FRESH = 'the client must get a fresh token'

/** One clause for the operator, which ends the sentence of a rejection. A rejection that knows more about its cause has a better one. */
export const REMEDIES: Readonly<Record<InvalidTokenReason, string>> = {
  malformed: 'the client must send the whole access token and nothing else',
  too_large:
    'have the authorization server put fewer groups and roles into access tokens (Keycloak: remove their mappers from the client scopes of the MCP client); the limit is fixed',
  opaque:
    "have the authorization server issue JWTs to MCP clients (Auth0: set the tenant's default audience to resource); if it has an introspection endpoint that its metadata does not name, set authorizationServer.introspectionEndpoint to it",
  signature: `${FRESH}, because its key was withdrawn, or it was changed or forged`,
  algorithm: 'have the authorization server sign access tokens with one of these',
  key: `${FRESH}, because its key was withdrawn in a rotation of keys, or it was changed or forged`,
  issuer: 'issuer (or one of issuers) must be, to the letter, what the authorization server writes into its tokens',
  audience:
    'have the authorization server put this server (resource) into aud: Keycloak by an audience mapper whose "Included Custom Audience" is resource, in a client scope (type Default) of the MCP client; other servers where the client asks for resource',
  expired:
    'that is usual, and the client renews it by itself; if fresh ones are refused too, compare the clocks of this machine and of the authorization server (NTP)',
  not_yet_valid:
    'the clock of this machine is behind, or that of the authorization server is ahead: have both set by NTP',
  missing_claim: 'have the authorization server put it into access tokens',
  token_type: 'the client must send its access_token, not the id_token or refresh_token',
  sender_constrained:
    "switch DPoP off for MCP clients at the provider, or, if they can send proofs, set dpop to 'allowed'",
  not_bound:
    'have the authorization server bind tokens to the key of the DPoP proof with which the client asks for them (Keycloak: Require DPoP bound tokens, at the client)',
  client: `allowedClients (${variableOf('allowedClients')}) would have to list it`,
  inactive:
    "an old one has expired or was revoked, and the client gets a fresh one by itself; if fresh ones are refused too, the authorization server does not let clientId introspect the tokens of other clients: allow that there, or have it issue JWTs to MCP clients (Nextcloud's app oidc has no such switch: set the Access Token Type JWT at each MCP client)",
  claims: 'look there for the condition',
}

/**
 * Returns a rejection with a sentence for the operator, which is put together only where it is read.
 *
 * @param describe the fault; the values that it finds are from a verified token unless it says otherwise
 */
function rejection(reason: InvalidTokenReason, describe: () => Fault, cause?: unknown): InvalidTokenError {
  return new InvalidTokenError(reason, cause, () => ({ verified: true, advice: REMEDIES[reason], ...describe() }))
}

/** Returns the rejection of a token that has not been verified. */
export function unverified(reason: InvalidTokenReason, describe: () => Omit<Fault, 'verified'>): InvalidTokenError {
  return rejection(reason, () => ({ ...describe(), verified: false }))
}

export function malformed(sentence: string): InvalidTokenError {
  return unverified('malformed', () => ({ sentence: () => sentence }))
}

export function tooLarge(length: number, most: number): InvalidTokenError {
  return unverified('too_large', () => ({
    sentence: () => `the token has ${length} characters, and ${most} is the most`,
  }))
}

/**
 * @param why the reason for which this server cannot have it introspected
 * @param advice better advice than the usual
 */
export function opaque(token: string, why: string, advice?: string): InvalidTokenError {
  const better = advice === undefined ? {} : { advice }
  return unverified('opaque', () =>
    isEncrypted(token)
      ? { sentence: () => 'the token is encrypted (a JWE), and only its provider can read it', advice: DECRYPT }
      : { sentence: () => `the token is not a JWT, and ${why}`, ...better },
  )
}

const DECRYPT =
  "have the authorization server sign access tokens for this server and not encrypt them: at Auth0, set the tenant's default audience to resource; if they are encrypted after that too, switch token encryption of the API off"

/** Whether a token has the five parts of a JWE (RFC 7516 section 3.1), and a header that says how it is encrypted. */
function isEncrypted(token: string): boolean {
  if (token.split('.', 6).length !== 5) return false
  try {
    return typeof decodeProtectedHeader(token)['enc'] === 'string'
  } catch {
    return false
  }
}

export function inactive(): InvalidTokenError {
  return unverified('inactive', () => ({
    sentence: () => 'the authorization server says that the token is not active',
  }))
}

export function missing(claim: string, found: unknown, wanted: string): InvalidTokenError {
  return rejection('missing_claim', () => ({
    claim,
    found,
    sentence: (words) => (found === undefined ? `${claim} is missing` : `${claim} is ${words}, not ${wanted}`),
    ...(claim in WAYS_TO && { advice: WAYS_TO[claim] }),
  }))
}

/** The ways to a claim that providers leave out. */
const WAYS_TO: Readonly<Record<string, string>> = {
  aud: `have the authorization server put resource into it (Keycloak: a client scope of the MCP client with an audience mapper whose "Included Custom Audience" is resource); if it cannot, as Cognito, Hydra, Clerk and GitLab, set missingAudience to 'client' and list the client ids of your MCP clients in allowedClients (${variableOf('allowedClients')})`,
  exp: 'have the authorization server give access tokens a lifetime, such as five minutes',
  sub: 'have the authorization server put it into access tokens (Keycloak: the client scope basic, and no lightweight access token)',
}

/** @param id the token's client, which would have to be one of `expected` */
export function missingAudience(claim: string, id: string | undefined, expected: readonly string[]): InvalidTokenError {
  return rejection('missing_claim', () => ({
    claim: 'aud',
    expected,
    found: id,
    sentence: (client, accepted) =>
      `aud is missing, and its client (${claim}) is ${client}, while audience and allowedClients list ${accepted}`,
    advice: `to let this client in, add its id to allowedClients (${variableOf('allowedClients')}), which then lets in only the clients that it lists`,
  }))
}

export function otherIssuer(found: unknown, expected: string): InvalidTokenError {
  return rejection('issuer', () => ({
    claim: 'iss',
    expected,
    found,
    sentence: (iss, issuer) => `iss is ${iss}, not ${issuer}`,
    ...optionalAdvice(adviceOnIssuer(found, [expected])),
  }))
}

/** @param found `iss` of a token that no key has been tried on, because none of the issuers is its own */
export function unlistedIssuer(found: unknown, issuers: readonly string[]): InvalidTokenError {
  return unverified('issuer', () => ({
    claim: 'iss',
    expected: issuers,
    found,
    sentence: (iss, listed) => `iss, unverified, is ${found === undefined ? 'missing' : iss}, none of ${listed}`,
    advice: adviceOnIssuer(found, issuers) ?? UNLISTED,
  }))
}

const UNLISTED =
  'if its users are to come in, add it to issuers, to the letter; else the client signs in at the wrong authorization server'

const optionalAdvice = (advice: string | undefined) => (advice === undefined ? {} : { advice })

export function otherAudience(
  found: readonly string[],
  expected: readonly string[],
  resource: string,
): InvalidTokenError {
  return rejection('audience', () => ({
    claim: 'aud',
    expected,
    found,
    sentence: (aud, accepted) => `aud is ${aud}, none of ${accepted}`,
    ...optionalAdvice(adviceOnAudience(found, expected, resource)),
  }))
}

/** Returns the advice on audiences that may be other names of this server; undefined where none may. */
function adviceOnAudience(found: readonly string[], expected: readonly string[], resource: string): string | undefined {
  if (found.some((audience) => expected.some((name) => audience === `api://${name}`))) return OF_APPLICATION
  const { hostname } = new URL(resource)
  return found.some((audience) => URL.canParse(audience) && new URL(audience).hostname === hostname)
    ? AT_HOST
    : undefined
}

const OF_APPLICATION =
  "that is the name that Entra gives to this server's own app: make the Application ID URI of the app the URL of this server (docs/entra.md), or list the name in audience, beside resource"
const AT_HOST = `that is another URL on the host of this server: if MCP clients reach this server by it, set resource (${variableOf('resource')}) to it; if it belongs to another server, set the URL in the MCP client to resource`

export function expired(exp: unknown, nowSeconds: number): InvalidTokenError {
  return rejection('expired', () => ({
    claim: 'exp',
    expected: isoTime(nowSeconds),
    found: isoTime(exp),
    sentence: (end, now) => `exp is ${end} and it is ${now} here`,
  }))
}

/** The time at which a token is judged, in seconds. */
export interface Moment {
  readonly nowSeconds: number
  readonly clockTolerance: number
}

export function notYetValid(
  claim: 'nbf' | 'iat',
  found: unknown,
  { nowSeconds, clockTolerance }: Moment,
): InvalidTokenError {
  return rejection('not_yet_valid', () => ({
    claim,
    expected: isoTime(nowSeconds),
    found: isoTime(found),
    sentence: (start, now) =>
      `${claim} is ${start} and it is ${now} here, with a clockTolerance of ${clockTolerance} s`,
  }))
}

const LOOKALIKE = `${REMEDIES.token_type}; if the access tokens of the provider look like this, too (Dex, Cloudflare Access), set idTokenLookalikes to accept`

/**
 * @param told the mark of the other kind of token, without its value
 * @param isLookalike whether an access token of some provider may look like this
 */
export function otherKind(told: string, claim?: string, found?: string, isLookalike = false): InvalidTokenError {
  return rejection('token_type', () => ({
    ...(claim !== undefined && { claim }),
    found,
    sentence: (value) => `${found === undefined ? told : `${told} ${value}`}, which is not what an access token has`,
    ...(isLookalike && { advice: LOOKALIKE }),
  }))
}

/** A refresh token can be active too, and a DPoP token comes without the proof. */
export function otherTokenType(type: unknown): InvalidTokenError {
  const dpop = typeof type === 'string' && type.toLowerCase() === 'dpop'
  return rejection(dpop ? 'sender_constrained' : 'token_type', () => ({
    claim: 'token_type',
    expected: ['Bearer'],
    found: type,
    sentence: (found, expected) => `the introspection answer has token_type ${found}, and ${expected} is needed`,
  }))
}

const FOR_MTLS =
  'it is bound to a client certificate (mTLS): switch that off for MCP clients at the provider (Keycloak: the client, Advanced, "OAuth 2.0 Mutual TLS Certificate Bound Access Tokens Enabled")'

/** @param cnf binds the token in a way whose proof is not verified here */
export function unprovable(cnf: unknown): InvalidTokenError {
  return rejection('sender_constrained', () => ({
    claim: 'cnf',
    found: isJsonObject(cnf) ? Object.keys(cnf) : cnf,
    sentence: (by) => `cnf binds the token to a key (${by}), and proofs of it are not verified here`,
    ...(isJsonObject(cnf) && 'x5t#S256' in cnf && { advice: FOR_MTLS }),
  }))
}

/** A bound token is worth nothing by itself, because whoever stole it has it, too (RFC 9449 section 7.2). */
export function withoutProof(): InvalidTokenError {
  return rejection('sender_constrained', () => ({
    claim: 'cnf',
    found: ['jkt'],
    sentence: () => 'cnf binds the token to a key, and it came without a DPoP proof',
    advice:
      'the client must send it with the scheme DPoP and a proof; only a request can have one, so the middleware must see it',
  }))
}

export function boundToOther(): InvalidTokenError {
  return rejection('sender_constrained', () => ({
    claim: 'cnf',
    found: ['jkt'],
    sentence: () => 'cnf binds the token to another key than that of the DPoP proof',
    advice:
      'the client must use the key that it had when it got the token; if it does, the token is in the wrong hands',
  }))
}

/** @param scheme the scheme of the request */
export function notBound(scheme: 'DPoP' | 'Bearer'): InvalidTokenError {
  return rejection('not_bound', () => ({
    claim: 'cnf',
    sentence: () =>
      scheme === 'DPoP'
        ? 'the token came with the scheme DPoP, and there is no cnf with a jkt in it'
        : "the token is bound to no key (there is no cnf with a jkt in it), and dpop is 'required'",
    ...(scheme === 'Bearer' && {
      advice: `set dpop to 'allowed' to let such tokens in, too; else ${REMEDIES.not_bound}`,
    }),
  }))
}

export function otherClient(claim: string, id: string | undefined, allowed: ReadonlySet<string>): InvalidTokenError {
  return rejection('client', () => ({
    claim,
    expected: [...allowed],
    found: id,
    sentence: (found, expected) => `${claim} is ${found}, and only ${expected} may come in`,
  }))
}

export function longClientId(claim: string): InvalidTokenError {
  return rejection('client', () => ({
    claim,
    sentence: () => `${claim} has more than ${LONGEST_CLIENT_ID} bytes`,
    advice: 'give the MCP client a shorter id at the authorization server; the limit is fixed',
  }))
}

/** @param id this server's own client, which got the token */
export function ownClient(claim: string, id: string): InvalidTokenError {
  return rejection('client', () => ({
    claim,
    found: id,
    sentence: (found) => `${claim} is ${found}, which is clientId: this server got the token for itself`,
    advice: `MCP clients must have a client of their own; if they share this one, allowedClients (${variableOf('allowedClients')}) would have to list it`,
  }))
}

/** The functions of the operator that judge claims. */
export type ClaimsJudge = 'validateClaims' | 'missingAudience'

/** @param verdict the end that the function came to */
export function refusedClaims(judge: ClaimsJudge, verdict: string, cause?: unknown): InvalidTokenError {
  return rejection('claims', () => ({ sentence: () => `${judge} ${verdict} for the claims` }), cause)
}
