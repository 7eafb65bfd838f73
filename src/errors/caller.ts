import { hideMembers, McpAuthError } from './base.js'
import {
  DPOP_PROOF_DESCRIPTIONS,
  INVALID_TOKEN_DESCRIPTIONS,
  readRejectionDetails,
  scopeFault,
  type DpopProofFault,
  type Fault,
  type InvalidTokenReason,
  type RejectionDetails,
} from './rejection-details.js'

/** No credentials in the request that are of use here. 401 with a challenge that has no `error` (RFC 6750 §3.1). */
export class UnauthorizedError extends McpAuthError {
  static readonly code = 'ERR_UNAUTHORIZED'
  declare readonly code: typeof UnauthorizedError.code
  /** `unsupported_scheme`: there is a token in the scheme DPoP, which is switched off. */
  readonly reason: 'no_credentials' | 'unsupported_scheme'

  constructor(reason: UnauthorizedError['reason'] = 'no_credentials') {
    super({ status: 401, error: 'unauthorized', description: 'An access token is required' })
    this.reason = reason
  }
}

/** The credentials are not in the form of RFC 6750 §2.1. 400. */
export class InvalidRequestError extends McpAuthError {
  static readonly code = 'ERR_INVALID_REQUEST'
  declare readonly code: typeof InvalidRequestError.code

  /** @param detail for the operator: the fault, and who has to mend it */
  constructor(detail?: string) {
    super({
      status: 400,
      error: 'invalid_request',
      description: 'The Authorization header must hold one access token and nothing else',
      detail,
    })
  }
}

/** The access token cannot be used here. 401 `invalid_token` (RFC 6750 §3.1). */
export class InvalidTokenError extends McpAuthError {
  static readonly code = 'ERR_INVALID_TOKEN'
  declare readonly code: typeof InvalidTokenError.code
  /** The first fault that was found. */
  readonly reason: InvalidTokenReason
  #fault: () => Fault
  #token: string | undefined

  /** @param fault the particulars; called only when `details` is read */
  constructor(reason: InvalidTokenReason, cause?: unknown, fault?: () => Fault) {
    super({ status: 401, error: 'invalid_token', description: INVALID_TOKEN_DESCRIPTIONS[reason], cause })
    this.reason = reason
    this.#fault = fault ?? (() => ({ sentence: () => this.message }))
  }

  /** The particulars, for the operator and not for an answer. Put together at each reading. */
  get details(): RejectionDetails {
    return readRejectionDetails(this.#fault(), this.#token)
  }

  override get detail(): string {
    return this.details.message
  }

  /** @internal The message of `details` in its two parts; an error that an app made has no advice. */
  get diagnosis(): { readonly finding: string; readonly advice: string | undefined } {
    const { advice, ...fault } = this.#fault()
    return { finding: readRejectionDetails(fault, this.#token).message, advice }
  }

  /** @internal The token at fault, which `details` never shows. */
  about(token: string): this {
    this.#token = token
    return this
  }
}

/** The DPoP proof of a request is missing or not good. 401 `invalid_dpop_proof` (RFC 9449 §7.1). */
export class InvalidDpopProofError extends McpAuthError {
  static readonly code = 'ERR_INVALID_DPOP_PROOF'
  declare readonly code: typeof InvalidDpopProofError.code
  /** The first fault that was found. */
  readonly fault: DpopProofFault
  #particulars: () => Fault
  #token: string | undefined

  /** @param particulars called only when `details` is read */
  constructor(fault: DpopProofFault, particulars?: () => Fault, cause?: unknown) {
    super({ status: 401, error: 'invalid_dpop_proof', description: DPOP_PROOF_DESCRIPTIONS[fault], cause })
    this.fault = fault
    this.#particulars = particulars ?? (() => ({ sentence: () => this.message }))
  }

  /** The particulars, for the operator and not for an answer. Put together at each reading. */
  get details(): RejectionDetails {
    return readRejectionDetails(this.#particulars(), this.#token)
  }

  override get detail(): string {
    return this.details.message
  }

  /** @internal The access token that the proof came with, which `details` never shows. */
  about(token: string): this {
    this.#token = token
    return this
  }
}

/** The access token is valid and lacks a scope. 403 `insufficient_scope` (RFC 6750 §3.1). */
export class InsufficientScopeError extends McpAuthError {
  static readonly code = 'ERR_INSUFFICIENT_SCOPE'
  declare readonly code: typeof InsufficientScopeError.code
  /** Every scope of the operation, held or not. */
  readonly requiredScopes: readonly string[]
  readonly #granted: readonly string[] | undefined

  constructor(requiredScopes: readonly string[], granted?: readonly string[]) {
    super({
      status: 403,
      error: 'insufficient_scope',
      description: 'The access token lacks a scope that this operation needs',
    })
    this.requiredScopes = requiredScopes
    this.#granted = granted
  }

  /** The particulars, for the operator and not for an answer. Put together at each reading. */
  get details(): RejectionDetails {
    return readRejectionDetails(scopeFault(this.requiredScopes, this.#granted))
  }

  override get detail(): string {
    return this.details.message
  }
}

/** Demands of the authorization server on the user, which only the MCP client can fulfil. */
export interface ClaimsChallenge {
  /** A claims request (OIDC Core §5.5) as JSON in base64, without padding and the same in base64url: it stands in any header. */
  readonly claims: string
  /** The address that the client can send the user to. */
  readonly authorizationUri?: string | undefined
}

/** The words of the authorization server when it refused the MCP token. */
export interface SubjectTokenRejection {
  /** `error` of the answer (RFC 6749 §5.2). */
  readonly error?: string | undefined
  /** `error_description` of the answer, without anything of the request. */
  readonly errorDescription?: string | undefined
  /** Advice for the operator. */
  readonly hint?: string | undefined
  /** Its demands on the user; undefined if it has none. */
  readonly challenge?: ClaimsChallenge | undefined
}

/**
 * The MCP token was refused in an exchange, or has expired since it was verified, or the user has taken back what it came of. 401 `invalid_token`: the MCP client must get a new one.
 * If the authorization server demands more of the user (Entra: multi-factor authentication, say), 401 `insufficient_claims`
 * with the `claims` that the client must ask for.
 */
export class SubjectTokenRejectedError extends McpAuthError {
  static readonly code = 'ERR_SUBJECT_TOKEN_REJECTED'
  declare readonly code: typeof SubjectTokenRejectedError.code
  /** The words of the authorization server, for logs and for the challenge. */
  readonly rejection: SubjectTokenRejection

  constructor(rejection: SubjectTokenRejection = {}) {
    const more = rejection.challenge !== undefined
    super({
      status: 401,
      error: more ? 'insufficient_claims' : 'invalid_token',
      description: more
        ? 'The user must sign in again and do more than before'
        : 'The access token is no longer accepted',
    })
    this.rejection = rejection
    hideMembers(this, 'rejection')
  }
}

/** Pass-through: the MCP token is not also for Nextcloud. 403. */
export class AudienceMismatchError extends McpAuthError {
  static readonly code = 'ERR_AUDIENCE'
  declare readonly code: typeof AudienceMismatchError.code

  constructor() {
    super({
      status: 403,
      error: 'nextcloud_audience',
      description: 'The access token is not also meant for Nextcloud',
    })
  }
}

/**
 * The page that Nextcloud sends a request to instead of answering it: the one that asks for a second factor, which user_oidc wants of
 * requests by token too, or the one to sign in.
 */
export type NextcloudRefusal = 'two-factor' | 'login'

const REFUSED_DESCRIPTIONS: Readonly<Record<NextcloudRefusal, string>> = {
  'two-factor': 'Nextcloud asks this user for a second factor, which only a person at a browser can give',
  login: 'Nextcloud sends this request to its login page, so it needs a person at a browser',
}

/** Nextcloud wants a person at a browser, where `nextcloudFetch` sent a request. It was not carried out. 403. */
export class NextcloudRefusedError extends McpAuthError {
  static readonly code = 'ERR_NEXTCLOUD_REFUSED'
  declare readonly code: typeof NextcloudRefusedError.code
  readonly reason: NextcloudRefusal

  constructor(reason: NextcloudRefusal) {
    super({ status: 403, error: 'nextcloud_refused', description: REFUSED_DESCRIPTIONS[reason] })
    this.reason = reason
  }
}

/**
 * The reason why there is no usable grant: the user `never` connected Nextcloud; the grant was `revoked`, by the user or by the
 * authorization server; its stated end has passed (`expired`); the user has not agreed to this MCP client (`consent`).
 */
export type NotProvisionedReason = 'never' | 'revoked' | 'expired' | 'consent'

/** A link by which a user can connect Nextcloud. */
export interface ConnectLink {
  /** Good for one connection. */
  readonly connectUrl: string
  /** Names the request in URL elicitation (MCP 2025-11-25); random, and of no other use. */
  readonly elicitationId: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

const NOT_PROVISIONED_DESCRIPTIONS: Readonly<Record<NotProvisionedReason, string>> = {
  never: 'Nextcloud is not connected yet',
  revoked: 'The connection to Nextcloud was ended and must be made again',
  expired: 'The connection to Nextcloud has expired and must be made again',
  consent: 'The user has not agreed yet that this MCP client may act in Nextcloud',
}

/** There is no usable grant, so the user must connect Nextcloud first. 403. */
export class NotProvisionedError extends McpAuthError {
  static readonly code = 'ERR_NOT_PROVISIONED'
  declare readonly code: typeof NotProvisionedError.code
  /** The reason why there is none. */
  readonly reason: NotProvisionedReason
  /** The link to show to the user; undefined when the connect pages are switched off. */
  readonly connectUrl: string | undefined
  /** Names the link in URL elicitation (MCP 2025-11-25); undefined without a link. */
  readonly elicitationId: string | undefined
  /** End of the link, in seconds since the epoch; undefined without a link. */
  readonly expiresAt: number | undefined

  constructor(reason: NotProvisionedReason, link?: ConnectLink) {
    super({
      status: 403,
      error: 'nextcloud_not_connected',
      description: NOT_PROVISIONED_DESCRIPTIONS[reason],
      connectUrl: link?.connectUrl,
    })
    this.reason = reason
    this.connectUrl = link?.connectUrl
    this.elicitationId = link?.elicitationId
    this.expiresAt = link?.expiresAt
  }

  /** @internal The same failure, told to a caller who gets a link of its own. */
  with(link: ConnectLink): NotProvisionedError {
    return notProvisioned(this.reason, link)
  }
}

/** Stands outside the class, because the build gives a class that names itself another `name`. */
function notProvisioned(reason: NotProvisionedReason, link: ConnectLink): NotProvisionedError {
  return new NotProvisionedError(reason, link)
}
