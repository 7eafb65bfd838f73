import { exportJWK, importJWK } from 'jose'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { signingKey, type ScriptedAnswer } from '../support/scripted-authorization-server.js'
import { expectRefusal } from '../support/expect-refusal.js'
import { world, type World } from '../support/world.js'

let bed: World
let clock: World['clock']
let as: World['as']

beforeEach(async () => {
  bed = await world({ mode: 'none' })
  ;({ clock, as } = bed)
})
afterEach(() => bed.close())

/** A middleware that looks at every token anew and tries everything once, so that what it asks can be counted. */
function open(options: McpAuthOptions = {}): McpAuth {
  return bed.open({ ...options, cache: { verifiedTokens: 0, ...options.cache }, http: { retries: 0 } })
}

/** A token that outlives every test. */
const longLived = (kid = as.key.kid, claims: object = {}): Promise<string> =>
  as.mint({ exp: clock.now() / 1_000 + 1e6, ...claims }, { header: { kid } })

/** Expects an outage: never a word about the token. How long it lasts is proved in test/transport. */
async function expectOutage(verification: Promise<unknown>): Promise<void> {
  await expect(verification).rejects.toEqual(
    expect.objectContaining({
      status: 503,
      body: { error: 'temporarily_unavailable', error_description: 'The authorization server is not available' },
      headers: {
        'Cache-Control': 'no-store',
        'Retry-After': expect.stringMatching(/^[1-9]\d*$/) as string,
      },
    }),
  )
}

const fetches = (): number => as.received('/jwks').length
const minutes = (count: number): number => count * 60_000

describe('the key set', () => {
  it('is not fetched before it is needed, and then once', async () => {
    const auth = open()
    expect(as.received()).toEqual([])

    await auth.verify(await as.mint())
    await auth.verify(await as.mint({ sub: 'bob' }))

    expect(as.received().map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /.well-known/openid-configuration',
      'GET /jwks',
    ])
  })

  it('is fetched once for any number of first verifications at the same time', async () => {
    const auth = open()
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, index) => as.mint({ sub: `user-${index}` })))

    const infos = await Promise.all(tokens.map((token) => auth.verify(token)))

    expect(infos.map(({ subject }) => subject)).toEqual(tokens.map((_, index) => `user-${index}`))
    expect(fetches()).toBe(1)
  })

  it('is asked for again when the first attempt fails', async () => {
    as.script('/jwks', { status: 500 }, { text: '<html>' }, { json: { keys: as.keys } })

    expect((await bed.open().verify(await as.mint())).subject).toBe('alice')
    expect(clock.pauses).toEqual([100, 200])
  })

  it('is fetched by ready(), and not twice', async () => {
    const auth = open()
    await auth.ready()
    await auth.ready()
    await auth.verify(await as.mint())

    expect(fetches()).toBe(1)
  })

  it('is used for ten minutes, and then no longer with a key that was withdrawn', async () => {
    const token = await longLived()
    const auth = open()
    await auth.verify(token)
    as.keys.splice(0, 1, (await signingKey('second')).publicJwk)

    clock.advance(minutes(10))
    expect((await auth.verify(token)).subject).toBe('alice')
    expect(fetches()).toBe(1)
    clock.advance(1)
    await expectRefusal(auth, token, 'key')
  })

  it('may have another key under the same kid after ten minutes, and then only that one counts', async () => {
    const token = await longLived()
    const auth = open()
    await auth.verify(token)
    const another = await signingKey(as.key.kid)
    as.keys.splice(0, 1, another.publicJwk)
    clock.advance(minutes(10) + 1)

    await expectRefusal(auth, token, 'signature')
    expect((await auth.verify(await as.mint({ sub: 'bob' }, { key: another }))).subject).toBe('bob')
  })

  it('may have one key for several algorithms, each of which it is asked for', async () => {
    const key = await signingKey('for both', 'RS256')
    const publicJwk = { ...key.publicJwk }
    delete publicJwk.alg
    as.keys.push(publicJwk)
    const privateJwk = await exportJWK(key.privateKey)
    const auth = open()
    for (const alg of ['RS256', 'PS256', 'RS256', 'PS256']) {
      const privateKey = (await importJWK(privateJwk, alg)) as typeof key.privateKey
      const token = await as.mint({ sub: alg }, { key: { ...key, alg, privateKey } })
      expect((await auth.verify(token)).subject).toBe(alg)
    }
  })
})

describe('a kid that is not in the key set', () => {
  it('is looked for at once, so that a new key works from its first token on', async () => {
    const auth = open()
    await auth.verify(await as.mint())
    const key = await signingKey('second')
    as.keys.push(key.publicJwk)

    expect((await auth.verify(await as.mint({ sub: 'bob' }, { key }))).subject).toBe('bob')
    expect((await auth.verify(await as.mint())).subject).toBe('alice')
    expect(fetches()).toBe(2)
  })

  it('and is not published either is a bad token', async () => {
    await expectRefusal(open(), await longLived('unknown'), 'key')
  })

  it('costs at most two fetches at once, and then one in ten seconds, however many are invented', async () => {
    const auth = open()
    await auth.ready()
    const flood = async (): Promise<number> => {
      for (let round = 0; round < 3; round += 1) {
        const invented = Array.from({ length: 10 }, (_, index) =>
          longLived(`invented-${round}-${index}`, { iat: clock.now() / 1_000 - 60 }),
        )
        await Promise.all(invented.map(async (token) => expectRefusal(auth, await token, 'key')))
      }
      return fetches()
    }

    expect(await flood()).toBe(3)
    clock.advance(9_999)
    expect(fetches()).toBe(3)
    clock.advance(1)
    expect(await flood()).toBe(4)
  })

  it('is an outage while the key set cannot be fetched, and known keys serve on', async () => {
    const auth = open()
    await auth.ready()
    await as.stop()

    await expectOutage(auth.verify(await longLived('unknown')))
    await expectOutage(auth.verify(await longLived('unknown')))
    expect((await auth.verify(await longLived())).subject).toBe('alice')
  })

  it('works as soon as an outage is over', async () => {
    const auth = open()
    await auth.ready()
    const key = await signingKey('second')
    as.script('/jwks', { status: 500 }, { json: { keys: [as.key.publicJwk, key.publicJwk] } })
    const token = await as.mint({}, { key })
    await expectOutage(auth.verify(token))
    clock.advance(1_000)

    expect((await auth.verify(token)).subject).toBe('alice')
  })
})

describe('in an outage', () => {
  it.each([3_600, 0, 30])(
    'known keys serve for staleKeys (%i s) after the ten minutes, and not longer',
    async (staleKeys) => {
      const auth = open(staleKeys === 3_600 ? {} : { cache: { staleKeys } })
      const token = await longLived()
      await auth.verify(token)
      as.script('/jwks', { status: 503 })

      clock.advance(minutes(10) + staleKeys * 1_000)
      expect((await auth.verify(token)).subject).toBe('alice')
      await expectRefusal(auth, await as.mint({}, { key: await signingKey('first') }), 'signature')
      clock.advance(1)
      await expectOutage(auth.verify(token))
      await expectOutage(auth.verify(token))
    },
  )

  it('old keys serve without asking again before the cool-down is over', async () => {
    const auth = open()
    await auth.ready()
    const token = await longLived()
    as.script('/jwks', { status: 503 })
    clock.advance(minutes(11))
    const served = async (): Promise<number> => {
      for (let count = 0; count < 5; count += 1) await auth.verify(token)
      return fetches()
    }

    expect(await served()).toBe(2)
    clock.advance(999)
    expect(await served()).toBe(2)
    clock.advance(1)
    expect(await served()).toBe(3)
  })

  it('nobody waits for a server that is known to be away', async () => {
    const auth = open()
    await auth.ready()
    const token = await longLived()
    as.script('/jwks', { status: 503 }, () => new Promise(() => undefined))
    clock.advance(minutes(11))
    await auth.verify(token)
    clock.advance(1_000)

    expect((await auth.verify(token)).subject).toBe('alice')
    await vi.waitFor(() => expect(fetches()).toBe(3))
  }, 2_000)

  it('old keys are replaced as soon as the server is back', async () => {
    const auth = open()
    await auth.ready()
    const token = await longLived()
    as.script('/jwks', { status: 503 }, { json: { keys: [(await signingKey('second')).publicJwk] } })
    clock.advance(minutes(11))
    await auth.verify(token)
    clock.advance(1_000)
    // The keys may come while it is verified.
    await auth.verify(token).catch(() => undefined)

    await vi.waitFor(() => expectRefusal(auth, token, 'key'))
  })

  it('ready() rejects', async () => {
    await as.stop()

    await expectOutage(open().ready())
  })
})

const PRIVATE_KEY = await exportJWK((await signingKey('first')).privateKey)

describe('a key set that is', () => {
  const wrongPoint = { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA' }

  it.each<[name: string, answer: ScriptedAnswer]>([
    ['not JSON', { text: '<html>' }],
    ['empty', { text: '' }],
    ['not an object', { json: [] }],
    ['null', { json: null }],
    ['an object without keys', { json: {} }],
    ['an object whose keys are no list', { json: { keys: 'first' } }],
    ['a list of something else', { json: { keys: ['first'] } }],
    ['not found', { status: 404, json: { keys: [wrongPoint] } }],
    ['without content', { status: 204, text: '' }],
    ['created', { status: 201, json: { keys: [wrongPoint] } }],
    ['a redirect', { status: 302, headers: { location: '/jwks2' } }],
    ['in error', { status: 400 }],
    ['malformed where the key of the token should be', { json: { keys: [{ ...wrongPoint, kid: 'first' }] } }],
    ['of no key at all, as of a server that is not ready', { json: { keys: [] } }],
  ])('%s, is an outage', async (_name, answer) => {
    as.script('/jwks', answer)

    await expectOutage(open().verify(await as.mint()))
  })

  it.each<[what: string, members: object]>([
    ['made of private keys', PRIVATE_KEY],
    ['without half of the coordinates', { y: undefined }],
    ['with a coordinate that is a number', { x: 5 }],
  ])('%s, is an outage', async (_what, members) => {
    as.script('/jwks', { json: { keys: [{ ...as.key.publicJwk, ...members }] } })

    await expectOutage(open().verify(await as.mint()))
  })

  it('of more than a hundred keys, is an outage, and says so to the operator', async () => {
    const auth = open()
    const keys = Array.from({ length: 99 }, (_, at) => ({ ...as.key.publicJwk, kid: `other-${at}` }))
    as.script('/jwks', { json: { keys: [as.key.publicJwk, ...keys, wrongPoint] } })

    await expect(auth.verify(await as.mint())).rejects.toMatchObject({
      code: 'ERR_UPSTREAM_UNAVAILABLE',
      detail: expect.stringMatching(/\/jwks answered with a JWKS of 101 keys, and no more than 100 are read/) as string,
    })
    clock.advance(minutes(1))
    as.script('/jwks', { json: { keys: [as.key.publicJwk, ...keys] } })
    expect((await auth.verify(await as.mint())).subject).toBe('alice')
  })

  it('malformed elsewhere, serves with the rest', async () => {
    as.keys.push({ ...wrongPoint, kid: 'second' }, { kty: 'unheard-of', kid: 'third' })

    expect((await open().verify(await as.mint())).subject).toBe('alice')
  })
})
