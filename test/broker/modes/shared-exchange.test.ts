import { describe, expect, it, vi } from 'vitest'
import { TokenRequestError, type McpAuthEvent, type McpAuthOptions } from '../../../src/index.js'
import { manualClock } from '../../support/clock.js'
import { ENCRYPTION_KEY } from '../../support/grant-constants.js'
import { failureOf, turn, until } from '../../support/promises.js'
import { sharingWorld, tokenOf, type ExchangeMode } from '../../support/sharing.js'
import { holdTokenRequests, LIFE, tokenAnswer, tokenError } from '../../support/token-endpoint.js'

const SECOND = 1_000
const FORCED = { forceRefresh: true }
const MODES: ExchangeMode[] = ['token-exchange', 'jwt-bearer']
const OTHER_KEY = Buffer.from(Array.from({ length: 32 }, (_, index) => 255 - index)).toString('base64url')

const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i))

describe.each(MODES)('instances on one store in %s mode', (mode) => {
  it('exchange once for each user and life, among 4 instances with 50 callers each for 20 users', async () => {
    const { clock, open, mint, exchanged, memory } = await sharingWorld({
      mode,
      options: { http: { timeout: 60_000 } },
    })
    const instances = times(4, () => open())
    const infos = await Promise.all(
      times(20, async (index) => {
        const user = await mint({ sub: `user-${index}` })
        return Promise.all(instances.map((auth) => auth.verify(user)))
      }),
    )
    for (let lives = 1; lives <= 2; lives += 1) {
      const ofUsers = await Promise.all(
        infos.map((ofUser) => Promise.all(ofUser.flatMap(({ extra }) => times(50, () => extra.getNextcloudToken())))),
      )
      const tokens = ofUsers.map((ofUser) => [...new Set(ofUser)])
      expect(tokens.every(({ length }) => length === 1)).toBe(true)
      expect(new Set(tokens.flat()).size).toBe(20)
      expect(exchanged()).toBe(20 * lives)
      // Each turn is given back.
      await vi.waitFor(async () => expect(await memory.list({ limit: 1_000 })).toHaveLength(20))
      clock.advance(LIFE * SECOND)
    }
  })

  it('renew ahead once among them, while the old one serves', async () => {
    const { as, clock, open, mint, exchanged } = await sharingWorld({ mode, options: { cache: { grantCheck: 3_600 } } })
    const instances = times(3, () => open())
    const user = await mint()
    const all = () => Promise.all(instances.map((auth) => tokenOf(auth, user)))
    const [old] = await all()
    clock.advance(275 * SECOND)
    const requests = holdTokenRequests(as)

    expect(await all()).toEqual([old, old, old])
    await requests.arrival()
    expect(await all()).toEqual([old, old, old])
    requests.answer(tokenAnswer('renewed'))

    await vi.waitFor(async () => expect(await all()).toEqual(['renewed', 'renewed', 'renewed']))
    expect(exchanged()).toBe(2)
  })

  it('replace a token that one of them was forced to replace within cache.grantCheck', async () => {
    const { clock, open, mint, exchanged } = await sharingWorld({ mode })
    const [one, other] = [open(), open()]
    const user = await mint()
    const first = await tokenOf(one, user)
    expect(await tokenOf(other, user)).toBe(first)

    const second = await tokenOf(one, user, FORCED)
    expect(second).not.toBe(first)
    clock.advance(10 * SECOND - 1)
    expect(await tokenOf(other, user)).toBe(first)
    clock.advance(1)

    expect(await tokenOf(other, user)).toBe(second)
    expect(exchanged()).toBe(2)
  })

  it('replace a token that Nextcloud refused to one of them', async () => {
    const { nextcloud, open, mint, exchanged } = await sharingWorld({ mode })
    const [one, other] = [open(), open()]
    const user = await mint()
    const first = await tokenOf(one, user)
    await tokenOf(other, user)
    nextcloud.accept((token) => token !== first)

    for (const auth of [one, other]) {
      const answer = await auth.nextcloudFetch(await auth.verify(user), '/ocs/v2.php/cloud/user')
      expect(answer.status).toBe(200)
    }
    expect(exchanged()).toBe(2)
    expect(await tokenOf(open(), user)).toBe(await tokenOf(one, user))
  })
})

it('a forced caller without a token of its own is not given the one that is stored', async () => {
  const { open, mint, exchanged } = await sharingWorld()
  const user = await mint()
  const first = await tokenOf(open(), user)
  await until(() => exchanged() === 1)
  expect(await tokenOf(open(), user, FORCED)).not.toBe(first)
  expect(exchanged()).toBe(2)
})

it('says that a token came from the store, and counts no exchange for it', async () => {
  const { events, open, mint } = await sharingWorld()
  const [one, other] = [open(), open()]
  const user = await mint()
  await tokenOf(one, user)
  await tokenOf(other, user)
  const sources = events.flatMap((event) => (event.type === 'nextcloud.token' ? event.source : []))
  expect(sources).toEqual(['idp', 'store'])
  expect([one, other].map((auth) => auth.stats().exchanges)).toEqual([1, 0])
})

it('a cached token costs one read of the store after cache.grantCheck, and none before', async () => {
  const { calls, clock, open, mint } = await sharingWorld()
  const auth = open()
  const user = await mint()
  await tokenOf(auth, user)
  await vi.waitFor(() => expect(calls.at(-1)?.call).toBe('delete'))
  calls.length = 0

  clock.advance(10 * SECOND - 1)
  await Promise.all(times(20, () => tokenOf(auth, user)))
  expect(calls).toEqual([])
  clock.advance(1)
  await Promise.all(times(20, () => tokenOf(auth, user)))
  await tokenOf(auth, user)
  expect(calls.map(({ call }) => call)).toEqual(['get'])
})

describe('a stored token', () => {
  it.each([
    ['no longer than it lives', LIFE, 24 * 3_600, LIFE],
    ['no longer than the MCP token', LIFE, 100, 100],
    // A store refuses a number that is too large for it, and counts as failing then, for everybody.
    ['for a day, where a server states an absurd life', 1e300, 1e300, 24 * 3_600],
  ])('is kept %s', async (_name, life, mcpLife, expected) => {
    const { as, calls, clock, open, mint } = await sharingWorld()
    as.script('/token', tokenAnswer('token', { expires_in: life }))
    await tokenOf(open(), await mint({ exp: Math.floor(clock.now() / SECOND) + mcpLife }))
    await vi.waitFor(() => expect(calls.at(-1)?.call).toBe('delete'))
    expect(calls.flatMap(({ call, ttlMs }) => (call === 'put' ? ttlMs : []))).toEqual([5_000, expected * SECOND])
  })

  it('that must not be kept is not stored', async () => {
    const { as, memory, open, mint } = await sharingWorld()
    as.script('/token', tokenAnswer('token', { expires_in: 0 }))
    await tokenOf(open(), await mint())
    await vi.waitFor(async () => expect(await memory.list({ limit: 10 })).toEqual([]))
  })

  const CONFIGURED: [string, McpAuthOptions][] = [
    ['another Nextcloud', { nextcloud: { url: 'https://other.example.com' } }],
    ['another resource', { resource: 'https://mcp.example.com/other', audience: ['https://mcp.example.com/mcp'] }],
    ['another audience', { nextcloud: { audience: 'other' } }],
    ['another RFC 8707 resource', { nextcloud: { resource: ['https://cloud.example.com'] } }],
    ['other scopes', { nextcloud: { scopes: ['files'] } }],
    ['other parameters', { nextcloud: { parameters: { tenant: 'other' } } }],
    ['another mode', { nextcloud: { mode: 'jwt-bearer' } }],
    ['another client', { clientId: 'other-server' }],
  ]
  it.each(CONFIGURED)(
    'is not for an instance with %s, and that one’s is not for the others',
    async (_name, options) => {
      const { open, mint, exchanged } = await sharingWorld()
      const user = await mint()
      const tokens = []
      for (const more of [{}, options, {}, options]) tokens.push(await tokenOf(open(more), user))
      const [first, second] = tokens
      expect(first).not.toBe(second)
      expect(tokens).toEqual([first, second, first, second])
      expect(exchanged()).toBe(2)
    },
  )

  it('is for one MCP token of one user, and the audience and scopes of one call', async () => {
    const { open, mint, exchanged } = await sharingWorld()
    const auths = [open(), open()]
    const users = [await mint(), await mint({ jti: 'another' }), await mint({ sub: 'bob' })]
    const asked = [{}, { audience: 'files' }, { scopes: ['files'] }]
    const tokens = []
    for (const auth of auths)
      for (const user of users) for (const options of asked) tokens.push(await tokenOf(auth, user, options))
    expect(new Set(tokens).size).toBe(9)
    expect(tokens.slice(9)).toEqual(tokens.slice(0, 9))
    expect(exchanged()).toBe(9)
  })
})

describe('an exchange that fails', () => {
  it('is not stored: each instance asks for itself, and gets the refusal', async () => {
    const { as, memory, open, mint, exchanged } = await sharingWorld()
    as.script('/token', tokenError('invalid_target'))
    const [one, other] = [open(), open()]
    const user = await mint()
    for (const auth of [one, one, other]) expect(await failureOf(tokenOf(auth, user))).toBeInstanceOf(TokenRequestError)
    // The second call of the same instance is told again.
    expect(exchanged()).toBe(2)
    await vi.waitFor(async () => expect(await memory.list({ limit: 10 })).toEqual([]))
  })

  it('leaves the turn to an instance that waits', async () => {
    const { as, open, mint, exchanged } = await sharingWorld()
    const requests = holdTokenRequests(as)
    const user = await mint()
    const first = failureOf(tokenOf(open(), user))
    await requests.arrival()
    const second = tokenOf(open(), user)
    await turn()
    as.script('/token', tokenAnswer('second'))
    requests.answer(tokenError('invalid_target'))
    expect(await first).toBeInstanceOf(TokenRequestError)
    expect(await second).toBe('second')
    expect(exchanged()).toBe(2)
  })
})

it('an instance that was killed with the turn holds up the others for 5 s', async () => {
  // The clock goes on while somebody waits.
  const { as, clock, open, mint, exchanged, storage } = await sharingWorld({ clock: manualClock() })
  const requests = holdTokenRequests(as)
  const user = await mint()
  let dead = false
  const dying = {
    ...storage,
    put: (...args: Parameters<typeof storage.put>) => (dead ? never() : storage.put(...args)),
  }
  const killed = tokenOf(open({ storage: dying }), user)
  await requests.arrival()
  dead = true
  as.script('/token', tokenAnswer('second'))

  const before = clock.monotonic()
  expect(await tokenOf(open(), user)).toBe('second')
  expect(clock.monotonic() - before).toBeGreaterThanOrEqual(5 * SECOND)
  expect(clock.monotonic() - before).toBeLessThan(5.8 * SECOND)
  expect(exchanged()).toBe(2)
  // It was stopped, and goes on.
  dead = false
  requests.answer(tokenAnswer('late'))
  expect(await killed).toBe('late')
  expect(await tokenOf(open(), user)).toBe('second')
})

it('one that lives keeps the turn for as long as the exchange takes', async () => {
  const { as, clock, open, mint, exchanged } = await sharingWorld()
  const requests = holdTokenRequests(as)
  const user = await mint()
  const calls = [tokenOf(open(), user)]
  await requests.arrival()
  calls.push(tokenOf(open(), user))
  for (let seconds = 0; seconds < 4; seconds += 1) {
    clock.advance(SECOND)
    await turn()
  }
  requests.answer(tokenAnswer('slow'))
  expect(await Promise.all(calls)).toEqual(['slow', 'slow'])
  expect(exchanged()).toBe(1)
})

describe('a rolling change of keys', () => {
  const OLD = { encryptionKey: ENCRYPTION_KEY }
  const BOTH = { encryptionKey: [ENCRYPTION_KEY, OTHER_KEY] }
  const NEW = { encryptionKey: [OTHER_KEY, ENCRYPTION_KEY] }

  it('costs nothing where each key is known before it seals', async () => {
    const { open, mint, exchanged } = await sharingWorld()
    const user = await mint()
    const tokens = []
    for (const keys of [OLD, BOTH, NEW, BOTH, NEW]) tokens.push(await tokenOf(open(keys), user))
    expect(new Set(tokens).size).toBe(1)
    expect(exchanged()).toBe(1)
  })

  it('costs an exchange where an instance does not know the new key, and no call', async () => {
    const { clock, open, mint, exchanged } = await sharingWorld()
    const user = await mint()
    const [fresh, old] = [open(NEW), open(OLD)]
    const first = await tokenOf(fresh, user)
    clock.advance(1)
    const second = await tokenOf(old, user)
    expect(second).not.toBe(first)
    clock.advance(10 * SECOND)
    expect([await tokenOf(fresh, user), await tokenOf(old, user)]).toEqual([second, second])
    clock.advance(10 * SECOND)
    expect([await tokenOf(fresh, user), await tokenOf(old, user)]).toEqual([second, second])
    expect(exchanged()).toBe(2)
  })

  it('is told of at most once an hour where instances know none of each other’s keys', async () => {
    const { clock, open, mint } = await sharingWorld({ options: { cache: { grantCheck: 3_600 } } })
    const warnings: unknown[] = []
    const onEvent = (event: McpAuthEvent) => event.type === 'config.warning' && warnings.push({ ...event, at: 0 })
    const one = open(OLD)
    const other = open({ encryptionKey: OTHER_KEY, onEvent })
    const met = async (sub: string) => {
      const user = await mint({ sub })
      await tokenOf(one, user)
      await tokenOf(other, user)
    }
    const warning = {
      at: 0,
      type: 'config.warning',
      option: 'encryptionKey',
      message:
        'an exchanged token in the storage is sealed with none of the keys given, so that instances exchange for themselves: let encryptionKey (environment variable TOKEN_ENCRYPTION_KEY) hold the same keys in all of them',
    }

    await met('alice')
    await met('bob')
    expect(warnings).toEqual([warning])
    clock.advance(3_600 * SECOND - 1)
    await met('carol')
    expect(warnings).toEqual([warning])
    clock.advance(1)
    await met('dave')
    expect(warnings).toEqual([warning, warning])
  })
})

const never = (): Promise<never> => new Promise(() => undefined)

it('a token for an MCP token that is over within the tolerance is not shared', async () => {
  const { clock, open, mint, calls } = await sharingWorld({ options: { clockTolerance: 60 } })
  const auth = open()
  const info = await auth.verify(await mint({ exp: clock.now() / 1_000 + 10 }))
  clock.advance(11 * SECOND)

  expect(await auth.getNextcloudToken(info)).toEqual(expect.any(String))

  expect(calls.filter(({ call, ttlMs = 1 }) => call === 'put' && ttlMs <= 0)).toEqual([])
})

it('a shared token stays in place of one that is sealed with a key that is not known here', async () => {
  const { clock, open, mint, exchanged, memory } = await sharingWorld()
  const [one, other] = [open(), open({ encryptionKey: OTHER_KEY })]
  const user = await mint()
  const tokens = [await tokenOf(one, user), await tokenOf(other, user)]
  await vi.waitFor(async () => expect(await memory.list({ limit: 10 })).toHaveLength(1))
  const [key = ''] = await memory.list({ limit: 10 })
  const record = await memory.get(key)

  clock.advance(10 * SECOND)

  expect([await tokenOf(one, user), await tokenOf(other, user)]).toEqual(tokens)
  expect(exchanged()).toBe(2)
  await Promise.all([one.close(), other.close()])
  expect(await memory.get(key)).toEqual(record)
})

it('close() waits until the turn is given back', async () => {
  const { open, mint, memory, tampering } = await sharingWorld()
  tampering.delete = async (key, expected, remove) => {
    for (let turns = 0; turns < 5; turns += 1) await turn()
    return remove(key, expected)
  }
  const auth = open()
  await tokenOf(auth, await mint())
  expect(await memory.list({ limit: 10 })).toHaveLength(2)

  await auth.close()

  expect(await memory.list({ limit: 10 })).toHaveLength(1)
})
