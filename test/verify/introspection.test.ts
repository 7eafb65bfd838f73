import { inspect } from 'node:util'
import { errors, generateKeyPair } from 'jose'
import { PrivateKeyJwt, type IntrospectionResponse } from 'oauth4webapi'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { UpstreamUnavailableError, type InvalidTokenReason } from '../../src/errors/errors.js'
import type { McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { createIntrospection } from '../../src/verify/introspection.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  signingKey,
  type ScriptedAnswer,
} from '../support/scripted-authorization-server.js'
import { expectRefusal } from '../support/expect-refusal.js'
import { world, type World } from '../support/world.js'

const OPAQUE = 'an-opaque-token'

let bed: World
let clock: World['clock']
let as: World['as']

beforeEach(async () => {
  bed = await world({ mode: 'none' })
  ;({ clock, as } = bed)
})
afterEach(() => bed.close())

/** A middleware that can introspect. */
function open(options: McpAuthOptions = {}): McpAuth {
  return bed.open({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, ...options })
}

const now = (): number => clock.now() / 1_000
const asked = () => as.received('/introspect')

/** The answer about a good token, but for these. */
function answer(changes: Record<string, unknown> = {}) {
  const good = { active: true, iss: as.issuer, sub: 'alice', aud: RESOURCE, client_id: 'c', scope: 'a b', iat: now() }
  return { json: { ...good, exp: now() + 600, ...changes } }
}

describe('by default', () => {
  it('the authorization server is asked about a token that is not a JWT', async () => {
    as.script('/introspect', answer({ username: 'Alice' }))

    const info = await open().verify(OPAQUE)

    expect(info).toMatchObject({
      token: OPAQUE,
      subject: 'alice',
      issuer: as.issuer,
      clientId: 'c',
      scopes: ['a', 'b'],
      expiresAt: now() + 600,
      audience: [RESOURCE],
      claims: { active: true, username: 'Alice' },
    })
    expect(asked()).toHaveLength(1)
    const { method, headers, form } = asked()[0]!
    expect(method).toBe('POST')
    expect(headers.authorization).toMatch(/^Basic /)
    expect(Object.fromEntries(form)).toEqual({ token: OPAQUE, token_type_hint: 'access_token' })
  })

  it('it is asked about an encrypted token (JWE) too, which is opaque here', async () => {
    as.script('/introspect', answer())

    expect((await open().verify('eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA')).subject).toBe('alice')
  })

  it('it is not asked about a JWT, good or bad', async () => {
    const auth = open()
    await auth.verify(await as.mint())
    await expectRefusal(auth, await as.mint({}, { key: await signingKey('first') }), 'signature')

    expect(asked()).toEqual([])
  })
})

it('tokens with the same ending are told apart, both when they come together and when both are cached', async () => {
  as.script('/introspect', ({ form }, res) => {
    const sub = form.get('token')!.startsWith('bob') ? 'bob' : 'alice'
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer({ sub }).json))
  })
  const ending = '-for-the-server-of-the-organisation-in-production'
  const auth = open()
  const both = async (): Promise<string[]> => {
    const infos = await Promise.all([`alice${ending}`, `bob${ending}`].map((token) => auth.verify(token)))
    return infos.map(({ subject }) => subject)
  }

  expect(await both()).toEqual(['alice', 'bob'])
  expect(await both()).toEqual(['alice', 'bob'])
  // Nor does one take the other's place.
  expect(asked()).toHaveLength(2)
})

it.each<[name: string, failure: Error]>([
  ['JOSENotSupported', new errors.JOSENotSupported('no such algorithm')],
  ['JWSInvalid', new errors.JWSInvalid('no such key')],
  ['NotSupportedError', new DOMException('no such algorithm', 'NotSupportedError')],
])('a clientAuth that fails with %s is no fault of the token: 500', async (_name, failure) => {
  const clientAuth = (): never => {
    throw failure
  }

  await expect(bed.open({ clientId: CLIENT_ID, clientAuth }).verify(OPAQUE)).rejects.toMatchObject({ status: 500 })
})

describe("with 'always'", () => {
  it('a server without an endpoint for it is a matter for the operator, 500', async () => {
    delete as.metadata['introspection_endpoint']
    const auth = open({ introspection: 'always' })
    const misconfigured = { status: 500, code: 'ERR_CONFIGURATION', option: 'introspection' }

    await expect(auth.verify(await as.mint())).rejects.toMatchObject(misconfigured)
    await expect(auth.ready()).rejects.toMatchObject(misconfigured)
  })

  it('its word counts for JWTs too, and no key is fetched', async () => {
    as.script('/introspect', answer({ sub: 'alice-by-introspection' }), { json: { active: false } })
    const auth = open({ introspection: 'always' })
    const [good, revoked] = [await as.mint(), await as.mint({ sub: 'bob' })]

    expect((await auth.verify(good)).subject).toBe('alice-by-introspection')
    await expectRefusal(auth, revoked, 'inactive')
    expect(asked().map(({ form }) => form.get('token'))).toEqual([good, revoked])
    expect(as.received('/jwks')).toEqual([])
  })

  it('ready() needs no keys', async () => {
    as.script('/jwks', { status: 500 })

    await open({ introspection: 'always' }).ready()
    expect(as.received('/.well-known/openid-configuration')).toHaveLength(1)
    expect(as.received('/jwks')).toEqual([])
  })
})

describe('with false', () => {
  it('an opaque token is refused, and nobody is asked', async () => {
    await expectRefusal(open({ introspection: false }), OPAQUE, 'opaque')
    expect(as.received()).toEqual([])
  })
})

describe('an answer', () => {
  it('without iss is from the issuer that was asked (RFC 7662 §2.2)', async () => {
    as.script('/introspect', answer({ iss: undefined }))

    expect((await open().verify(OPAQUE)).issuer).toBe(as.issuer)
  })

  it.each<[changes: Record<string, unknown>, reason: InvalidTokenReason]>([
    [{ active: false }, 'inactive'],
    [{ iss: 'https://other.example.com' }, 'issuer'],
    [{ sub: undefined }, 'missing_claim'],
    [{ aud: 'https://other.example.com' }, 'audience'],
    [{ exp: undefined }, 'missing_claim'],
    [{ nbf: 'soon' }, 'not_yet_valid'],
    [{ iat: 'late' }, 'not_yet_valid'],
    [{ token_type: 'refresh_token' }, 'token_type'],
    [{ token_type: 'id_token' }, 'token_type'],
    [{ token_type: 'not a bearer' }, 'token_type'],
    [{ typ: 'Refresh' }, 'token_type'],
    [{ token_type: 7 }, 'token_type'],
    [{ token_type: 'DPoP' }, 'sender_constrained'],
    [{ cnf: { jkt: 'thumbprint' } }, 'sender_constrained'],
  ])('of %o means that the token is refused: %s', async (changes, reason) => {
    as.script('/introspect', answer(changes))

    await expectRefusal(open(), OPAQUE, reason)
  })

  it.each(['Bearer', 'bearer', 'access_token', 'N_A'])(
    'with a token_type of %s is about an access token',
    async (type) => {
      as.script('/introspect', answer({ token_type: type }))

      expect((await open().verify(OPAQUE)).subject).toBe('alice')
    },
  )

  it('is held against allowedClients and validateClaims', async () => {
    as.script('/introspect', answer({ client_id: 'other' }), answer({ groups: [] }), answer({ groups: ['staff'] }))
    const auth = open({
      allowedClients: ['c'],
      validateClaims: ({ groups }) => (groups as string[]).includes('staff'),
    })

    await expectRefusal(auth, 'first', 'client')
    await expectRefusal(auth, 'second', 'claims')
    expect((await auth.verify('third')).subject).toBe('alice')
  })
})

describe('the answer is remembered', () => {
  it('for 300 s, and then the server is asked again', async () => {
    as.script('/introspect', answer(), { json: { active: false } })
    const auth = open()
    await auth.verify(OPAQUE)
    clock.advance(299_999)
    await auth.verify(OPAQUE)
    expect(asked()).toHaveLength(1)
    clock.advance(1)

    await expectRefusal(auth, OPAQUE, 'inactive')
    expect(asked()).toHaveLength(2)
  })

  it('for five seconds when it is no', async () => {
    as.script('/introspect', { json: { active: false } }, answer())
    const auth = open()
    await expectRefusal(auth, OPAQUE, 'inactive')
    clock.advance(4_999)
    await expectRefusal(auth, OPAQUE, 'inactive')
    expect(asked()).toHaveLength(1)
    clock.advance(1)

    expect((await auth.verify(OPAQUE)).subject).toBe('alice')
  })

  it('by all who wait for it', async () => {
    as.script('/introspect', answer())
    const auth = open()
    await Promise.all(Array.from({ length: 10 }, () => auth.verify(OPAQUE)))

    expect(asked()).toHaveLength(1)
  })
})

it('an opaque token is refused, and nobody asked about it, where this server is no client', async () => {
  await expectRefusal(bed.open(), OPAQUE, 'opaque')
  expect(as.received()).toEqual([])
})

it('a client with a key of its own may ask', async () => {
  as.script('/introspect', answer())
  const { privateKey } = await generateKeyPair('ES256')
  const auth = bed.open({ clientId: CLIENT_ID, clientAuth: PrivateKeyJwt(privateKey) })

  expect((await auth.verify(OPAQUE)).subject).toBe('alice')
  expect(asked()[0]!.form.get('client_assertion_type')).toMatch(/:jwt-bearer$/)
})

it.each([400, 401, 403, 405])(
  'a server that refuses this client by %i is a matter for the operator, 500',
  async (status) => {
    as.script('/introspect', { status, json: { error: 'invalid_client', error_description: 'secret-thing' } })

    const failure: unknown = await open()
      .verify(OPAQUE)
      .catch((error: unknown) => error)

    expect(failure).toMatchObject({
      code: 'ERR_CONFIGURATION',
      status: 500,
      option: 'introspection',
      detail: expect.stringContaining(`with status ${status}`) as string,
      body: { error: 'server_error', error_description: 'The server is not configured correctly' },
      headers: { 'Cache-Control': 'no-store' },
    })
    expect(inspect(failure)).not.toMatch(/secret-thing|an-opaque-token/)
    expect(asked()).toHaveLength(1)
  },
)

describe('it is an outage, 503, when', () => {
  const outage = { status: 503, code: 'ERR_UPSTREAM_UNAVAILABLE' }

  it.each<[name: string, answer: ScriptedAnswer]>([
    ['fails', { status: 500 }],
    ['is not there', { status: 404 }],
    ['answers with a page', { text: '<html>' }],
    ['answers with a list', { json: [{ active: true }] }],
    ['does not say whether the token is active', { json: { sub: 'alice' } }],
    ['says so in a string', { json: { active: 'true' } }],
    ['has no content', { status: 204, text: '' }],
  ])('the server %s', async (_name, scripted) => {
    as.script('/introspect', scripted)

    await expect(open({ http: { retries: 0 } }).verify(OPAQUE)).rejects.toMatchObject(outage)
  })

  it('and the question is repeated before that, about a token that was good before', async () => {
    const auth = open()
    as.script(
      '/introspect',
      answer({ exp: clock.now() / 1_000 + 3_600 }),
      { status: 500 },
      { text: '<html>' },
      answer(),
    )
    await auth.verify(OPAQUE)
    clock.advance(301_000)

    expect((await auth.verify(OPAQUE)).subject).toBe('alice')
    expect(clock.pauses).toEqual([100, 200])
  })

  it('and the question is not repeated about a token of which nothing is known', async () => {
    as.script('/introspect', { status: 500 }, answer())

    await expect(open().verify(OPAQUE)).rejects.toMatchObject(outage)
    expect(asked()).toHaveLength(1)
  })
})

describe('strangers who send any opaque token', () => {
  it('cause one request for each token after a failure, and the next when its cool-down is over', async () => {
    as.script('/introspect', { status: 500 })
    const auth = open({ http: { retries: 0 } })
    for (const [index, retryAfter] of [1, 2, 4].entries()) {
      for (const token of ['a', 'b', 'a', 'b']) {
        await expect(auth.verify(token)).rejects.toMatchObject({ status: 503, retryAfter })
      }
      expect(asked()).toHaveLength((index + 1) * 2)
      clock.advance(retryAfter * 1_000)
    }
  })

  /** Introspection by a client that answers with what this function does. */
  const introspectionBy = (introspect: (token: string) => Promise<IntrospectionResponse>) =>
    createIntrospection({ introspect }, clock, 10_000)

  it('cannot close the server for more than a minute, and an answer opens it', async () => {
    let answering = (): Promise<IntrospectionResponse> =>
      Promise.reject(new UpstreamUnavailableError('unavailable', { statedRetryAfter: 3_600 }))
    const introspect = introspectionBy(() => answering())

    await expect(introspect('a')).rejects.toMatchObject({ retryAfter: 60 })
    answering = () => Promise.resolve({ active: true })
    clock.advance(60_000)
    expect(await introspect('a')).toEqual({ active: true })
    answering = () => Promise.reject(new UpstreamUnavailableError('unavailable'))
    await expect(introspect('a')).rejects.toMatchObject({ retryAfter: 1 })
  })

  it('have 50 requests under way at the most', async () => {
    let answerAll!: (answer: IntrospectionResponse) => void
    const answered = new Promise<IntrospectionResponse>((resolve) => (answerAll = resolve))
    const introspect = introspectionBy(() => answered)
    const underWay = Array.from({ length: 50 }, (_, index) => introspect(`${index}`))

    const late = expect(introspect('one more')).rejects.toMatchObject({ status: 503, retryAfter: 1 })
    clock.advance(10_000)
    await late
    const waiting = introspect('another')
    answerAll({ active: true })
    await Promise.all(underWay)
    expect(await waiting).toEqual({ active: true })
  })

  it('fill a memory of a thousand inactive tokens, and no more', async () => {
    const introspect = vi.fn(() => Promise.resolve({ active: false }))
    const introspection = introspectionBy(introspect)
    for (let index = 0; index <= 1_000; index += 1) await introspection(`${index}`)
    expect(introspect).toHaveBeenCalledTimes(1_001)

    expect(await introspection('1')).toEqual({ active: false })
    expect(introspect).toHaveBeenCalledTimes(1_001)
    await introspection('0')
    expect(introspect).toHaveBeenCalledTimes(1_002)
  })
})

it('what the answer says is kept out of errors about it', async () => {
  const onEvent = vi.fn()
  as.script('/introspect', { json: { active: 'perhaps', token: OPAQUE } })

  const failure: unknown = await open({ onEvent, http: { retries: 0 } })
    .verify(OPAQUE)
    .catch((error: unknown) => error)

  expect(failure).toMatchObject({ status: 503 })
  expect(inspect(failure, { depth: 9 })).not.toContain(OPAQUE)
  expect(onEvent).toHaveBeenCalledWith(expect.objectContaining({ type: 'idp.unavailable', operation: 'introspection' }))
  expect(JSON.stringify(onEvent.mock.calls)).not.toContain(OPAQUE)
})
