import type { InvalidTokenReason } from '../errors/errors.js'

/** The remedy for a rejected token, beyond the sentence that names the fault. */
interface RejectionAdvice {
  readonly advice: string
  /** The option to correct, as a path. */
  readonly option?: string
}

/** The remedy for each reason, for operators who look for the cause with a token at hand. */
export const REJECTION_ADVICE: Readonly<Record<InvalidTokenReason, RejectionAdvice>> = {
  audience: {
    advice:
      'have the provider put this server into aud of what MCP clients get (Keycloak: a client scope with an audience mapper, as a default scope of the MCP clients); the aud of another server must never be accepted, because every token for that one would open this one',
  },
  issuer: {
    advice:
      'take the token from the provider that is configured; if it has two names, make it name the public one everywhere (Keycloak: KC_HOSTNAME)',
    option: 'issuer',
  },
  expired: { advice: 'get a fresh token; if it is fresh, compare the clocks' },
  not_yet_valid: {
    advice: 'compare the clocks (NTP on both machines), or allow a larger difference',
    option: 'clockTolerance',
  },
  missing_claim: {
    advice:
      'have the provider put it into access tokens (Keycloak: the client scope basic has sub; without an audience mapper there is no aud)',
  },
  token_type: {
    advice:
      'send the access_token of the token answer, not the id_token; have the provider mark access tokens with typ at+jwt, or put scope or client_id into them',
  },
  algorithm: {
    advice:
      'let the provider sign access tokens with one of them (Keycloak: Access token signature algorithm of the client), or accept more',
    option: 'algorithms',
  },
  key: {
    advice:
      'the token is from another issuer or realm, or older than a rotation of keys: get a fresh one, and compare iss',
  },
  signature: {
    advice: 'the token was changed on its way, or is from another realm with the same kid: get a fresh one',
  },
  malformed: { advice: 'give the whole access token and nothing else: without Bearer, quotes or line breaks' },
  too_large: { advice: 'the token has more than 16 KiB: take groups and roles out of it at the provider' },
  opaque: {
    advice:
      'let the provider issue JWTs as access tokens, or let this server introspect: it needs clientId, clientSecret and an introspection_endpoint',
  },
  inactive: {
    advice:
      "the provider says that the token is not active (ended, revoked, or not for this client): get a fresh one; Nextcloud's app oidc says so of every opaque token of another client, so give MCP clients JWTs there (token type JWT)",
  },
  sender_constrained: {
    advice:
      'switch DPoP or mTLS binding of access tokens off for the MCP clients, or let tokens with a DPoP proof in (a bound token cannot be tried without the client, which has its key)',
    option: 'dpop',
  },
  not_bound: {
    advice:
      'have the provider bind access tokens to the key of the client (Keycloak: Require DPoP bound tokens), or let others in',
    option: 'dpop',
  },
  client: { advice: 'let the client in', option: 'allowedClients' },
  claims: { advice: 'validateClaims of the app refuses it: look there' },
}
