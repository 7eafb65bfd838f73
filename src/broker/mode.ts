import type { TokenAnswer } from '../authorization-server/token-answer.js'

/** On whose behalf a Nextcloud token is wanted: the verified MCP token. */
export interface Caller {
  readonly token: string
  /** SHA-256, base64url. */
  readonly tokenHash: string
  readonly issuer: string
  readonly subject: string
  readonly audience: readonly string[]
  /** `exp`, in seconds. */
  readonly expiresAt: number
}

/** For what the token is wanted. */
export interface Target {
  readonly audience: readonly string[]
  readonly resource: readonly string[]
  readonly scopes: readonly string[]
}

/** How a fresh Nextcloud token is got: one for each mode, called at most once at a time for the same caller and target. */
export type GetFreshToken = (caller: Caller, target: Target) => Promise<TokenAnswer>
