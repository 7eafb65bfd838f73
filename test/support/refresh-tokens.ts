import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { ReceivedRequest } from './scripted-authorization-server.js'

/** The refresh tokens of one grant, as the authorization server keeps them: each one's successor, in order. */
export interface Family {
  /** All that were issued; the last is the one that is good. */
  readonly tokens: string[]
  revoked: boolean
}

/** What an authorization server knows of the refresh tokens that it issued. */
export interface RefreshTokens {
  /** Starts a family: its first refresh token. */
  readonly issue: () => string
  readonly familyOf: (token: string) => Family
  readonly families: readonly Family[]
  /** Every refresh token that was presented, in order; one that was presented twice is there twice. */
  readonly presented: string[]
  /** Access tokens that were issued, in order. */
  readonly accessTokens: string[]
  /** How a token endpoint answers a refresh. */
  readonly answer: (request: ReceivedRequest, res: ServerResponse) => void
  /** Carries a refresh out, and leaves it to others what becomes of the answer. */
  readonly process: (form: URLSearchParams) => { readonly status: number; readonly json: Record<string, unknown> }
  /** Revokes a family, as an administrator would. */
  readonly revoke: (token: string) => void
}

interface Ways {
  /** Seconds of an access token. Default 300. */
  readonly life?: number
  /** Whether each refresh brings another refresh token, and a used one ends its family. Default true. */
  readonly rotates?: boolean
  /** Whether the last used refresh token is good once more, for a client that did not get the answer. Default false. */
  readonly grace?: boolean
  /** What else the answers say. */
  readonly more?: () => Record<string, unknown>
}

/** RFC 9700 §4.14.2: one-time refresh tokens, whose reuse revokes the whole family. */
export function createRefreshTokens(ways: Ways = {}): RefreshTokens {
  const { life = 300, rotates = true, grace = false, more = () => ({}) } = ways
  const families: Family[] = []
  const presented: string[] = []
  const accessTokens: string[] = []
  const fresh = (kind: string): string => `${kind}-${randomBytes(24).toString('base64url')}`

  function familyOf(token: string): Family {
    const family = families.find(({ tokens }) => tokens.includes(token))
    if (family === undefined) throw new Error('That refresh token was never issued')
    return family
  }

  function carryOut(form: URLSearchParams): { status: number; json: Record<string, unknown> } {
    const token = form.get('refresh_token') ?? ''
    presented.push(token)
    const family = families.find(({ tokens }) => tokens.includes(token))
    const isGood = family?.tokens.at(-1) === token || (grace && family?.tokens.at(-2) === token)
    if (family !== undefined && !isGood) family.revoked = true
    if (family === undefined || family.revoked) return { status: 400, json: { error: 'invalid_grant' } }
    const accessToken = fresh('access')
    accessTokens.push(accessToken)
    const next = rotates ? fresh('refresh') : undefined
    if (next !== undefined) family.tokens.push(next)
    const rotated = next !== undefined && { refresh_token: next }
    return {
      status: 200,
      json: { access_token: accessToken, token_type: 'Bearer', expires_in: life, ...rotated, ...more() },
    }
  }

  return {
    issue() {
      const token = fresh('refresh')
      families.push({ tokens: [token], revoked: false })
      return token
    },
    familyOf,
    families,
    presented,
    accessTokens,
    process: carryOut,
    answer({ form }, res) {
      const { status, json } = carryOut(form)
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
    },
    revoke(token) {
      familyOf(token).revoked = true
    },
  }
}
