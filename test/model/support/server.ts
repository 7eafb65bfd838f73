import type { AuthorizationServerClient } from '../../../src/authorization-server/client.js'
import type { CodeAnswer, CodeGrant } from '../../../src/authorization-server/code-grant.js'
import { TokenRequestError, UpstreamUnavailableError } from '../../../src/errors/errors.js'
import type { AppPasswords, LoginFlowAnswer } from '../../../src/nextcloud/app-passwords.js'
import { call, type Scheduler } from './scheduler.js'

export const ISSUER = 'https://idp.example.com'

/** A session of a user: refresh tokens that each make way for the next, or one app password. */
export interface Session {
  readonly user: string
  /** All that were given; the last is the one that is good. */
  readonly secrets: string[]
  alive: boolean
}

/** A refresh token on its way to the server. */
export interface Spend {
  readonly token: string
  readonly instance: string
  /** Milliseconds at which it was sent. */
  readonly sentAt: number
  /** Whether the server has it. */
  arrived: boolean
  /** What came for it. */
  next: string | undefined
  /** Whether the instance has the answer. */
  answered: boolean
}

/** An authorization server and a Nextcloud in hand. What they are asked is a step. */
export interface ModelServer {
  readonly sessions: Session[]
  readonly spends: Spend[]
  /** The owner of an access token, refresh token or app password. */
  readonly ownerOf: (secret: string) => string | undefined
  /** Secrets that were given in an answer, with the instance that it was for. */
  readonly given: Map<string, string>
  /** Secrets whose answer an instance has. */
  readonly received: Set<string>
  readonly client: (
    instance: string,
    onSend: (spend: Spend) => void,
  ) => Pick<AuthorizationServerClient, 'refresh' | 'revoke'>
  readonly codeGrant: (instance: string) => Pick<CodeGrant, 'metadata' | 'readAnswer' | 'redeem'>
  readonly endToken: (instance: string) => (accessToken: string) => Promise<boolean>
  readonly appPasswords: (instance: string) => Pick<AppPasswords, 'nextcloud' | 'isRefused' | 'remove'>
  /** An app password that the user has just agreed to. */
  readonly newAppPassword: (instance: string, user: string) => Promise<LoginFlowAnswer>
  /** A code that the browser of a user brings. */
  readonly newCode: (user: string) => string
}

/** Milliseconds: `http.timeout`. */
const TIMEOUT = 5_000
const NEXTCLOUD = 'https://cloud.example.com/'

/**
 * @param life seconds of an access token
 * @param reuseEnds whether a refresh token that is presented again ends its session
 */
export function createServer(scheduler: Scheduler, life: number, reuseEnds: boolean): ModelServer {
  const sessions: Session[] = []
  const spends: Spend[] = []
  const codes = new Map<string, string>()
  const given = new Map<string, string>()
  const received = new Set<string>()
  const sessionOf = (secret: string): Session | undefined =>
    sessions.find(({ secrets }) => secrets.includes(secret.replace(/^access-/, '')))

  let codesGiven = 0

  function ask<T>(instance: string, name: string, on: string, carryOut: () => T): Promise<T> {
    const failure = (fault: string): Error =>
      new UpstreamUnavailableError('The model fails', { unprocessed: fault === 'lost' })
    const answer = call({ ...{ scheduler, instance, name, on, carryOut, failure } })
    // The request may still arrive after that.
    return new Promise((resolve, reject) => {
      const end = (): void => reject(failure('timeout'))
      const at = scheduler.now() + TIMEOUT
      const cancel = scheduler.offer({
        ...{ instance, name: `deadline of ${name}`, on: '', kind: 'timer', at },
        take: end,
      })
      answer.then(resolve, reject).finally(cancel)
    })
  }
  function give(instance: string, session: Session): string {
    const secret = `secret-${sessions.indexOf(session)}-${session.secrets.length}`
    session.secrets.push(secret)
    given.set(secret, instance)
    return secret
  }
  function begin(instance: string, user: string): { readonly session: Session; readonly secret: string } {
    const session: Session = { user, secrets: [], alive: true }
    sessions.push(session)
    return { session, secret: give(instance, session) }
  }
  const answerTo = (refreshToken: string, sentAt: number) => ({
    ...{ refreshToken, refreshExpiresIn: undefined, scopes: undefined, sentAt },
    access: { accessToken: `access-${refreshToken}`, expiresIn: life, sentAt },
  })

  async function refresh(instance: string, token: string, spend: Spend) {
    const answer = await ask(instance, `refresh ${token}`, token.replace(/-\d+$/, ''), () => {
      spend.arrived = true
      const session = sessionOf(token)
      if (session?.secrets.at(-1) !== token || !session.alive) {
        // RFC 9700 §4.14.2: a token that is presented again ends its session. Nextcloud does not know it any more.
        if (session !== undefined && reuseEnds) session.alive = false
        return 'dead' as const
      }
      spend.next = give(instance, session)
      return answerTo(spend.next, spend.sentAt)
    })
    spend.answered = true
    if (spend.next !== undefined) received.add(spend.next)
    return answer
  }

  return {
    sessions,
    spends,
    given,
    received,
    ownerOf: (secret) => sessionOf(secret)?.user,
    client: (instance, onSend) => ({
      refresh(token, _parameters, beforeSending) {
        const spend = { token, instance, sentAt: scheduler.now(), arrived: false, next: undefined, answered: false }
        return Promise.resolve().then(() => {
          beforeSending()
          onSend(spend)
          spends.push(spend)
          return refresh(instance, token, spend)
        })
      },
      revoke: (token) =>
        ask(instance, `revoke ${token}`, token.replace(/-\d+$/, ''), () => {
          const session = sessionOf(token)
          if (session !== undefined) session.alive = false
          return true
        }).catch(() => 'unavailable' as const),
    }),
    codeGrant: (instance) => ({
      metadata: () => Promise.resolve({ issuer: ISSUER }),
      readAnswer: (_as, parameters) => ({ kind: 'code', parameters }),
      async redeem(_as, parameters): Promise<CodeAnswer> {
        const code = parameters.get('code') ?? ''
        const sentAt = scheduler.now()
        const { refreshToken, ...rest } = await ask(instance, `redeem ${code}`, code, () => {
          const user = codes.get(code)
          codes.delete(code)
          if (user === undefined)
            throw new TokenRequestError('The code is unknown', { error: 'invalid_grant', httpStatus: 400 })
          return answerTo(begin(instance, user).secret, sentAt)
        })
        received.add(refreshToken)
        return { refreshToken, ...rest, idToken: undefined, members: {} }
      },
    }),
    endToken: (instance) => (accessToken) =>
      ask(instance, `end ${accessToken}`, accessToken.replace(/^access-|-\d+$/g, ''), () => {
        const session = sessionOf(accessToken)
        const isTaken = session?.alive === true && `access-${session.secrets.at(-1)}` === accessToken
        if (isTaken) session.alive = false
        return isTaken
      }).catch(() => false),
    appPasswords: (instance) => ({
      nextcloud: NEXTCLOUD,
      isRefused: ({ password }) =>
        ask(instance, `try ${password}`, password, () => sessionOf(password)?.alive !== true).catch(() => undefined),
      remove: ({ password }) =>
        ask(instance, `remove ${password}`, password, () => {
          const session = sessionOf(password)
          if (session?.alive !== true) return 'refused' as const
          session.alive = false
          return true
        }).catch(() => 'unavailable' as const),
    }),
    async newAppPassword(instance, user) {
      const password = await ask(instance, `poll for ${user}`, '', () => begin(instance, user).secret)
      received.add(password)
      return { loginName: user, password, server: NEXTCLOUD }
    },
    newCode(user) {
      const code = `code-${(codesGiven += 1)}`
      codes.set(code, user)
      return code
    },
  }
}
