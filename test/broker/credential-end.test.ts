import { describe, expect, it } from 'vitest'
import { attemptOnce, type CredentialEndRooms, type GrantServer } from '../../src/broker/credential-end.js'
import { TokenRequestError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import type { Credential } from '../../src/grants/grant.js'
import type { PendingDeletion } from '../../src/grants/pending-deletions.js'
import { systemClock } from '../../src/clock.js'

const ISSUER = 'https://cloud.example.com'
const CODE = { code: 'the code', verifier: 'the verifier' }
const REFRESH_TOKEN = { refreshToken: 'the refresh token' }
const ACCESS = { accessToken: 'access', expiresIn: 300, sentAt: 0 }

interface Answers {
  readonly refresh?: (beforeSending: () => void) => Promise<unknown>
  /** Null: no user signs in at the server. */
  readonly redeem?: (() => Promise<unknown>) | null
  readonly kind?: string
  readonly isHeld?: boolean
  readonly ends?: boolean
}

/** One attempt at a server that answers so. */
async function attempt(credential: PendingDeletion['credential'], answers: Answers = {}) {
  const { refresh, redeem, kind = 'code', isHeld = true, ends = true } = answers
  const ended: string[] = []
  const server = {
    issuer: () => ISSUER,
    client: { refresh: (_token: string, _more: unknown, beforeSending: () => void) => refresh?.(beforeSending) },
    codeGrant:
      redeem === null
        ? undefined
        : {
            metadata: () => Promise.resolve({}),
            readAnswer: () => ({ kind, parameters: new URLSearchParams() }),
            redeem,
          },
  } as unknown as GrantServer
  const rooms = {
    endsAlone: true,
    clock: systemClock,
    serverOf: () => server,
    codes: {
      sendAgain: (send: () => Promise<unknown>) => send(),
      refreshToEnd: (_of: unknown, send: () => Promise<unknown>) => send(),
    },
    freshCredentials: { endToken: (token: string) => Promise.resolve(ends && ended.push(token) > 0) },
    grants: {
      store: { keyOf: () => 'key' },
      leaseLife: 1_000,
      acquireLease: () => Promise.resolve({ isHeld: () => isHeld, release: () => Promise.resolve() }),
      background: () => undefined,
      newDeletion: () => ({ id: 'another' }),
      deletions: { put: () => Promise.resolve(true), has: () => Promise.resolve(true) },
    },
  } as unknown as CredentialEndRooms
  const identity = { issuer: ISSUER, subject: 'alice' }
  const deletion = { id: 'id', identity, credential, since: 0, tries: 0, nextAt: 0, refused: false }
  const end = await attemptOnce(rooms, deletion)
  return { attempt: end.attempt, credential: end.deletion.credential, ended }
}

const fails = (error: Error) => () => Promise.reject(error)
const unavailable = (unprocessed: boolean) => new UpstreamUnavailableError('unavailable', { unprocessed })

it('nothing is sent of what is still sealed', async () => {
  const sealed = { sealed: 'a sealed grant', record: 'key' }
  expect(await attempt(sealed)).toEqual({ attempt: 'failed', credential: sealed, ended: [] })
})

describe('the end of a refresh token', () => {
  it.each<[string, Answers, unknown, Credential]>([
    ['waits where Nextcloud has not got it', { refresh: fails(unavailable(true)) }, 'unavailable', REFRESH_TOKEN],
    [
      'is that of one that was sent where Nextcloud may have got it',
      { refresh: fails(unavailable(false)) },
      'unavailable',
      { ...REFRESH_TOKEN, presented: true },
    ],
    [
      'has failed where Nextcloud refuses this client',
      { refresh: fails(new TokenRequestError('refused', { error: 'invalid_client' })) },
      'failed',
      REFRESH_TOKEN,
    ],
    [
      'sends nothing once another instance may have the lease',
      {
        isHeld: false,
        refresh: (beforeSending) =>
          Promise.resolve()
            .then(beforeSending)
            .then(() => 'dead'),
      },
      'failed',
      REFRESH_TOKEN,
    ],
    ['is done where Nextcloud does not know it', { refresh: () => Promise.resolve('dead') }, true, REFRESH_TOKEN],
  ])('%s', async (_, answers, outcome, credential) => {
    expect(await attempt(REFRESH_TOKEN, answers)).toEqual({ attempt: outcome, credential, ended: [] })
  })
})

describe('the end of a code whose answer nobody has', () => {
  const tokens = (more: object = {}) => ({ access: ACCESS, members: {}, ...more })

  it.each<[string, Answers, unknown, readonly string[]]>([
    ['waits for a server at which users sign in', { redeem: null }, 'failed', []],
    [
      'is not sent where it cannot be read',
      { kind: 'unusable', redeem: () => Promise.resolve(tokens()) },
      'failed',
      [],
    ],
    ['waits while many codes are refused', { redeem: () => Promise.resolve('too many') }, 'put off', []],
    ['ends what comes for it', { redeem: () => Promise.resolve(tokens()) }, true, ['access']],
    ['is lost where that cannot be ended', { ends: false, redeem: () => Promise.resolve(tokens()) }, 'lost', []],
    [
      'ends a refresh token with it',
      { redeem: () => Promise.resolve(tokens({ refreshToken: 'r' })) },
      true,
      ['access'],
    ],
    ['waits while Nextcloud is unavailable', { redeem: fails(unavailable(false)) }, 'unavailable', []],
    ...['invalid_grant', 'invalid_request'].map((error): [string, Answers, unknown, readonly string[]] => [
      `is lost where it was spent: ${error}`,
      { redeem: fails(new TokenRequestError('refused', { error })) },
      'lost',
      [],
    ]),
    [
      'has failed where Nextcloud refuses this client',
      { redeem: fails(new TokenRequestError('refused', { error: 'invalid_client' })) },
      'failed',
      [],
    ],
    [
      'has failed where the answer is of no form',
      { redeem: fails(new TokenRequestError('refused', {})) },
      'failed',
      [],
    ],
  ])('%s', async (_, answers, outcome, ended) => {
    expect(await attempt(CODE, answers)).toMatchObject({ attempt: outcome, ended })
  })
})
