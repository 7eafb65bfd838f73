import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { createRefreshTokens, type Family } from '../support/refresh-tokens.js'
import {
  CLIENT_ID,
  signingKey,
  startAuthorizationServer,
  type ReceivedRequest,
} from '../support/scripted-authorization-server.js'
import type { Disturbances } from './group.js'
import type { Judge } from './judge.js'

/** Seconds of an access token. */
export const LIFE = 10
/** Milliseconds for which a request that stalls gets no answer: longer than `http.timeout`. */
const STALL = 8_000
/** Milliseconds that a slow answer takes: longer than the grace that others give without a lease, and shorter than `http.timeout`. */
const SLOW = 3_600

/** Whose an access token is. */
export interface Issued {
  readonly subject: string
  readonly family: Family
  /** Milliseconds since the epoch. */
  readonly endsAt: number
}

export interface Exchanged {
  readonly mcpToken: string
  readonly endsAt: number
}

/** A refresh token that was spent. */
interface Spent {
  /** The process that sent it. */
  readonly by: string
  readonly from: number
  answeredAt: number
  /** Whether the server itself knows that the answer has not arrived. */
  lost: boolean
}

/** A refresh token that came again. */
interface SentTwice {
  readonly subject: string
  readonly before: Spent
  /** The process that sent it again, and how many milliseconds later. */
  readonly by: string
  readonly after: number
  /** Whether the server knew then that the answer had not arrived. */
  readonly wasLost: boolean
}

interface SoakServerRooms {
  readonly judge: Judge
  readonly disturbances: Disturbances
}

/** An authorization server with one-time refresh tokens and no grace, which fails now and then and knows which answers were lost. */
export interface SoakServer {
  readonly issuer: string
  readonly close: () => Promise<void>
  /** Signs an MCP token. */
  readonly mint: (subject: string, resource: string) => Promise<string>
  /** A token by a key that nobody has published. */
  readonly forge: (subject: string, resource: string) => Promise<string>
  /** Signs with another key from now on, and publishes no more than the last two. */
  readonly rotateKeys: () => Promise<void>
  /** Opens a token endpoint for one process, and returns its URL. */
  readonly tokenEndpointFor: (process: string) => string
  /** Does something when the next refresh token of a group has been replaced, before the answer is sent. */
  readonly atNextRefresh: (group: string, happens: () => unknown) => void
  /** A person signs in: path and query of the callback. */
  readonly authorize: (to: URL, subject: string) => Promise<string>
  readonly issuedAs: (accessToken: string) => Issued | undefined
  /** What an access token was exchanged for, and until when it is good, in milliseconds since the epoch. */
  readonly exchangedFor: (accessToken: string) => Exchanged | undefined
  /** The families of a user, in order. */
  readonly familiesOf: (subject: string) => readonly Family[]
  /** Whether a family ended because an answer was lost after the server had rotated. */
  readonly isLost: (family: Family) => boolean
  /** To be called at the end, because a process that stood still says so only when it goes on. */
  readonly judgeSentTwice: () => void
  /** Milliseconds since the epoch at which a refresh token of a user was spent last. */
  readonly lastRefresh: (subject: string) => number
}

const fresh = (kind: string): string => `${kind}-${randomBytes(16).toString('base64url')}`

export async function startSoakServer({ judge, disturbances }: SoakServerRooms): Promise<SoakServer> {
  const as = await startAuthorizationServer()
  const { issuer } = as
  Object.assign(as.metadata, {
    authorization_endpoint: `${issuer}/authorize`,
    revocation_endpoint: `${issuer}/revoke`,
    scopes_supported: ['openid', 'offline_access'],
    authorization_response_iss_parameter_supported: true,
  })
  const refreshTokens = createRefreshTokens({ life: LIFE })
  const families = new Map<string, Family[]>()
  const owners = new Map<Family, string>()
  const issued = new Map<string, Issued>()
  const exchanged = new Map<string, Exchanged>()
  const spent = new Map<string, Spent>()
  const lost = new Set<Family>()
  const sentTwice: SentTwice[] = []
  const refreshedAt = new Map<string, number>()
  const codes = new Map<string, { readonly subject: string; readonly json: Record<string, unknown> }>()
  let key = as.key
  let keys = 0
  const next = new Map<string, () => unknown>()
  const stranger = await signingKey('stranger')

  function note(accessToken: unknown, family: Family): void {
    const subject = owners.get(family) ?? ''
    issued.set(String(accessToken), { subject, family, endsAt: Date.now() + LIFE * 1_000 })
  }

  function refresh(form: URLSearchParams, by: string): { status: number; json: Record<string, unknown>; use?: Spent } {
    const token = form.get('refresh_token') ?? ''
    const family = refreshTokens.families.find(({ tokens }) => tokens.includes(token))
    const before = spent.get(token)
    const wasGood = family?.revoked === false
    const answer = refreshTokens.process(form)
    if (family !== undefined && wasGood && family.revoked && before !== undefined) {
      lost.add(family)
      const [subject = '', after] = [owners.get(family), Date.now() - before.from]
      sentTwice.push({ subject, before, by, after, wasLost: before.lost })
    }
    if (family === undefined || answer.status !== 200) return answer
    note(answer.json['access_token'], family)
    refreshedAt.set(owners.get(family) ?? '', Date.now())
    judge.count('refreshes')
    const use: Spent = { by, from: Date.now(), answeredAt: Infinity, lost: false }
    spent.set(token, use)
    return { ...answer, use }
  }

  function redeem(form: URLSearchParams): { status: number; json: Record<string, unknown>; use?: Spent } {
    const code = codes.get(form.get('code') ?? '')
    codes.delete(form.get('code') ?? '')
    if (code === undefined) return { status: 400, json: { error: 'invalid_grant' } }
    note(code.json['access_token'], refreshTokens.familyOf(String(code.json['refresh_token'])))
    return { status: 200, json: code.json }
  }

  function exchange(form: URLSearchParams): { status: number; json: Record<string, unknown>; use?: Spent } {
    const accessToken = fresh('exchanged')
    exchanged.set(accessToken, {
      mcpToken: form.get('subject_token') ?? '',
      endsAt: Date.now() + LIFE * 1_000,
    })
    judge.count('exchanges')
    const issuedType = 'urn:ietf:params:oauth:token-type:access_token'
    return {
      status: 200,
      json: { access_token: accessToken, issued_token_type: issuedType, token_type: 'Bearer', expires_in: LIFE },
    }
  }

  function judgeSentTwice(): void {
    for (const { subject, before, by, after, wasLost } of sentTwice.splice(0)) {
      const { from, answeredAt } = before
      if (wasLost || disturbances.wasDisturbed(before.by, { from, until: answeredAt, seenAt: from + after }))
        judge.count('answers lost after rotation')
      else
        judge.violation(
          'a refresh token was sent twice',
          `${subject}: by ${before.by}, answered after ${before.answeredAt - before.from} ms, then by ${by} after ${after} ms; meanwhile: ${disturbances.about(before.by, before.from)}`,
        )
    }
  }

  const subjectOf = (form: URLSearchParams): string => {
    const mcpToken = form.get('subject_token')
    if (mcpToken !== null) return String(decodeJwt(mcpToken).sub)
    const token = form.get('refresh_token')
    if (token === null) return codes.get(form.get('code') ?? '')?.subject ?? ''
    const family = refreshTokens.families.find(({ tokens }) => tokens.includes(token))
    return (family && owners.get(family)) ?? ''
  }

  async function happening(by: string): Promise<void> {
    const group = by.split('-')[0] ?? ''
    const happens = next.get(group)
    next.delete(group)
    await happens?.()
  }

  /**
   * One in a hundred requests stalls, five fail: half of the stalled and a fifth of the failed ones after the server has done its part. One
   * is answered late, which is no fault.
   */
  async function answer({ form }: ReceivedRequest, res: ServerResponse, by: string): Promise<void> {
    const grantType = form.get('grant_type')
    const carryOut = () =>
      grantType === 'refresh_token'
        ? refresh(form, by)
        : grantType === 'authorization_code'
          ? redeem(form)
          : exchange(form)
    const lot = judge.calm() ? 100 : Math.random() * 100
    if (lot >= 6) {
      const { status, json, use } = carryOut()
      if (use) res.once('close', () => (use.lost ||= !res.writableFinished))
      if (lot >= 99 && lot < 100) {
        judge.count('slow answers')
        await sleep(SLOW, undefined, { ref: false })
      }
      if (use) {
        await happening(by)
        use.answeredAt = Date.now()
      }
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
      return
    }
    const over = judge.fault(subjectOf(form), lot < 1 ? 'the server stalls' : 'the server fails')
    if (lot < 0.5 || (lot >= 1 && lot < 2)) {
      const { use } = carryOut()
      if (use) Object.assign(use, { lost: true, answeredAt: Date.now() })
    }
    if (lot < 1) await sleep(STALL, undefined, { ref: false })
    if (lot < 3) res.destroy()
    else res.writeHead(lot < 4 ? 500 : 503).end()
    over()
  }

  as.script('/revoke', ({ form }: ReceivedRequest, res: ServerResponse) => {
    const family = refreshTokens.families.find(({ tokens }) => tokens.includes(form.get('token') ?? ''))
    if (family) family.revoked = true
    judge.count('revocations')
    res.writeHead(200).end()
  })

  const claimsFor = (subject: string, resource: string) => ({ sub: subject, aud: resource, jti: fresh('jti') })
  return {
    issuer,
    close: as.close,
    mint: (subject, resource) => as.mint(claimsFor(subject, resource), { key }),
    forge: (subject, resource) => as.mint(claimsFor(subject, resource), { key: { ...stranger, kid: fresh('kid') } }),
    async rotateKeys() {
      keys += 1
      const successor = await signingKey(`key-${keys}`)
      as.keys.push(successor.publicJwk)
      as.keys.splice(0, as.keys.length - 2)
      key = successor
      judge.count('signing keys replaced')
    },
    atNextRefresh: (group, happens) => void next.set(group, happens),
    tokenEndpointFor(process) {
      as.script(`/token/${process}`, (request: ReceivedRequest, res: ServerResponse) => answer(request, res, process))
      return `${issuer}/token/${process}`
    },
    async authorize(to, subject) {
      const seconds = Math.floor(Date.now() / 1_000)
      const refreshToken = refreshTokens.issue()
      const family = refreshTokens.familyOf(refreshToken)
      owners.set(family, subject)
      families.set(subject, [...(families.get(subject) ?? []), family])
      const nonce = to.searchParams.get('nonce')
      const identity = { aud: CLIENT_ID, sub: subject, nonce, iat: seconds, exp: seconds + 300 }
      const code = fresh('code')
      codes.set(code, {
        subject,
        json: {
          access_token: fresh('access'),
          token_type: 'Bearer',
          expires_in: LIFE,
          refresh_token: refreshToken,
          id_token: await as.mint(
            { ...identity, client_id: undefined, scope: undefined },
            { key, header: { typ: 'JWT' } },
          ),
        },
      })
      const redirect = new URL(to.searchParams.get('redirect_uri') ?? '')
      for (const [name, value] of Object.entries({ code, state: to.searchParams.get('state') ?? '', iss: issuer }))
        redirect.searchParams.set(name, value)
      return redirect.pathname + redirect.search
    },
    issuedAs: (token) => issued.get(token),
    exchangedFor: (token) => exchanged.get(token),
    familiesOf: (subject) => families.get(subject) ?? [],
    isLost: (family) => lost.has(family),
    judgeSentTwice,
    lastRefresh: (subject) => refreshedAt.get(subject) ?? 0,
  }
}
