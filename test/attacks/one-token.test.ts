import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { expectRefusal } from '../support/expect-refusal.js'
import { CLIENT_ID, CLIENT_SECRET, signingKey, type SigningKey } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'

// One token has one spelling, one entry and one exchange (RFC 7515 §2, RFC 4648 §3.5).

let as: World['as']
let open: World['open']
let close: World['close']

beforeEach(async () => {
  ;({ as, open, close } = await world({ mode: 'token-exchange' }))
})
afterEach(() => close())

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** The orders of the curves (SEC 2, sections 2.4.2, 2.5.1 and 2.6.1), by the algorithm that uses it. */
const ORDERS = {
  ES256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  ES384: BigInt(`0x${'f'.repeat(48)}c7634d81f4372ddf581a0db248b0a77aecec196accc52973`),
  ES512: BigInt(`0x1${'f'.repeat(65)}a51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409`),
}

async function tokenBy(alg: string): Promise<string> {
  const key: SigningKey = await signingKey(`of-${alg}`, alg)
  as.keys.push(key.publicJwk)
  return as.mint({}, { key })
}

/** The other spellings of the last character that decode to the same bytes. */
function otherSpellings(token: string): string[] {
  const unused = { 0: 0, 2: 4, 3: 2 }[(token.length - token.lastIndexOf('.') - 1) % 4] ?? expect.unreachable()
  const last = ALPHABET.indexOf(token.slice(-1))
  return [...Array(2 ** unused).keys()].slice(1).map((bits) => token.slice(0, -1) + ALPHABET.charAt(last + bits))
}

/** The same signature with n−s in place of s. */
function otherForm(token: string, order: bigint): string {
  const dot = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(dot + 1), 'base64url')
  const half = signature.length / 2
  const s = order - BigInt(`0x${signature.subarray(half).toString('hex')}`)
  const other = Buffer.from(s.toString(16).padStart(half * 2, '0'), 'hex')
  return `${token.slice(0, dot)}.${Buffer.concat([signature.subarray(0, half), other]).toString('base64url')}`
}

describe('a signature by', () => {
  it.each(['RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA'])('%s is good in one spelling alone', async (alg) => {
    const auth = open()
    const token = await tokenBy(alg)
    const spellings = [...otherSpellings(token), `${token}=`, `${token}==`]

    for (const spelling of spellings) await expectRefusal(auth, spelling, 'malformed')
    expect((await auth.verify(token)).subject).toBe('alice')
    expect(auth.stats().sizes.verifiedTokens).toBe(1)
  })

  it('any algorithm is refused in the alphabet of base64', async () => {
    const auth = open()
    let token = await as.mint()
    for (let tries = 0; tries < 64 && !/[-_][\w-]*$/.test(token.split('.')[2] ?? ''); tries += 1)
      token = await as.mint()
    const [head, payload, signature = ''] = token.split('.')

    await expectRefusal(auth, `${head}.${payload}.${signature.replaceAll('-', '+').replaceAll('_', '/')}`, 'malformed')
  })

  it('any algorithm has one spelling where the authorization server is asked, too', async () => {
    const auth = open({ introspection: 'always', clientId: CLIENT_ID, clientSecret: CLIENT_SECRET })
    const token = await as.mint()

    for (const spelling of otherSpellings(token)) await expectRefusal(auth, spelling, 'malformed')
    expect(as.received('/introspect')).toEqual([])
  })
})

describe('an ECDSA token in its second form', () => {
  it.each(['ES256', 'ES384', 'ES512'] as const)('is no second token: %s', async (alg) => {
    const auth = open()
    const token = await tokenBy(alg)
    const other = otherForm(token, ORDERS[alg])

    const infos = await Promise.all([auth.verify(token), auth.verify(other)])
    await Promise.all(infos.map((info) => auth.getNextcloudToken(info)))
    await auth.getNextcloudToken(await auth.verify(token))

    expect(infos.map(({ subject }) => subject)).toEqual(['alice', 'alice'])
    expect(as.received('/token')).toHaveLength(1)
    expect(auth.stats().sizes.verifiedTokens).toBe(1)
    expect(auth.stats().sizes.nextcloudTokens).toBe(1)
  })

  it('takes no other token’s place: each token has its own exchange', async () => {
    const auth = open()
    const tokens = [await as.mint(), await as.mint({ sub: 'bob' }), await as.mint({ jti: 'another' })]

    for (const token of tokens) await auth.getNextcloudToken(await auth.verify(token))

    expect(as.received('/token')).toHaveLength(3)
  })
})
