import { describe, expect, it, onTestFinished } from 'vitest'
import type { AuthenticatedRequest, McpAuthInfo } from '../../src/index.js'
import type { ConnectHandler } from '../../src/http/router.js'
import type { McpAuthOptions } from '../../src/options.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { McpAuthEvent } from '../../src/events.js'
import { DPOP_PROOF_DESCRIPTIONS, type DpopProofFault } from '../../src/errors/rejection-details.js'
import { ask, askWith, METADATA_URL, rejection, unauthorized, type Answer } from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { dpopKey, signProof, withProof, type ProofParts } from '../support/dpop-client.js'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'
import { bareHost, hosts, type Host } from '../support/hosts.js'
import { failureOf } from '../support/promises.js'
import { showCaller } from '../support/protected-app.js'
import { RESOURCE, type ReceivedRequest } from '../support/scripted-authorization-server.js'
import { watchedStorage } from '../support/storages.js'
import { world } from '../support/world.js'

const key = await dpopKey()
const other = await dpopKey()
const rsa = await dpopKey('RS256')
const ALGORITHMS = ['ES256', 'RS256']
const REST = `resource_metadata="${METADATA_URL}", scope="notes:read"`

/** An app that lets bound tokens in, and one of them. */
async function start(options: McpAuthOptions = {}, host: Host = bareHost) {
  const set = await world({
    mode: 'none',
    host,
    options: { requiredScopes: ['notes:read'], algorithms: ALGORITHMS, dpop: 'required', ...options },
    handlers: (auth) => [auth.routes(), auth, showCaller],
  })
  const token = await set.as.mint({ cnf: { jkt: key.thumbprint } })
  const prove = (parts?: ProofParts, of = key) => signProof(of, token, set.clock.now(), parts)
  const post = async (...proofs: string[]) => ask(set.url, withProof(token, ...proofs))
  return { ...set, token, prove, post }
}

/** The answer where DPoP is required: one challenge. */
function refused(error: string, description: string): Answer {
  const challenge = `DPoP algs="ES256 RS256", realm="mcp", error="${error}", ${REST}, error_description="${description}"`
  return rejection(401, error, description, { challenge, exposed: 'WWW-Authenticate' })
}
const badProof = (fault: DpopProofFault) => refused('invalid_dpop_proof', DPOP_PROOF_DESCRIPTIONS[fault])
const WITHOUT_PROOF = 'The access token is bound to a key and came without proof of it'
const NOT_BOUND = 'The access token is not bound to a key as it has to be here'

describe.each(hosts)('on $name', (host) => {
  it.each(['allowed', 'required'] as const)(
    'with dpop %s, a bound token with its proof gets in, each time with a new one',
    async (dpop) => {
      const { post, prove } = await start({ dpop }, host)

      for (let count = 0; count < 3; count += 1) {
        expect(await post(await prove())).toMatchObject({ status: 200, body: { subject: 'alice' } })
      }
    },
  )

  it('with dpop required, a proof at fault, a bound token without proof and one bound to nothing are refused', async () => {
    const { as, post, prove, token, url } = await start({}, host)
    const unbound = await as.mint()
    const proof = await prove()

    expect((await post(proof)).status).toBe(200)
    expect(await post(proof)).toEqual(badProof('jti'))
    expect(await post()).toEqual(badProof('missing'))
    expect(await post(await prove(), await prove())).toEqual(badProof('several'))
    expect(await post(await prove({ claims: { htm: 'GET' } }))).toEqual(badProof('htm'))
    expect(await post(await prove({}, other))).toEqual(refused('invalid_token', WITHOUT_PROOF))
    expect(await askWith(url, token, { headers: [['DPoP', await prove()]] })).toEqual(
      refused('invalid_token', WITHOUT_PROOF),
    )
    expect(await askWith(url, unbound)).toEqual(refused('invalid_token', NOT_BOUND))
    expect(await ask(url, withProof(unbound, await prove()))).toEqual(refused('invalid_token', NOT_BOUND))
    expect(await ask(url)).toMatchObject({ status: 401, challenge: `DPoP algs="ES256 RS256", realm="mcp", ${REST}` })
  })

  it('with dpop allowed, tokens without a binding get in as before, and challenges name both schemes', async () => {
    const { as, token, url } = await start({ dpop: 'allowed' }, host)
    const unbound = await as.mint()

    for (let count = 0; count < 2; count += 1) expect(await askWith(url, unbound)).toMatchObject({ status: 200 })
    for (let count = 0; count < 2; count += 1) expect(await askWith(url, token)).toMatchObject({ status: 401 })
    expect((await ask(url)).challenge).toBe(
      `Bearer realm="mcp", ${REST}, DPoP algs="ES256 RS256", realm="mcp", ${REST}`,
    )
  })

  it('with dpop off, a token of the scheme DPoP is as none, and the event says why', async () => {
    const { events, prove, token, url } = await start({ dpop: 'off' }, host)

    expect(await ask(url, withProof(token, await prove()))).toEqual(unauthorized())
    expect(await ask(url, { headers: [['Authorization', 'dpop x']] })).toEqual(unauthorized())
    expect(await ask(url, { headers: [['Authorization', 'Basic x']] })).toEqual(unauthorized())
    const reasons = events.flatMap((event) => (event.type === 'token.rejected' ? event.reason : []))
    expect(reasons).toEqual(['unsupported_scheme', 'unsupported_scheme', 'no_credentials'])
    expect(events[0]).toMatchObject({ message: expect.stringContaining('set dpop to') as string })
  })
})

describe('a proof', () => {
  const wrongs: [name: string, parts: ProofParts, fault: DpopProofFault][] = [
    ['is of no type', { header: { typ: undefined } }, 'typ'],
    ['is of another type', { header: { typ: 'JWT' } }, 'typ'],
    ['has a type that is no text', { header: { typ: ['dpop+jwt'] } }, 'typ'],
    ['has no key', { header: { jwk: undefined } }, 'jwk'],
    ['has a key that is a list', { header: { jwk: [key.publicJwk] } }, 'jwk'],
    ['has a key of no kind', { header: { jwk: {} } }, 'jwk'],
    ['has a key of an unknown kind', { header: { jwk: { kty: 'X', x: 'y' } } }, 'jwk'],
    ['has a private key', { header: { jwk: key.privateJwk } }, 'jwk'],
    ['has a part of a private key', { header: { jwk: { ...key.publicJwk, p: 'AQAB' } } }, 'jwk'],
    ['has a symmetric key', { header: { jwk: { kty: 'oct', k: 'c2VjcmV0' } } }, 'jwk'],
    ['has a key for encryption', { header: { jwk: { ...key.publicJwk, use: 'enc' } } }, 'jwk'],
    ['has a key of another algorithm', { header: { jwk: { ...key.publicJwk, alg: 'ES384' } } }, 'jwk'],
    ...['jti', 'htm', 'htu', 'ath', 'iat'].flatMap((claim): [string, ProofParts, DpopProofFault][] =>
      [undefined, null, '', {}, ['x'], true].map((value) => [
        `has ${JSON.stringify(value)} for ${claim}`,
        { claims: { [claim]: value } },
        'missing_claim',
      ]),
    ),
    ['has a number for jti', { claims: { jti: 7 } }, 'missing_claim'],
    ['has a text for iat', { claims: { iat: '1767225600' } }, 'missing_claim'],
    ['is for another method', { claims: { htm: 'GET' } }, 'htm'],
    ['is for the method in lower case', { claims: { htm: 'post' } }, 'htm'],
    ['is for another host', { claims: { htu: 'https://other.example.com/mcp' } }, 'htu'],
    ['is for another scheme', { claims: { htu: 'http://mcp.example.com/mcp' } }, 'htu'],
    ['is for another port', { claims: { htu: 'https://mcp.example.com:8443/mcp' } }, 'htu'],
    ['is for another path', { claims: { htu: 'https://mcp.example.com/mcp/x' } }, 'htu'],
    ['is for a path with a slash more', { claims: { htu: 'https://mcp.example.com/mcp/' } }, 'htu'],
    ['is for a path in upper case', { claims: { htu: 'https://mcp.example.com/MCP' } }, 'htu'],
    ['is for a path with an escaped slash', { claims: { htu: 'https://mcp.example.com/x%2F../mcp' } }, 'htu'],
    ['is for a user at the host', { claims: { htu: 'https://alice@mcp.example.com/mcp' } }, 'htu'],
    ['is for a path alone', { claims: { htu: '/mcp' } }, 'htu'],
    ['is for another token', { claims: { ath: 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo' } }, 'ath'],
    ['has ended by its exp', { claims: { exp: 1 } }, 'iat'],
    ['has not begun by its nbf', { claims: { nbf: 32_000_000_000 } }, 'iat'],
    ['asks for an extension', { header: { crit: ['x'], x: 1 } }, 'malformed'],
  ]

  // One app for all, because no proof of these is used up.
  it('is refused when it', async () => {
    const { post, prove } = await start()
    for (const [name, parts, fault] of wrongs) {
      // jose signs no proof with a crit of its own accord.
      const proof = fault === 'malformed' ? withHeader(await prove(), parts.header) : await prove(parts)
      expect([name, await post(proof)]).toEqual([name, badProof(fault)])
    }
  })

  it('is refused when it is signed otherwise than it says, with no algorithm or one that is not accepted', async () => {
    const { post, prove, clock, token } = await start()
    const proof = await prove()
    const [header, payload, signature = ''] = proof.split('.')
    const changed = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
    const faults: [proof: string, fault: DpopProofFault][] = [
      [`${header}.${payload}.${changed}`, 'signature'],
      [withHeader(proof, { alg: 'none' }), 'algorithm'],
      [withHeader(proof, { alg: 'HS256' }), 'algorithm'],
      [await signProof(await dpopKey('PS256'), token, clock.now()), 'algorithm'],
      [await signProof(await dpopKey('ES384'), token, clock.now()), 'algorithm'],
      [`${header}.${payload}.`, 'signature'],
      [`${header}.${payload}`, 'malformed'],
      [`${proof}.${signature}`, 'malformed'],
      ['this-is-not-a-jwt', 'malformed'],
      [`e30.e30.e30`, 'malformed'],
      [`${header}.W10.${signature}`, 'signature'],
    ]
    for (const [wrong, fault] of faults) expect([wrong, await post(wrong)]).toEqual([wrong, badProof(fault)])
    expect((await post(proof)).status).toBe(200)
  })

  it('is refused when it is longer than 16 KiB, before it is read', async () => {
    const { token, clock } = await start()
    const app = await bareHost.start([(await start()).auth, showCaller], { maxHeaderSize: 65_536 })
    const long = await signProof(key, token, clock.now(), { claims: { more: 'x'.repeat(13_000) } })
    expect(long.length).toBeGreaterThan(16_384)
    expect(await ask(app.url, withProof(token, long))).toEqual(badProof('too_large'))
    await app.close()
  })

  it.each([
    'https://mcp.example.com/mcp?query=1',
    'https://mcp.example.com/mcp#fragment',
    'HTTPS://MCP.EXAMPLE.COM:443/mcp',
    'https://mcp.example.com/x/../mcp',
    'https://mcp.example.com/./mcp',
    'https://mcp.example.com/%6dcp',
    'https://mcp.example.com/%6Dcp',
  ])('is for this URL in any spelling of it (RFC 9449 section 4.3): %s', async (htu) => {
    const { post, prove } = await start()

    expect((await post(await prove({ claims: { htu } }))).status).toBe(200)
  })

  it('is for the path of the request with its escapes, and the query counts as little as the Host header', async () => {
    const { prove, token, url } = await start()
    const to = async (path: string, htu: string) =>
      (await ask(url, { ...withProof(token, await prove({ claims: { htu } })), path })).status

    expect(await to('/mcp?a=b', RESOURCE)).toBe(200)
    expect(await to('/a%2fb', 'https://mcp.example.com/a%2Fb')).toBe(200)
    expect(await to('/a%2fb', 'https://mcp.example.com/a/b')).toBe(401)
    expect(await to('http://elsewhere.example.com/mcp', RESOURCE)).toBe(200)
    expect(await to('//elsewhere.example.com/mcp', 'https://elsewhere.example.com/mcp')).toBe(401)
    expect(await to('/', url)).toBe(401)
    expect(await to('/', 'https://mcp.example.com')).toBe(200)
  })

  it.each([
    [-301, 401],
    [-300, 200],
    [-300.5, 401],
    [0.5, 200],
    [300, 200],
    [301, 401],
  ])('is good for 300 s before and after its iat, whatever clockTolerance is: %s s', async (difference, status) => {
    const { clock, post, prove } = await start({ clockTolerance: 60 })
    const iat = Math.floor(clock.now() / 1_000) + difference

    expect((await post(await prove({ claims: { iat } }))).status).toBe(status)
  })

  it('is good once, by its jti and key, also when another is signed with the same jti', async () => {
    const { as, clock, post, prove, url } = await start()
    const claims = { jti: 'one' }

    expect((await post(await prove({ claims }))).status).toBe(200)
    clock.advance(10_000)
    expect(await post(await prove({ claims }))).toEqual(badProof('jti'))
    // A client that counts has no other client's.
    const theirs = await as.mint({ sub: 'bob', cnf: { jkt: other.thumbprint } })
    expect((await ask(url, withProof(theirs, await signProof(other, theirs, clock.now(), { claims })))).status).toBe(
      200,
    )
  })

  it('may have an end of its own, which counts by the same clock', async () => {
    const { clock, post, prove } = await start()
    const exp = clock.now() / 1_000 + 60

    expect((await post(await prove({ claims: { exp, nbf: exp - 60 } }))).status).toBe(200)
  })

  it('that is refused is not used up by it', async () => {
    const { post, prove } = await start()
    const claims = { jti: 'one' }

    expect((await post(await prove({ claims: { ...claims, htm: 'GET' } }))).status).toBe(401)
    expect((await post(await prove({ claims }))).status).toBe(200)
  })

  it('may be of any accepted algorithm', async () => {
    const { as, clock, url } = await start()
    const token = await as.mint({ cnf: { jkt: rsa.thumbprint } })

    expect((await ask(url, withProof(token, await signProof(rsa, token, clock.now())))).status).toBe(200)
  })

  it('is told to the operator with what was found, and neither it nor the token is', async () => {
    const { events, post, prove, token, clock } = await start()
    await post(await prove({ claims: { htu: `https://mcp.example.com/${token}` } }))
    await post(await prove({ claims: { iat: clock.now() / 1_000 - 400 } }))
    await post(await prove({}, other))

    const rejected = events.filter(
      (event): event is McpAuthEvent & { type: 'token.rejected' } => event.type === 'token.rejected',
    )
    expect(rejected.map(({ reason, claim }) => [reason, claim])).toEqual([
      ['invalid_dpop_proof', 'htu'],
      ['invalid_dpop_proof', 'iat'],
      ['sender_constrained', 'cnf'],
    ])
    expect(rejected[0]?.expected).toEqual([RESOURCE])
    expect(rejected[1]?.message).toContain('compare the clocks')
    expect(JSON.stringify(events)).not.toContain(token.split('.')[2])
  })

  it('may repeat an opaque token, which the operator is not shown either', async () => {
    const { as, clock, events, url } = await start({ clientId: 'mcp-server', clientSecret: 'secret' })
    const cnf = { jkt: key.thumbprint }
    const exp = clock.now() / 1_000 + 60
    as.script('/introspect', { json: { active: true, sub: 'alice', aud: RESOURCE, client_id: 'c', exp, cnf } })
    const claims = { htu: 'https://mcp.example.com/opaque-token' }

    const proof = await signProof(key, 'opaque-token', clock.now(), { claims })
    expect(await ask(url, withProof('opaque-token', proof))).toEqual(badProof('htu'))
    expect(events.at(-1)).toMatchObject({ claim: 'htu', found: ['https://mcp.example.com/[token]'] })
  })
})

const keepCaller =
  (callers: McpAuthInfo[]): ConnectHandler =>
  (req, _res, next) => {
    callers.push((req as AuthenticatedRequest).mcpAuth)
    next()
  }

/** The same proof with another header, whose signature does not fit. */
function withHeader(proof: string, changes: Record<string, unknown> = {}): string {
  const [header = '', ...rest] = proof.split('.')
  const members = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>
  return [Buffer.from(JSON.stringify({ ...members, ...changes })).toString('base64url'), ...rest].join('.')
}

describe('a token', () => {
  it('that is wrong in itself is invalid_token, whatever its proof', async () => {
    const { as, clock, url } = await start()
    const token = await as.mint({ aud: 'https://other.example.com', cnf: { jkt: key.thumbprint } })

    const answer = await ask(url, withProof(token, await signProof(key, token, clock.now())))
    expect(answer).toEqual(refused('invalid_token', 'The access token is for another audience'))
  })

  it('that lacks a scope is told so with the challenge of its scheme', async () => {
    const { as, clock, url } = await start()
    const token = await as.mint({ scope: 'other', cnf: { jkt: key.thumbprint } })

    expect(await ask(url, withProof(token, await signProof(key, token, clock.now())))).toMatchObject({
      status: 403,
      challenge: expect.stringMatching(/^DPoP algs="ES256 RS256", realm="mcp", error="insufficient_scope", /) as string,
    })
  })

  it('that something follows, or that comes with another Authorization header, is a bad request', async () => {
    const { prove, token, url } = await start()
    const twice: [string, string][] = [
      ['Authorization', `DPoP ${token}`],
      ['Authorization', `Bearer ${token}`],
      ['DPoP', await prove()],
    ]

    expect((await ask(url, { headers: twice })).status).toBe(400)
    expect((await ask(url, { headers: [['Authorization', `DPoP ${token} x`]] })).status).toBe(400)
  })

  it('is verified once, and its proof with each request', async () => {
    const { auth, events, post, prove } = await start()
    await post(await prove())
    await post(await prove())
    expect((await post(await prove({ claims: { ath: 'x' } }))).status).toBe(401)

    expect(auth.stats()).toMatchObject({ verified: 1, verifiedCacheHits: 2 })
    expect(events.flatMap((event) => (event.type === 'token.accepted' ? event.cached : []))).toEqual([false, true])
  })

  it.each<[claims: Record<string, unknown>, status: number]>([
    [{ token_type: 'DPoP', cnf: { jkt: key.thumbprint } }, 200],
    [{ token_type: 'Bearer', cnf: { jkt: key.thumbprint } }, 200],
    [{ cnf: { jkt: key.thumbprint } }, 200],
    [{ cnf: { jkt: other.thumbprint } }, 401],
    [{ token_type: 'DPoP' }, 401],
    [{ token_type: 'DPoP', cnf: {} }, 401],
    [{ token_type: 'Bearer' }, 401],
    [{}, 401],
  ])('that is opaque is bound by its introspection answer: %j', async (claims, status) => {
    const { as, clock, url } = await start({ clientId: 'mcp-server', clientSecret: 'secret', clockTolerance: 5 })
    const exp = clock.now() / 1_000 + 60
    as.script('/introspect', {
      json: { active: true, sub: 'alice', aud: RESOURCE, client_id: 'c', scope: 'notes:read', exp, ...claims },
    })

    const ask2 = async () => ask(url, withProof('opaque', await signProof(key, 'opaque', clock.now())))
    expect((await ask2()).status).toBe(status)
    expect((await ask2()).status).toBe(status)
    expect((await askWith(url, 'opaque')).status).toBe(401)
  })

  it.each([undefined, null])('that is opaque and only said to be bound is no Bearer token: cnf %s', async (cnf) => {
    const { as, clock, url } = await start({ dpop: 'allowed', clientId: 'mcp-server', clientSecret: 'secret' })
    const exp = clock.now() / 1_000 + 60
    const claims = { sub: 'alice', aud: RESOURCE, client_id: 'c', scope: 'notes:read', exp, cnf }
    as.script('/introspect', { json: { active: true, token_type: 'DPoP', ...claims } })

    expect(await askWith(url, 'opaque')).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
  })

  it('that is bound is refused where there is no request, and so no proof', async () => {
    const { open, token } = await start()

    for (const dpop of ['off', 'allowed', 'required'] as const) {
      const auth = open({ dpop })
      const refusal = { status: 401, reason: 'sender_constrained' }
      expect(await failureOf(auth.verify(token))).toMatchObject(refusal)
      // Once more, because it is known by now.
      expect(await failureOf(auth.verify(token))).toMatchObject(refusal)
      expect(await failureOf(auth.nextcloudFetch({ token }, '/'))).toMatchObject(refusal)
    }
    expect(await failureOf(open({ dpop: 'required' }).verify(await (await start()).as.mint()))).toMatchObject({
      status: 401,
    })
  })
})

describe('a caller with a bound token', () => {
  it.each(['token-exchange', 'jwt-bearer'] as const)(
    'gets a Nextcloud token in %s mode, also by a copy',
    async (mode) => {
      const callers: McpAuthInfo[] = []
      const set = await world({
        mode,
        host: bareHost,
        options: { dpop: 'allowed' },
        handlers: (auth) => [auth, keepCaller(callers), showCaller],
      })
      const sign = async (sub: string) => {
        const token = await set.as.mint({ sub, cnf: { jkt: key.thumbprint } })
        await ask(set.url, withProof(token, await signProof(key, token, set.clock.now())))
        return callers.at(-1) as McpAuthInfo
      }
      const [alice, bob] = [await sign('alice'), await sign('bob')]

      for (const who of [alice, { ...alice, token: alice.token }])
        expect(await set.auth.getNextcloudToken(who)).toBe('nextcloud-token-1')
      const [{ headers, form }] = set.as.received('/token') as [ReceivedRequest]
      expect(form.get(mode === 'jwt-bearer' ? 'assertion' : 'subject_token')).toBe(alice.token)
      expect(headers).not.toHaveProperty('dpop')

      const refusal = { status: 401, reason: 'sender_constrained' }
      for (const who of [
        { token: alice.token },
        { ...(JSON.parse(JSON.stringify(alice)) as McpAuthInfo), token: alice.token },
        { ...alice, token: alice.token, extra: bob.extra },
      ]) {
        expect(await failureOf(set.auth.getNextcloudToken(who))).toMatchObject(refusal)
      }
      expect(await failureOf(set.auth.getNextcloudToken({ ...alice, subject: 'bob' }))).toBeInstanceOf(TypeError)
    },
  )

  it('sees and ends the connection at the endpoints for MCP clients', async () => {
    const set = await world({ mode: 'refresh-token', host: bareHost, options: { dpop: 'required' } })
    await set.connect()
    const token = await set.as.mint({ cnf: { jkt: key.thumbprint } })
    const request = async (method: string, path: string) => {
      const claims = { htm: method, htu: `https://mcp.example.com${path}` }
      const proof = await signProof(key, token, set.clock.now(), { claims })
      const sent = withProof(token, proof)
      // A browser's form goes to the same address.
      const form = ['Content-Type', 'application/x-www-form-urlencoded'] as const
      return ask(set.url, { ...sent, method, path, headers: [...(sent.headers ?? []), form] })
    }

    expect(await request('GET', '/nextcloud/status')).toMatchObject({ status: 200, body: { connected: true } })
    expect(await request('POST', '/nextcloud/disconnect')).toMatchObject({
      status: 200,
      body: { revoked: expect.anything() as unknown },
    })
    expect(await request('GET', '/nextcloud/status')).toMatchObject({ body: { connected: false } })
  })
})

describe('a shared storage', () => {
  const sharing = async (options: McpAuthOptions = {}, clock = manualClock()) => {
    const watched = watchedStorage(new MemoryStorage(undefined, clock))
    const stored = { storage: watched.storage, encryptionKey: ENCRYPTION_KEY, ...options }
    const set = await world({
      ...{ mode: 'none', host: bareHost, clock },
      options: { dpop: 'required', ...stored },
      handlers: (auth) => [auth, showCaller],
    })
    const sibling = await bareHost.start([set.open(), showCaller])
    onTestFinished(sibling.close)
    const token = await set.as.mint({ cnf: { jkt: key.thumbprint } })
    const post = async (url: string, proof: string) => (await ask(url, withProof(token, proof))).status
    const prove = (parts?: ProofParts) => signProof(key, token, clock.now(), parts)
    return { ...set, ...watched, clock, post, prove, siblingUrl: sibling.url, token }
  }

  it('lets a proof in once in all instances, for as long as it is good by any of their clocks', async () => {
    const { clock, post, prove, siblingUrl, storage, url } = await sharing()
    const [proof, early] = [await prove(), await prove({ claims: { iat: clock.now() / 1_000 + 300 } })]

    for (const one of [proof, early]) {
      expect(await post(url, one)).toBe(200)
      expect(await post(siblingUrl, one)).toBe(401)
    }
    expect(await post(siblingUrl, await prove())).toBe(200)
    // As an instance whose clock is 59 s behind has it.
    clock.advance(659_000)
    expect(await storage.list?.({ limit: 9 })).toHaveLength(1)
    clock.advance(3_000)
    expect(await storage.list?.({ limit: 9 })).toEqual([])
  })

  it('learns no token, key or user, and keeps nothing for longer than proofs are good', async () => {
    const { clock, post, prove, seen, storage, token, url } = await sharing()
    expect(await post(url, await prove({ claims: { jti: 'the-name-of-the-proof' } }))).toBe(200)

    const [recordOf = '', value = ''] = seen
    expect(await storage.get(recordOf)).toBeDefined()
    expect(value.split('.')).toHaveLength(5)
    for (const secret of [token, key.thumbprint, 'the-name-of-the-proof', 'alice'])
      expect(seen.join()).not.toContain(secret)
    clock.advance(361_000)
    expect(await storage.get(recordOf)).toBeUndefined()
  })

  it('that fails lets nobody in: 503', async () => {
    const { failing, post, prove, url } = await sharing()
    failing.add('put')
    expect(await post(url, await prove())).toBe(503)
    failing.clear()
    expect(await post(url, await prove())).toBe(200)
  })

  it('is asked nothing of tokens without a proof, and nothing of proofs that are no good', async () => {
    const { as, calls, post, prove, url } = await sharing({ dpop: 'allowed' })
    expect((await askWith(url, await as.mint())).status).toBe(200)
    expect(await post(url, await prove({ claims: { htm: 'GET' } }))).toBe(401)
    expect(calls).toEqual([])
  })
})

it.each([
  ['off', {}],
  ['allowed', { dpop_bound_access_tokens_required: false, dpop_signing_alg_values_supported: ALGORITHMS }],
  ['required', { dpop_bound_access_tokens_required: true, dpop_signing_alg_values_supported: ALGORITHMS }],
] as const)('the metadata tell of dpop %s (RFC 9728 section 2)', async (dpop, members) => {
  const { url } = await start({ dpop })
  const { body } = await ask(url, { path: '/.well-known/oauth-protected-resource/mcp' })

  expect(Object.fromEntries(Object.entries(body as object).filter(([name]) => name.startsWith('dpop')))).toEqual(
    members,
  )
})
