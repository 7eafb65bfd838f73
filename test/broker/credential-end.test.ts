import { describe, expect, it } from 'vitest'
import { attemptOnce, type CredentialEndRooms, type GrantServer } from '../../src/broker/credential-end.js'
import { StorageError, TokenRequestError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import type { Credential } from '../../src/grants/grant.js'
import type { PendingDeletion } from '../../src/grants/pending-deletions.js'
import { systemClock } from '../../src/clock.js'
import { manualClock } from '../support/clock.js'

const ISSUER = 'https://cloud.example.com'
const CODE = { code: 'the code', verifier: 'the verifier' }
const REFRESH_TOKEN = { refreshToken: 'the refresh token' }
const ACCESS = { accessToken: 'access', expiresIn: 300, sentAt: 0 }

const deletionOf = (
  credential: PendingDeletion['credential'],
  more: Partial<PendingDeletion> = {},
): PendingDeletion => ({
  ...{ id: 'id', identity: { issuer: ISSUER, subject: 'alice' }, credential },
  ...{ since: 0, tries: 0, nextAt: 0, refused: false },
  ...more,
})

interface Answers {
  readonly refresh?: (beforeSending: () => void) => Promise<unknown>
  /** Null: no user signs in at the server. */
  readonly redeem?: (() => Promise<unknown>) | null
  readonly kind?: string
  readonly isHeld?: boolean
  readonly ends?: boolean
  /** Members of the deletion, which stands in the list. */
  readonly deletion?: Partial<PendingDeletion>
  /** Rejects: the list cannot be asked. */
  readonly put?: () => Promise<boolean>
  readonly has?: () => Promise<boolean>
}

/** One attempt at a server that answers so. */
async function attempt(credential: PendingDeletion['credential'], answers: Answers = {}) {
  const { refresh, redeem, kind = 'code', isHeld = true, ends = true } = answers
  const { put = () => Promise.resolve(true), has = () => Promise.resolve(true) } = answers
  const ended: string[] = []
  const order: string[] = []
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
    freshCredentials: {
      endToken: (token: string) => (order.push('end'), Promise.resolve(ends && ended.push(token) > 0)),
    },
    grants: {
      store: { keyOf: () => 'key' },
      leaseLife: 1_000,
      acquireLease: () => Promise.resolve({ isHeld: () => isHeld, release: () => Promise.resolve() }),
      background: () => undefined,
      newDeletion: () => ({ id: 'another' }),
      deletions: {
        put: ({ id, identity: { subject } }: PendingDeletion, inPlaceOf: string) => {
          order.push(`put ${id} of ${subject} in place of ${inPlaceOf}`)
          return put()
        },
        has,
      },
    },
  } as unknown as CredentialEndRooms
  const end = await attemptOnce(rooms, deletionOf(credential, answers.deletion))
  return { attempt: end.attempt, credential: end.deletion.credential, ended, order }
}

const fails = (error: Error) => () => Promise.reject(error)
const unavailable = (unprocessed: boolean) => new UpstreamUnavailableError('unavailable', { unprocessed })

it('nothing is sent of what is still sealed', async () => {
  const sealed = { sealed: 'a sealed grant', record: 'key' }
  expect(await attempt(sealed)).toEqual({ attempt: 'failed', credential: sealed, ended: [], order: [] })
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
    expect(await attempt(REFRESH_TOKEN, answers)).toEqual({ attempt: outcome, credential, ended: [], order: [] })
  })

  const unknown = { refresh: () => Promise.resolve('dead') }
  it.each<[string, Answers, unknown]>([
    ['has its answer', { ...unknown, has: () => Promise.resolve(false) }, 'taken over'],
    ['is not there', { ...unknown, has: () => Promise.resolve(true) }, 'lost'],
    ['cannot be looked for', { ...unknown, has: fails(new StorageError('unavailable')) }, 'lost'],
  ])(
    'that was sent before is lost where Nextcloud does not know it, unless another attempt %s',
    async (_, answers, outcome) => {
      const sent = { ...REFRESH_TOKEN, presented: true }
      expect(await attempt(sent, answers)).toEqual({ attempt: outcome, credential: sent, ended: [], order: [] })
    },
  )

  it('waits where Nextcloud has refused much', async () => {
    const end = await attempt(REFRESH_TOKEN, { refresh: () => Promise.resolve({ retryAfter: 60 }) })
    expect(end).toEqual({ attempt: 'put off', credential: REFRESH_TOKEN, ended: [], order: [] })
  })

  const noAccess = new TokenRequestError('no usable access token', {})
  const PUT = 'put another of alice in place of id'
  it.each<[string, object, Answers, unknown, Credential, readonly string[]]>([
    ['by the access token', { access: ACCESS, refreshToken: 'next' }, {}, true, { refreshToken: 'next' }, [PUT, 'end']],
    ['as long as it stays the same', { access: ACCESS }, {}, true, REFRESH_TOKEN, [PUT, 'end']],
    [
      'though the list cannot be written',
      { access: ACCESS, refreshToken: 'next' },
      { put: fails(new StorageError('unavailable')) },
      true,
      { refreshToken: 'next' },
      [PUT, 'end'],
    ],
    [
      'later where Nextcloud does not end it now',
      { access: ACCESS, refreshToken: 'next' },
      { ends: false },
      'failed',
      { refreshToken: 'next' },
      [PUT, 'end'],
    ],
    [
      'later where no access token has come with it',
      { access: noAccess, refreshToken: 'next' },
      {},
      'failed',
      { refreshToken: 'next' },
      [PUT],
    ],
  ])(
    'is the end of what comes for it, noted before in its place: %s',
    async (_, answer, more, outcome, credential, order) => {
      const end = await attempt(REFRESH_TOKEN, { ...more, refresh: () => Promise.resolve(answer) })
      expect(end).toMatchObject({ attempt: outcome, credential, order })
    },
  )
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

  it.each([
    ['alice', { user_id: 'bob' }, 'alice'],
    ['', { user_id: 'bob' }, 'bob'],
    ['', { user_id: 7 }, ''],
    ['', {}, ''],
  ])('notes the refresh token for %j, where the answer names %j, as that of %j', async (subject, members, noted) => {
    const redeem = () => Promise.resolve({ access: ACCESS, members, refreshToken: 'r' })
    const { order } = await attempt(CODE, { redeem, deletion: { identity: { issuer: ISSUER, subject } } })
    expect(order).toEqual([`put another of ${noted} in place of id`, 'end'])
  })
})

describe('the end of a credential that no server here has given', () => {
  const given = (server: object | undefined) => {
    return attemptOnce({ serverOf: () => server } as unknown as CredentialEndRooms, deletionOf(REFRESH_TOKEN))
  }
  it.each<[string, object | undefined]>([
    ['there is none for its issuer', undefined],
    ['it is of another issuer', { issuer: () => 'https://other.example.com' }],
    ['its metadata cannot be had', { issuer: () => Promise.reject(unavailable(true)) }],
  ])('waits: %s', async (_, server) => {
    expect(await given(server)).toMatchObject({ attempt: 'failed', deletion: { credential: REFRESH_TOKEN } })
  })
})

describe('a refresh token whose server may end others with it', () => {
  it.each<[string, () => Promise<boolean>, unknown]>([
    ['is revoked where no connection lives', () => Promise.resolve(false), true],
    ['waits while one lives', () => Promise.resolve(true), 'put off'],
    ['waits while nobody can tell', fails(new StorageError('unavailable')), 'unavailable'],
  ])('%s', async (_, livesByRefreshToken, outcome) => {
    const revoked: string[] = []
    const rooms = {
      endsAlone: false,
      serverOf: () => ({
        issuer: () => ISSUER,
        client: { revoke: (token: string) => Promise.resolve(revoked.push(token) > 0) },
      }),
      grants: { store: { livesByRefreshToken } },
    } as unknown as CredentialEndRooms
    expect((await attemptOnce(rooms, deletionOf(REFRESH_TOKEN))).attempt).toBe(outcome)
    expect(revoked).toEqual(outcome === true ? [REFRESH_TOKEN.refreshToken] : [])
  })
})

describe('the lease that a refresh token waits for', () => {
  it.each<[string, number, unknown, number]>([
    ['is had at once', 0, true, 1],
    ['is had when the renewal under way has ended', 3, true, 4],
    ['is waited for as long as a lease lives', Infinity, 'unavailable', 11],
    ['is not waited for where the store fails', -1, 'unavailable', 1],
  ])('%s', async (_, heldFor, outcome, asked) => {
    const clock = manualClock()
    let times = 0
    const released: unknown[] = []
    const rooms = {
      endsAlone: true,
      clock,
      serverOf: () => ({ issuer: () => ISSUER, client: { refresh: () => Promise.resolve('dead') } }),
      codes: { refreshToEnd: (_of: unknown, send: () => Promise<unknown>) => send() },
      grants: {
        store: { keyOf: () => 'key' },
        leaseLife: 1_000,
        acquireLease: () => {
          times += 1
          if (heldFor < 0) return Promise.reject(new StorageError('unavailable'))
          return Promise.resolve(times > heldFor ? { isHeld: () => true, release: () => Promise.resolve() } : undefined)
        },
        background: (work: unknown) => released.push(work),
      },
    } as unknown as CredentialEndRooms
    expect((await attemptOnce(rooms, deletionOf(REFRESH_TOKEN))).attempt).toBe(outcome)
    expect(times).toBe(asked)
    expect(released).toHaveLength(outcome === true ? 1 : 0)
  })
})

describe('the end of an app password', () => {
  const PASSWORD = { appPassword: { loginName: 'alice', password: 'secret' } }

  /** `place`: whether there is one for a sign-in that may be refused. */
  async function remove(was: { refused: boolean; full?: boolean; place?: boolean; outcome: unknown }) {
    const told: string[] = []
    const rooms = {
      appPasswords: { remove: () => (told.push('sent'), Promise.resolve(was.outcome)) },
      signIns: {
        isFull: () => was.full === true,
        takePlace: () => (was.place === false ? undefined : (refused: boolean) => told.push(`given back ${refused}`)),
        refused: () => told.push('counted'),
      },
    } as unknown as CredentialEndRooms
    return [(await attemptOnce(rooms, deletionOf(PASSWORD, { refused: was.refused }))).attempt, told]
  }

  it.each<[string, Parameters<typeof remove>[0], unknown, readonly string[]]>([
    ['is sent', { refused: false, outcome: true }, true, ['sent']],
    ['counts where it is refused', { refused: false, outcome: 'refused' }, 'refused', ['sent', 'counted']],
    ['waits while many are refused', { refused: false, full: true, outcome: true }, 'failed', []],
    ['stays refused meanwhile', { refused: true, full: true, outcome: true }, 'refused', []],
    ['waits for a place once it was refused', { refused: true, place: false, outcome: true }, 'refused', []],
    ['gives the place back', { refused: true, outcome: true }, true, ['sent', 'given back false']],
    ['counts once in its place', { refused: true, outcome: 'refused' }, 'refused', ['sent', 'given back true']],
  ])('%s', async (_, was, outcome, told) => {
    expect(await remove(was)).toEqual([outcome, told])
  })
})
