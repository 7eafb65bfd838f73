import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { expectRefusal } from '../support/expect-refusal.js'
import { CLIENT_ID, CLIENT_SECRET, signingKey, type SigningKey } from '../support/scripted-authorization-server.js'
import { failureOf, until } from '../support/promises.js'
import { world, type World } from '../support/world.js'

// The end of a key, and the beginning of another: bounded, told, and at once by refreshKeys().

let clock: World['clock']
let as: World['as']
let open: World['open']
let close: World['close']

beforeEach(async () => {
  ;({ clock, as, open, close } = await world({ mode: 'none' }))
})
afterEach(() => close())

const fetches = (): number => as.received('/jwks').length
const now = (): number => Math.floor(clock.now() / 1_000)
const seconds = (count: number): void => clock.advance(count * 1_000)
/** A token of Alice's that outlives every test, by the first key unless another is named. */
const token = (key: SigningKey = as.key, claims: object = {}): Promise<string> =>
  as.mint({ exp: now() + 1e6, ...claims }, { key })
/** Publishes these keys and no others. */
const publish = (...keys: SigningKey[]): void =>
  void as.keys.splice(0, as.keys.length, ...keys.map((key) => key.publicJwk))
const isDown = (): void => as.script('/jwks', { status: 500 })

describe('a key that was withdrawn', () => {
  it.each([600, 30])(
    'verifies tokens, new ones and known ones, for %d s after its last set and no longer',
    async (most) => {
      const auth = open(most === 600 ? {} : { cache: { keysMaxAge: most } })
      const known = await token()
      await auth.verify(known)
      publish(await signingKey('second'))
      seconds(most - 1)
      const late = await token()

      await auth.verify(late)
      await auth.verify(known)
      expect(fetches()).toBe(1)
      clock.advance(1_001)

      await expectRefusal(auth, late, 'key')
      await expectRefusal(auth, known, 'key')
    },
  )

  it('verifies nothing from the first set without it on, whatever that was fetched for', async () => {
    const auth = open()
    const second = await signingKey('second')
    const known = await token()
    await auth.verify(known)
    publish(second)

    await auth.verify(await token(second))

    await expectRefusal(auth, known, 'key')
  })

  it('takes no other key’s tokens along: they are known when a set has been fetched again', async () => {
    const auth = open({ cache: { verifiedTtl: 3_600 } })
    const known = await token()
    await auth.verify(known)
    publish(as.key, await signingKey('second'))
    seconds(601)
    await auth.verify(await token())
    const hits = auth.stats().verifiedCacheHits

    await auth.verify(known)

    expect(auth.stats().verifiedCacheHits).toBe(hits + 1)
    expect(fetches()).toBe(2)
  })

  it('is trusted for staleKeys more while the key set cannot be fetched, and its known tokens are', async () => {
    const auth = open({ cache: { staleKeys: 100, verifiedTtl: 3_600 } })
    const known = await token()
    await auth.verify(known)
    isDown()
    seconds(650)
    await auth.verify(await token())
    const hits = auth.stats().verifiedCacheHits

    await auth.verify(known)
    expect(auth.stats().verifiedCacheHits).toBe(hits + 1)
    seconds(51)

    await expect(auth.verify(known)).rejects.toThrow(UpstreamUnavailableError)
  })

  it('says nothing about tokens that were introspected', async () => {
    const auth = open({
      introspection: 'always',
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      cache: { keysMaxAge: 1 },
    })
    as.script('/introspect', {
      json: { active: true, sub: 'alice', aud: 'https://mcp.example.com/mcp', exp: now() + 900 },
    })
    await auth.verify('opaque')
    seconds(100)

    await auth.verify('opaque')

    expect(as.received('/introspect')).toHaveLength(1)
    expect(fetches()).toBe(0)
  })
})

describe('refreshKeys()', () => {
  it('ends a withdrawn key and all that it has signed, at once', async () => {
    const auth = open()
    const known = await token()
    await auth.verify(known)
    const second = await signingKey('second')
    publish(second)

    await auth.refreshKeys()

    expect(auth.stats().sizes.verifiedTokens).toBe(0)
    await expectRefusal(auth, known, 'key')
    await auth.verify(await token(second))
  })

  it('ends tokens that were introspected, too', async () => {
    const auth = open({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET })
    const answer = { sub: 'alice', aud: 'https://mcp.example.com/mcp', exp: now() + 900 }
    as.script('/introspect', { json: { active: true, ...answer } }, { json: { active: false } })
    await auth.verify('opaque')

    await auth.refreshKeys()

    await expectRefusal(auth, 'opaque', 'inactive')
  })

  it('rejects when they cannot be fetched, and no token is good before they can', async () => {
    const auth = open()
    const known = await token()
    await auth.verify(known)
    isDown()

    await expect(auth.refreshKeys()).rejects.toThrow(UpstreamUnavailableError)
    await expect(auth.verify(known)).rejects.toThrow(UpstreamUnavailableError)
    as.script('/jwks')
    seconds(60)
    expect((await auth.verify(known)).subject).toBe('alice')
  })

  it('lets nobody join a verification that began before it, and refuses whom it was for', async () => {
    let goOn: (() => void) | undefined
    const auth = open({ validateClaims: () => new Promise<boolean>((resolve) => (goOn = () => resolve(true))) })
    const known = await token()
    const before = failureOf(auth.verify(known))
    await until(() => goOn !== undefined)
    publish(await signingKey('second'))

    await auth.refreshKeys()
    const after = expectRefusal(auth, known, 'key')
    goOn?.()

    expect(await before).toMatchObject({ status: 401, reason: 'key' })
    await after
  })

  it('keeps nothing of a fetch that was under way', async () => {
    const auth = open()
    const known = await token()
    const old = [...as.keys]
    let answerOld = (): void => undefined
    as.script('/jwks', (_request, res) => {
      answerOld = () => void res.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: old }))
    })
    const verifying = auth.verify(known)
    await until(() => fetches() === 1)
    as.script('/jwks')
    publish(await signingKey('second'))

    await auth.refreshKeys()
    answerOld()
    await verifying.catch(() => undefined)

    await expectRefusal(auth, known, 'key')
  })
})

describe('a key that was replaced under its own kid', () => {
  it('is found by the first token of the new one', async () => {
    const auth = open()
    await auth.verify(await token())
    const another = await signingKey(as.key.kid)
    publish(another)

    expect((await auth.verify(await token(another))).subject).toBe('alice')
    expect(fetches()).toBe(2)
  })

  it('ends the tokens of the old one', async () => {
    const auth = open()
    const known = await token()
    await auth.verify(known)
    const another = await signingKey(as.key.kid)
    publish(another)
    await auth.verify(await token(another))

    await expectRefusal(auth, known, 'signature')
  })

  it('costs strangers’ forged tokens two looks, and then one in ten seconds', async () => {
    const auth = open()
    const forger = await signingKey(as.key.kid)
    for (let round = 0; round < 10; round += 1) await expectRefusal(auth, await token(forger), 'signature')
    expect(fetches()).toBe(3)
    seconds(10)
    for (let round = 0; round < 10; round += 1) await expectRefusal(auth, await token(forger), 'signature')
    expect(fetches()).toBe(4)
  })

  it('makes no outage of a forged token while the set cannot be fetched', async () => {
    const auth = open()
    await auth.verify(await token())
    isDown()

    await expectRefusal(auth, await token(await signingKey(as.key.kid)), 'signature')
  })
})

/** Has a fetch of the keys as they are now under way, and returns what ends it. */
async function fetchUnderWay(auth: ReturnType<typeof open>, stranger: string): Promise<() => Promise<unknown>> {
  const published = { json: { keys: [...as.keys] } }
  let answer = (): void => undefined
  const asked = new Promise<void>((resolve) => {
    as.script(
      '/jwks',
      (_request, res) => {
        answer = () => void res.setHeader('content-type', 'application/json').end(JSON.stringify(published.json))
        resolve()
      },
      (_request, res) => void res.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: as.keys })),
    )
  })
  const refused = expectRefusal(auth, stranger, 'key')
  await asked
  return () => {
    answer()
    return refused
  }
}

describe('a fetch that began before a key was published', () => {
  it.each(['new', 'replaced under its kid'])('speaks against no token of a key that is %s', async (how) => {
    const auth = open()
    await auth.verify(await token())
    const answer = await fetchUnderWay(auth, await token(await signingKey('invented')))
    const other = await signingKey(how === 'new' ? 'second' : as.key.kid)
    publish(other)
    const verified = auth.verify(await token(other))
    // A signature is verified in real time, before anything is looked for.
    await sleep(200)
    await answer()

    expect((await verified).subject).toBe('alice')
    expect(fetches()).toBe(3)
  })
})

describe('a new key', () => {
  it('is found though a stranger’s kid was looked up just before', async () => {
    const auth = open()
    await expectRefusal(auth, await token(await signingKey('invented')), 'key')
    const second = await signingKey('second')
    publish(as.key, second)

    expect((await auth.verify(await token(second))).subject).toBe('alice')
  })

  it.each<[when: string, later: number, slow: number]>([
    ['just now', 0, 0],
    ['2 s ago', 2, 0],
    ['just now, by a clock that is 5 s slow', 0, 5],
    ['2 s ago, by a clock that is 5 s slow', 2, 5],
  ])('is a shortage, and no bad token, when strangers have used up the looks %s', async (_when, later, slow) => {
    const auth = open()
    for (let round = 0; round < 5; round += 1)
      await expectRefusal(auth, await token(await signingKey(`invented-${round}`), { iat: now() - 60 }), 'key')
    seconds(later)
    const second = await signingKey('second')
    publish(as.key, second)
    const good = await token(second, { iat: now() - slow })

    await expect(auth.verify(good)).rejects.toThrow(UpstreamUnavailableError)
    seconds(10 - later)
    expect((await auth.verify(good)).subject).toBe('alice')
  })

  it('has not signed what the last look was made for', async () => {
    const auth = open()
    const stranger = await token(await signingKey('invented'), { iat: now() })
    for (let round = 0; round < 5; round += 1) await expectRefusal(auth, stranger, 'key')
    expect(fetches()).toBe(3)
  })

  it('has not signed what the last look was made for, however many tokens were before it', async () => {
    const auth = open()
    const forger = await signingKey('invented')
    const many = await Promise.all(Array.from({ length: 200 }, (_, at) => token(forger, { jti: `${at}` })))
    await Promise.all(many.map((stranger) => expectRefusal(auth, stranger, 'key')))
    seconds(10)
    const stranger = await token(await signingKey('another'), { iat: now() })
    for (let round = 0; round < 5; round += 1) await expectRefusal(auth, stranger, 'key')
  })

  it('may have signed what is one of more than a hundred tokens of the last look, since no more are remembered', async () => {
    const auth = open()
    const forger = await signingKey('invented')
    const many = await Promise.all(
      Array.from({ length: 120 }, (_, at) => token(forger, { jti: `${at}`, iat: now() + 1 })),
    )
    const refusals = async (): Promise<string> => {
      const ends = await Promise.allSettled(many.map((stranger) => auth.verify(stranger)))
      const codes = ends.map((end) => (end.status === 'rejected' ? (end.reason as { status: number }).status : 200))
      return [401, 503].map((status) => codes.filter((code) => code === status).length).join(' and ')
    }

    expect([await refusals(), await refusals(), await refusals()]).toEqual(['120 and 0', '120 and 0', '100 and 20'])
  })

  it.each([5, null, '', '\n', 'a\0b'])('has a name that an issuer may give: %j is not looked for', async (kid) => {
    const auth = open()
    await auth.ready()
    const { privateKey, publicJwk, alg } = await signingKey('none')
    const odd = await token({ privateKey, publicJwk, alg, kid: kid as string })
    await expectRefusal(auth, odd, 'key')
    expect(fetches()).toBe(1)
  })

  it('is none that is known, by an algorithm that it is not for', async () => {
    const auth = open()
    const { privateKey, publicJwk } = await signingKey('rsa', 'RS256')
    for (let round = 0; round < 5; round += 1) {
      const odd = await token({ alg: 'RS256', kid: as.key.kid, privateKey, publicJwk }, { iat: now(), jti: `${round}` })
      await expectRefusal(auth, odd, 'key')
    }
  })

  it('is found though forged tokens of a known kid have used up their looks', async () => {
    const auth = open()
    const forger = await signingKey(as.key.kid)
    for (let round = 0; round < 3; round += 1) await expectRefusal(auth, await token(forger), 'signature')
    const second = await signingKey('second')
    publish(as.key, second)

    expect((await auth.verify(await token(second))).subject).toBe('alice')
  })

  it('has not signed what was issued before the last look without it', async () => {
    const auth = open()
    const old = await token(await signingKey('gone'), { iat: now() })
    seconds(6)
    for (let round = 0; round < 2; round += 1)
      await expectRefusal(auth, await token(await signingKey(`invented-${round}`)), 'key')

    await expectRefusal(auth, old, 'key')
    expect(fetches()).toBe(3)
  })
})
