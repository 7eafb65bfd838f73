import { CompactSign } from 'jose'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { InsufficientScopeError, UpstreamUnavailableError, type InvalidTokenReason } from '../../src/errors/errors.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthInfo } from '../../src/auth-info.js'
import type { McpAuthOptions } from '../../src/options.js'
import { checkScopes } from '../../src/verify/scopes.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE, type SigningKey } from '../support/scripted-authorization-server.js'
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

/** Seconds since the epoch, on the manual clock. */
const now = (): number => clock.now() / 1_000

const base64url = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** Signs whatever is given as the payload. */
function sign(payload: string, { alg, kid, privateKey }: SigningKey): Promise<string> {
  return new CompactSign(Buffer.from(payload)).setProtectedHeader({ alg, kid, typ: 'at+jwt' }).sign(privateKey)
}

/** A good payload as text. What follows in it comes twice then, and counts (ECMA-262, JSON.parse). */
const payloadWith = (more: string): string =>
  `{"iss":"${as.issuer}","sub":"alice","aud":"${RESOURCE}","client_id":"c","iat":${now()},"exp":${now() + 60}${more}}`

it('a verified token is told in full', async () => {
  const token = await as.mint({ azp: 'another', scope: 'notes:read notes:write' })

  const info = await open().verify(token)

  expect(info).toMatchObject({
    token,
    subject: 'alice',
    issuer: as.issuer,
    clientId: 'mcp-client',
    scopes: ['notes:read', 'notes:write'],
    expiresAt: now() + 3_600,
    audience: [RESOURCE],
    resource: new URL(RESOURCE),
    resourceMetadataUrl: 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp',
    extra: { subject: 'alice', issuer: as.issuer },
  })
  expect(info.claims).toMatchObject({ sub: 'alice', azp: 'another', aud: RESOURCE })
})

describe('a token that is not a JWT', () => {
  it.each([
    ['opaque', 'opaque-token'],
    ['in two parts', 'eyJhbGciOiJFUzI1NiJ9.e30'],
    ['in four parts', 'eyJhbGciOiJFUzI1NiJ9.e30.AAAA.AAAA'],
    ['in three parts without a header', 'v1.local.payload'],
    ['in three parts with a header that has no alg', `${base64url(' {}')}.e30.AAAA`],
  ])('%s, is refused where nobody can be asked about it, and nothing is fetched', async (_name, token) => {
    await expectRefusal(open(), token, 'opaque')
    expect(as.received()).toEqual([])
  })

  it.each(['eyJ.e30.AAAA', 'eyJhbGciOjd9.e30.AAAA', 'eyJhbGciOiJFUzI1NiJ9.e30.!', 'eyJ0eXAiOiJKV1QifQ.e30.AAAA'])(
    'and only looks like one is malformed, and nobody is asked about it: %s',
    async (token) => {
      await expectRefusal(open({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }), token, 'malformed')
      expect(as.received('/introspect')).toEqual([])
    },
  )

  it.each(['', 'a b', 'a,b', 'a;b', 'tökn', '"a"', 'a%20b', 'a\nb', 'a\0', '=a', 'a=b', '=', `${'a'.repeat(8_000)}!`])(
    'and has a character that no token has is malformed, and nobody is asked about it: %j',
    async (token) => {
      await expectRefusal(open({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }), token, 'malformed')
      expect(as.received()).toEqual([])
    },
  )

  it('of more than 16 KiB is refused before anything is done with it', async () => {
    const auth = open()
    await expectRefusal(auth, 'a'.repeat(16_384), 'opaque')
    await expectRefusal(auth, 'a'.repeat(16_385), 'too_large')
    await expectRefusal(auth, await as.mint({ pad: 'a'.repeat(12_500) }), 'too_large')
    expect(as.received()).toEqual([])
  })

  it('and not even a string is malformed', async () => {
    await expectRefusal(open(), undefined as unknown as string, 'malformed')
  })
})

describe('the claims', () => {
  it.each(['', '[]', '"text"', 'null', '7', '{', '{"sub":"\xff"'])('in a payload of %j are malformed', async (text) => {
    await expectRefusal(open(), await sign(text, as.key), 'malformed')
  })

  it.each([
    ['with a slash at its end', (issuer: string) => `${issuer}/`],
    ['by another name', (issuer: string) => issuer.replace('127.0.0.1', 'localhost')],
    ['in other upper and lower case', (issuer: string) => issuer.replace('http', 'HTTP')],
    ['in a list', (issuer: string) => [issuer]],
    ['of nothing', () => null],
  ])('with an issuer %s are from another issuer', async (_name, change) => {
    await expectRefusal(open(), await as.mint({ iss: change(as.issuer) }), 'issuer')
  })

  it.each(['"exp":1e999', '"exp":"9999999999"', '"exp":null', '"nbf":"1"', '"iat":[]'])(
    'with %s are refused',
    async (claim) => {
      const auth = open()
      expect(await auth.verify(await sign(payloadWith(''), as.key))).toBeDefined()
      await expectRefusal(auth, await sign(payloadWith(`,${claim}`), as.key), 'missing_claim')
    },
  )

  it.each<[tolerance: number | undefined, claim: string, good: number, bad: number, reason: InvalidTokenReason]>([
    [undefined, 'exp', -4, -5, 'expired'],
    [undefined, 'nbf', 5, 6, 'not_yet_valid'],
    [undefined, 'iat', 5, 6, 'not_yet_valid'],
    [0, 'exp', 1, 0, 'expired'],
    [0, 'nbf', 0, 1, 'not_yet_valid'],
    [0, 'iat', 0, 1, 'not_yet_valid'],
    [60, 'exp', -59, -60, 'expired'],
    [60, 'nbf', 60, 61, 'not_yet_valid'],
    [60, 'iat', 60, 61, 'not_yet_valid'],
  ])('with a clockTolerance of %s may have %s %i s from now, not %i', async (tolerance, claim, good, bad, reason) => {
    const auth = open(tolerance === undefined ? {} : { clockTolerance: tolerance })

    expect(await auth.verify(await as.mint({ [claim]: now() + good }))).toBeDefined()
    await expectRefusal(auth, await as.mint({ [claim]: now() + bad }), reason)
  })

  it('are held against the options: audience, clientId and allowedClients', async () => {
    const usual = open({ clientId: CLIENT_ID })
    const chosen = open({ audience: 'https://api.example/', allowedClients: ['web'] })
    const forApi = { aud: 'https://api.example' }

    expect((await usual.verify(await as.mint({ aud: CLIENT_ID }))).audience).toEqual([CLIENT_ID])
    await expectRefusal(usual, await as.mint(forApi), 'audience')
    expect((await chosen.verify(await as.mint({ ...forApi, client_id: 'web' }))).clientId).toBe('web')
    await expectRefusal(chosen, await as.mint({ ...forApi, client_id: 'mobile' }), 'client')
    await expectRefusal(chosen, await as.mint(), 'audience')
  })

  it('are read with the type in the header', async () => {
    const idToken = { aud: CLIENT_ID, scope: undefined, client_id: undefined }
    const auth = open({ clientId: CLIENT_ID })

    await expectRefusal(auth, await as.mint(idToken, { header: { typ: 'JWT' } }), 'token_type')
    await expectRefusal(auth, await as.mint({}, { header: { typ: 'logout+jwt' } }), 'token_type')
    expect((await auth.verify(await as.mint(idToken))).clientId).toBe('unknown')
  })
})

describe('scopes', () => {
  it('that every request needs are looked for last, and all named once, in their order, when one is missing', async () => {
    const auth = open({ requiredScopes: ['notes:read', 'notes:write', 'notes:read'] })

    expect((await auth.verify(await as.mint({ scope: 'notes:write notes:read' }))).subject).toBe('alice')
    await expect(auth.verify(await as.mint())).rejects.toMatchObject({
      status: 403,
      requiredScopes: ['notes:read', 'notes:write'],
      body: { error: 'insufficient_scope' },
    })
    await expectRefusal(auth, await as.mint({ exp: now() - 60 }), 'expired')
  })

  it.each([undefined, '', 'notes:write', 'notes:read:all', 'NOTES:READ', ['notes:read notes:write']])(
    'of %j lack notes:read',
    async (scope) => {
      const auth = open({ requiredScopes: ['notes:read'] })
      await expect(auth.verify(await as.mint({ scope }))).rejects.toBeInstanceOf(InsufficientScopeError)
    },
  )

  it('take nothing but true for a verdict on one, so that an async function lets nobody in', async () => {
    const scopeSatisfies = (() => Promise.resolve(true)) as unknown as NonNullable<McpAuthOptions['scopeSatisfies']>
    const auth = open({ requiredScopes: ['notes:read'], scopeSatisfies })
    await expect(auth.verify(await as.mint())).rejects.toBeInstanceOf(InsufficientScopeError)
  })

  it('of an operation are named beside those of every request, each once', () => {
    const rules = {
      requiredScopes: ['notes:read', 'profile'],
      scopeSatisfies: (granted: readonly string[], required: string) => granted.includes(required.split(':')[0]!),
    }
    const info = { scopes: ['notes'] }

    expect(() => checkScopes(rules, info, ['notes:read', 'notes:write'])).not.toThrow()
    expect(() => checkScopes(rules, info, ['files:read', 'notes:read'])).toThrow(
      expect.objectContaining({ requiredScopes: ['notes:read', 'profile', 'files:read'] }) as Error,
    )
  })
})

describe('validateClaims', () => {
  it.each<[verdict: string, validateClaims: () => unknown]>([
    ['false', () => false],
    ['a promise of false', () => Promise.resolve(false)],
    ['an error', () => { throw new Error('not on this list') }], // prettier-ignore
    ['a rejected promise', () => Promise.reject(new Error('not on this list'))],
  ])('refuses a token by %s', async (_verdict, validateClaims) => {
    await expectRefusal(open({ validateClaims }), await as.mint(), 'claims')
  })

  it('may refuse a token with an answer of its own', async () => {
    const own = new InsufficientScopeError(['staff'])
    const failing = open({ validateClaims: () => Promise.reject(own) }).verify(await as.mint())

    await expect(failing).rejects.toBe(own)
  })

  it.each([undefined, true, null, 0, '', Promise.resolve(undefined)])('lets a token pass by %o', async (verdict) => {
    expect(await open({ validateClaims: () => verdict }).verify(await as.mint())).toBeDefined()
  })

  it('sees the verified claims once for each token, and never those of a token that is refused anyway', async () => {
    const validateClaims = vi.fn<(claims: object) => void>()
    const auth = open({ validateClaims })
    const token = await as.mint({ groups: ['staff'] })
    await auth.verify(token)
    await auth.verify(token)
    await expectRefusal(auth, await as.mint({ aud: 'another' }), 'audience')

    expect(validateClaims).toHaveBeenCalledTimes(1)
    expect(validateClaims.mock.calls[0]![0]).toMatchObject({ sub: 'alice', groups: ['staff'] })
  })
})

describe('a token that was verified', () => {
  /** Counts the verifications in full: the check of the operator is the last of them. */
  function counted(options: McpAuthOptions = {}): { auth: McpAuth; verifications: () => number } {
    const validateClaims = vi.fn()
    return { auth: open({ validateClaims, ...options }), verifications: () => validateClaims.mock.calls.length }
  }

  async function after(seconds: number, auth: McpAuth, token: string): Promise<McpAuthInfo> {
    clock.advance(seconds * 1_000)
    return auth.verify(token)
  }

  it('is the same object again, without another check', async () => {
    const { auth, verifications } = counted()
    const token = await as.mint()

    const infos = [await auth.verify(token), await auth.verify(token), await auth.verify(token)]

    expect(new Set(infos).size).toBe(1)
    expect(verifications()).toBe(1)
    expect(auth.stats()).toMatchObject({ verified: 1, verifiedCacheHits: 2, sizes: { verifiedTokens: 1 } })
  })

  it('is looked at again after 300 s, or verifiedTtl', async () => {
    const usual = counted()
    const short = counted({ cache: { verifiedTtl: 10 } })
    const token = await as.mint()
    await Promise.all([usual.auth.verify(token), short.auth.verify(token)])

    await after(9.999, short.auth, token)
    expect(short.verifications()).toBe(1)
    await after(0.001, short.auth, token)
    expect(short.verifications()).toBe(2)
    await after(289.999, usual.auth, token)
    expect(usual.verifications()).toBe(1)
    await after(0.001, usual.auth, token)
    expect(usual.verifications()).toBe(2)
    expect(usual.auth.stats()).toMatchObject({ evictions: 0, sizes: { verifiedTokens: 1 } })
  })

  it('is as old as the first look at it, however long that took', async () => {
    const validateClaims = vi.fn(() => clock.advance(9_000))
    const auth = open({ validateClaims, cache: { verifiedTtl: 10 } })
    const token = await as.mint()
    await auth.verify(token)
    await after(0.999, auth, token)
    expect(validateClaims).toHaveBeenCalledTimes(1)
    await after(0.001, auth, token)
    expect(validateClaims).toHaveBeenCalledTimes(2)
  })

  it('is looked at again after verifiedTtl also when the clock was set back meanwhile', async () => {
    let setBack = 0
    const validateClaims = vi.fn()
    const auth = createMcpAuth(
      { issuer: as.issuer, resource: RESOURCE, validateClaims },
      { ...clock, now: () => clock.now() - setBack },
    )
    onTestFinished(() => auth.close())
    const token = await as.mint({ iat: now() - 120 })
    await auth.verify(token)
    setBack = 60_000
    await after(299.999, auth, token)
    expect(validateClaims).toHaveBeenCalledTimes(1)
    await after(0.001, auth, token)
    expect(validateClaims).toHaveBeenCalledTimes(2)
  })

  it('lends its signature to no other', async () => {
    const auth = open()
    const [header, , signature] = (await as.mint()).split('.')
    const [, forged] = (await as.mint({ sub: 'bob' })).split('.')
    const genuine = await as.mint()
    await auth.verify(genuine)
    await expectRefusal(auth, `${header}.${forged}.${genuine.split('.')[2]}`, 'signature')
    await expectRefusal(auth, `${header}.${forged}.${signature}`, 'signature')

    expect((await auth.verify(genuine)).subject).toBe('alice')
  })

  it('is refused from its exp and the tolerance on', async () => {
    const { auth, verifications } = counted()
    const token = await as.mint({ exp: now() + 60 })
    await auth.verify(token)

    expect((await after(64.999, auth, token)).subject).toBe('alice')
    expect(verifications()).toBe(1)
    clock.advance(1)
    await expectRefusal(auth, token, 'expired')
  })

  it('is forgotten in favour of those used since, once there are more than verifiedTokens', async () => {
    const { auth, verifications } = counted({ cache: { verifiedTokens: 2 } })
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((sub) => as.mint({ sub })))
    for (const token of [a, b, a, c]) await auth.verify(token!)
    expect(auth.stats()).toMatchObject({ evictions: 1, sizes: { verifiedTokens: 2 } })
    expect(verifications()).toBe(3)

    expect((await auth.verify(a!)).subject).toBe('a')
    expect(verifications()).toBe(3)
    expect((await auth.verify(b!)).subject).toBe('b')
    expect(verifications()).toBe(4)
  })

  it.each([{ verifiedTokens: 0 }, { verifiedTtl: 0 }])('is verified each time with %o', async (cache) => {
    const { auth, verifications } = counted({ cache })
    const token = await as.mint()
    await auth.verify(token)
    await auth.verify(token)

    expect(verifications()).toBe(2)
    expect(auth.stats()).toMatchObject({ verified: 2, verifiedCacheHits: 0, sizes: { verifiedTokens: 0 } })
  })

  it('many times at once is verified once', async () => {
    const { auth, verifications } = counted({ cache: { verifiedTokens: 0 } })
    const token = await as.mint()

    const infos = await Promise.all(Array.from({ length: 20 }, () => auth.verify(token)))

    expect(new Set(infos).size).toBe(1)
    expect(verifications()).toBe(1)
  })

  it('is remembered by itself, not by its user', async () => {
    const { auth } = counted()
    const [read, write] = [await as.mint(), await as.mint({ scope: 'notes:write' })]

    expect((await auth.verify(read)).scopes).toEqual(['notes:read'])
    expect((await auth.verify(write)).scopes).toEqual(['notes:write'])
    expect((await auth.verify(read)).scopes).toEqual(['notes:read'])
  })

  it('cannot be changed by one request for the others', async () => {
    const { claims, scopes, audience, ...info } = await open().verify(await as.mint({ act: { sub: ['x', {}] } }))
    const { act } = claims as { act: { sub: object[] } }

    for (const part of [claims, act, act.sub, act.sub[1]!, scopes, audience, info.extra]) {
      expect(part).toSatisfy(Object.isFrozen)
    }
    const other = await open().verify(await as.mint())
    expect(other).toSatisfy(Object.isFrozen)
    other.resource.pathname = '/elsewhere'
    expect(other.resource.href).toBe(RESOURCE)
  })

  it('is not what a failure leaves behind', async () => {
    const auth = open()
    const [good, bad] = [await as.mint(), await as.mint({ aud: 'another' })]
    await as.stop()
    await expect(auth.verify(good)).rejects.toBeInstanceOf(UpstreamUnavailableError)
    await as.restart()
    clock.advance(60_000)

    expect((await auth.verify(good)).subject).toBe('alice')
    await expectRefusal(auth, bad, 'audience')
    await expectRefusal(auth, bad, 'audience')
    expect(auth.stats().sizes.verifiedTokens).toBe(1)
  })
})
