import { createHmac, createSecretKey, createSign, generateKeyPairSync } from 'node:crypto'
import { CompactSign, FlattenedSign, exportSPKI, importJWK, type CryptoKey } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ASYMMETRIC_ALGORITHMS } from '../../src/config/kinds.js'
import { McpAuthError } from '../../src/errors/errors.js'
import { RESOURCE, signingKey, type SigningKey } from '../support/scripted-authorization-server.js'
import { expectRefusal } from '../support/expect-refusal.js'
import { world, type World } from '../support/world.js'

let clock: World['clock']
let as: World['as']
let open: World['open']
let close: World['close']

beforeEach(async () => {
  ;({ clock, as, open, close } = await world({ mode: 'none' }))
})
afterEach(() => close())

const ML_DSA_PUBLIC_KEY_BYTES: Record<string, number> = { 'ML-DSA-44': 1312, 'ML-DSA-65': 1952, 'ML-DSA-87': 2592 }

const base64url = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

const seconds = (): number => clock.now() / 1_000

const goodPayload = (): string =>
  JSON.stringify({ iss: as.issuer, sub: 'alice', aud: RESOURCE, client_id: 'c', exp: seconds() + 60 })

function withOtherPayload(token: string): string {
  const [header, payload, signature] = token.split('.') as [string, string, string]
  const claims = { ...(JSON.parse(Buffer.from(payload, 'base64url').toString()) as object), sub: 'mallory' }
  return `${header}.${base64url(claims)}.${signature}`
}

describe('a signature', () => {
  it.each(ASYMMETRIC_ALGORITHMS)('by %s is good, or refused where the platform does not have it', async (alg) => {
    const auth = open()
    let key: SigningKey
    try {
      key = await signingKey('by-algorithm', alg)
    } catch {
      const bytes = ML_DSA_PUBLIC_KEY_BYTES[alg] ?? expect.unreachable(`${alg} has to be there`)
      const pub = Buffer.alloc(bytes).toString('base64url')
      as.keys.push({ kty: 'AKP', alg, kid: 'by-algorithm', pub })
      const header = base64url({ alg, kid: 'by-algorithm', typ: 'at+jwt' })
      await expectRefusal(auth, `${header}.${base64url(goodPayload())}.AAAA`, 'algorithm')
      return
    }
    as.keys.push(key.publicJwk)
    const token = await as.mint({}, { key })

    expect((await auth.verify(token)).subject).toBe('alice')
    await expectRefusal(auth, withOtherPayload(token), 'signature')
  })

  it('by HMAC with the public key as the secret is refused, whatever form of the key', async () => {
    const { publicJwk } = as.key
    const spki = await exportSPKI((await importJWK(publicJwk)) as CryptoKey)
    const auth = open()
    for (const secret of [spki, JSON.stringify(publicJwk), publicJwk.x!]) {
      const input = `${base64url({ alg: 'HS256', kid: 'first' })}.${base64url(goodPayload())}`
      const mac = createHmac('sha256', createSecretKey(Buffer.from(secret))).update(input)
      await expectRefusal(auth, `${input}.${mac.digest('base64url')}`, 'algorithm')
    }
  })

  it.each(['none', 'NONE', 'nOnE', 'HS512', 'ES256K', 'RSA1_5', '', 'constructor'])(
    'by the algorithm %j is refused',
    async (alg) => {
      const input = `${base64url({ alg, kid: 'first' })}.${base64url(goodPayload())}`
      const auth = open()
      await expect(auth.verify(`${input}.`)).rejects.toMatchObject({ status: 401 })
      await expect(auth.verify(`${input}.AAAA`)).rejects.toMatchObject({ status: 401 })
    },
  )

  it('by an algorithm that is not that of the published key is refused', async () => {
    const { privateKey } = await signingKey('x', 'RS256')
    await expectRefusal(open(), await as.mint({}, { key: { ...as.key, alg: 'RS256', privateKey } }), 'key')
  })

  it("by a key that the token itself brings is refused, and the token's URLs are never fetched", async () => {
    const { publicJwk, ...key } = await signingKey('first')
    const header = { jwk: publicJwk, jku: `${as.issuer}/evil`, x5u: `${as.issuer}/evil` }

    await expectRefusal(open(), await as.mint({}, { key: { ...key, publicJwk }, header }), 'signature')
    expect(as.received('/evil')).toEqual([])
  })

  it('by an RSA key of less than 2048 bits is never good (RFC 7518 §3.3)', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    as.keys.push({ ...publicKey.export({ format: 'jwk' }), kid: 'short', alg: 'RS256', use: 'sig' })
    const input = `${base64url({ alg: 'RS256', kid: 'short' })}.${base64url(goodPayload())}`
    const signature = createSign('sha256').update(input).sign(privateKey, 'base64url')

    await expect(open().verify(`${input}.${signature}`)).rejects.toBeInstanceOf(McpAuthError)
  })

  it('under a critical header that is not known is refused (RFC 7515 §4.1.11)', async () => {
    const header = { alg: 'ES256', kid: 'first', crit: ['urn:example:policy'], 'urn:example:policy': true }
    const token = await new CompactSign(Buffer.from(goodPayload()))
      .setProtectedHeader(header)
      .sign(as.key.privateKey, { crit: { 'urn:example:policy': true } })
    await expectRefusal(open(), token, 'algorithm')
  })

  it('over an unencoded payload is refused (RFC 7797 §7)', async () => {
    const payload = base64url(goodPayload())
    const signed = await new FlattenedSign(Buffer.from(payload))
      .setProtectedHeader({ alg: 'ES256', kid: 'first', b64: false, crit: ['b64'] })
      .sign(as.key.privateKey)
    await expectRefusal(open(), `${signed.protected!}.${payload}.${signed.signature}`, 'malformed')
  })

  it('of a token without a kid may be by any key that the issuer publishes', async () => {
    const others = [await signingKey('second'), await signingKey('third')]
    as.keys.push(...others.map((key) => key.publicJwk))
    const auth = open()
    for (const key of [as.key, ...others]) {
      const token = await as.mint({ sub: key.kid }, { key, header: { kid: undefined! } })
      expect((await auth.verify(token)).subject).toBe(key.kid)
    }
    const unpublished = { key: await signingKey('x'), header: { kid: undefined! } }
    await expectRefusal(auth, await as.mint({}, unpublished), 'signature')
    const expired = { key: others[1]!, header: { kid: undefined! } }
    await expectRefusal(auth, await as.mint({ exp: seconds() - 60 }, expired), 'expired')
  })

  it('of a token without a kid is tried with ten keys, and one that fits more is no bad token', async () => {
    const keys = await Promise.all(Array.from({ length: 11 }, (_, at) => signingKey(`${at}`)))
    as.keys.splice(0, as.keys.length, ...keys.map(({ publicJwk }) => ({ ...publicJwk, kid: undefined! })))
    const auth = open()
    const signedBy = (at: number) => as.mint({}, { key: keys[at]!, header: { kid: undefined! } })

    expect((await auth.verify(await signedBy(9))).subject).toBe('alice')
    await expect(auth.verify(await signedBy(10))).rejects.toMatchObject({
      status: 503,
      detail: expect.stringContaining('more than 10 keys') as string,
    })
  })

  it('of a token without a kid is good by the only key', async () => {
    const auth = open()
    expect(await auth.verify(await as.mint({}, { header: { kid: undefined! } }))).toBeDefined()
  })

  it('is checked also where the header is written with spaces', async () => {
    const header = base64url('{ "typ": "at+jwt", "alg": "ES256", "kid": "first" }')
    const payload = base64url(goodPayload())
    const input = Buffer.from(`${header}.${payload}`)
    const ecdsa = { name: 'ECDSA', hash: 'SHA-256' }
    const signature = Buffer.from(await crypto.subtle.sign(ecdsa, as.key.privateKey, input))
    const auth = open()
    expect(await auth.verify(`${header}.${payload}.${signature.toString('base64url')}`)).toBeDefined()
    await expectRefusal(auth, `${header}.${payload}.${signature.fill(1).toString('base64url')}`, 'signature')
  })
})
