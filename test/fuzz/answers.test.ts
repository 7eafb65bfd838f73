import fc from 'fast-check'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { createEvents } from '../../src/events.js'
import { createRecords } from '../../src/grants/records.js'
import { createSealer } from '../../src/grants/seal.js'
import { McpAuthError, type McpAuthOptions } from '../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import { createAppPasswords, isAppPassword } from '../../src/nextcloud/app-passwords.js'
import { isRefusal } from '../../src/nextcloud/refusal.js'
import { userIn } from '../../src/nextcloud/users.js'
import { manualClock } from '../support/clock.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'
import { anyJson, anyText, fuzz, nearly, nearlyGood } from './support/fuzz.js'

// Each input has an instance of its own, whose caches would allocate all their places.
vi.mock('lru-cache', async () => ({ LRUCache: (await import('../support/small-caches.js')).SmallCache }))

const ISSUER = 'https://idp.example.com'
const METADATA = {
  issuer: ISSUER,
  jwks_uri: `${ISSUER}/jwks`,
  token_endpoint: `${ISSUER}/token`,
  revocation_endpoint: `${ISSUER}/revoke`,
}

let bed: World
let mcpToken: string
beforeAll(async () => {
  bed = await world({ mode: 'none' })
  mcpToken = await bed.as.mint({ iss: ISSUER })
  return bed.close
})

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values)

/** An answer over HTTP, of which nothing is sure. */
interface Given {
  readonly status: number
  readonly body: string | Uint8Array
  readonly headers: readonly (readonly [name: string, value: string])[]
}

const status = oneOf(200, 200, 200, 200, 400, 401, 403, 404, 201, 204, 302, 429, 500, 503)
const header = fc.tuple(
  oneOf('content-type', 'retry-after', 'location', 'www-authenticate', 'content-encoding'),
  fc.oneof(
    oneOf(
      'application/json',
      'text/html',
      '10',
      '-1',
      'Thu, 01 Jan 2099 00:00:00 GMT',
      'https://evil.example/',
      'Bearer error="x"',
      'gzip',
    ),
    fc.string({ unit: fc.constantFrom(...'abc019 =",;/'.split('')), maxLength: 12 }),
  ),
)
const JSON_TYPE = [['content-type', 'application/json']] as const
/** Half of the answers have nothing odd but their content. */
const answerOf = (json: fc.Arbitrary<unknown>): fc.Arbitrary<Given> =>
  fc.oneof(
    json.map((value) => ({ status: 200, body: JSON.stringify(value), headers: JSON_TYPE })),
    fc.record({
      status,
      body: fc.oneof(
        { arbitrary: json.map((value) => JSON.stringify(value)), weight: 6 },
        anyText(),
        fc.uint8Array({ maxLength: 30 }),
      ),
      headers: fc.array(header, { maxLength: 2 }),
    }),
  )

/** An instance whose authorization server and Nextcloud answer as they are told. */
function instance(answer: (path: string) => Given | undefined, more: McpAuthOptions = {}): McpAuth {
  const good = (path: string): Given => {
    const body = path.startsWith('/.well-known/') ? METADATA : path === '/jwks' ? { keys: bed.as.keys } : {}
    return { status: 200, body: JSON.stringify(body), headers: [['content-type', 'application/json']] }
  }
  const fetch = (url: unknown): Promise<Response> => {
    const { pathname } = new URL(String(url))
    const { status, body, headers } = answer(pathname) ?? good(pathname)
    const content = [204, 205, 304].includes(status) ? null : body
    return Promise.resolve(
      new Response(content as string | null, { status, headers: headers.map(([...pair]) => pair) }),
    )
  }
  return createMcpAuth(
    {
      issuer: ISSUER,
      resource: RESOURCE,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      requiredScopes: [],
      nextcloud: { url: 'https://cloud.example.com' },
      http: { fetch: fetch, retries: 0 },
      onEvent: () => undefined,
      ...more,
    },
    manualClock(),
  )
}

/** Waits for an outcome. A failure must be the package's own, with a status that does not blame the caller, and no fault inside. */
async function outcome<T>(work: Promise<T>, statuses: readonly number[]): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    expect(error).toBeInstanceOf(McpAuthError)
    const { status, code } = error as McpAuthError
    expect(code).not.toBe('ERR_INTERNAL')
    expect(statuses).toContain(status)
    return undefined
  }
}

describe('the metadata of an authorization server', () => {
  const url = oneOf(
    `${ISSUER}/jwks`,
    'http://idp.example.com/jwks',
    'https://other.example/jwks',
    'x',
    '',
    'file:///etc/passwd',
    'http://127.0.0.1/',
  )
  const members = {
    issuer: oneOf(ISSUER, `${ISSUER}/`, 'https://other.example', ''),
    jwks_uri: url,
    token_endpoint: url,
    introspection_endpoint: url,
    authorization_endpoint: url,
    id_token_signing_alg_values_supported: fc.constant(['ES256']),
    token_endpoint_auth_methods_supported: fc.constant(['none']),
  }
  const document = fc.oneof(nearlyGood(METADATA, nearly(members)), anyJson(members))

  it('is used only if it names its issuer and stays on https, and is an outage or a wrong setting otherwise', async () => {
    await fuzz(
      fc.asyncProperty(answerOf(document), async (given) => {
        const auth = instance((path) => (path.startsWith('/.well-known/') ? given : undefined))
        const info = await outcome(auth.verify(mcpToken), [500, 503])
        const exchanged = await outcome(auth.getNextcloudToken({ token: mcpToken }), [401, 500, 502, 503])
        expect(exchanged).toBeUndefined()
        if (info === undefined) return
        const read = JSON.parse(
          Buffer.from(given.body)
            .toString()
            .replace(/^\uFEFF/, ''),
        ) as Record<string, unknown>
        expect(given.status).toBe(200)
        expect(read['issuer']).toBe(ISSUER)
        for (const name of ['jwks_uri', 'token_endpoint', 'introspection_endpoint', 'authorization_endpoint']) {
          if (read[name] !== undefined) expect(JSON.stringify(read[name])).toMatch(/^"https:/)
        }
      }),
    )
  })

  it('has keys of which only good ones count, whatever stands beside them', async () => {
    const key = anyJson({
      kty: oneOf('EC', 'RSA', 'oct', 'OKP'),
      kid: oneOf('first', 'second'),
      crv: oneOf('P-256', 'P-384', 'Ed25519'),
      alg: oneOf('ES256', 'RS256', 'HS256'),
      use: oneOf('sig', 'enc'),
      x: oneOf(bed.as.key.publicJwk.x, 'AA', ''),
      y: oneOf(bed.as.key.publicJwk.y, 'AA'),
      n: oneOf('AA'),
      e: oneOf('AQAB'),
      k: oneOf('AA'),
      key_ops: oneOf(['verify'], ['sign'], []),
    })
    const set = fc.oneof(anyJson({ keys: fc.array(key, { maxLength: 4 }) }), fc.jsonValue())
    const own = () => fc.array(key, { maxLength: 3 }).map((keys) => ({ keys: [...keys, bed.as.key.publicJwk] }))
    await fuzz(
      fc.asyncProperty(answerOf(fc.oneof(set, own())), async (given) => {
        const auth = instance((path) => (path === '/jwks' ? given : undefined))
        const info = await outcome(auth.verify(mcpToken), [401, 500, 503])
        if (info === undefined) return
        const text = Buffer.from(given.body).toString()
        expect(text).toContain(bed.as.key.publicJwk.x)
        expect(text).toContain(bed.as.key.publicJwk.y)
      }),
    )
  })
})

describe('an answer of the token endpoint', () => {
  const GOOD = { access_token: 'a-token', token_type: 'Bearer', expires_in: 300 }
  const members = () => ({
    access_token: oneOf('a-token', '', 'ä', 'a\nb', mcpToken),
    token_type: oneOf('Bearer', 'bearer', 'N_A', 'DPoP', 'mac'),
    issued_token_type: oneOf(
      'urn:ietf:params:oauth:token-type:access_token',
      'urn:ietf:params:oauth:token-type:id_token',
    ),
    expires_in: oneOf<unknown>(300, 0, -1, '300', 1e308, null),
    refresh_token: oneOf('r', ''),
    error: oneOf('invalid_grant', 'invalid_client', 'invalid_target', 'temporarily_unavailable', ''),
    error_description: anyText(20),
    scope: oneOf('a b', ''),
  })
  const said = () => fc.oneof(nearlyGood(GOOD, nearly(members())), anyJson(members()))

  it('gives a token only if it is one for Nextcloud by a plain check, and is never a fault in here', async () => {
    await fuzz(
      fc.asyncProperty(answerOf(said()), async (given) => {
        const auth = instance((path) => (path === '/token' ? given : undefined))
        const token = await outcome(auth.getNextcloudToken({ token: mcpToken }), [401, 403, 500, 502, 503])
        if (token === undefined) return
        const read = JSON.parse(new TextDecoder().decode(Buffer.from(given.body))) as Record<string, unknown>
        expect(given.status).toBe(200)
        expect(token).toBe(read['access_token'])
        expect(token).toMatch(/^[\x20-\x7E]+$/)
        expect(token).not.toBe(mcpToken)
        expect(String(read['token_type']).toLowerCase()).toMatch(/^(bearer|n_a)$/)
        expect(read['issued_token_type']).not.toBe('urn:ietf:params:oauth:token-type:id_token')
      }),
    )
  })
})

describe('an answer of Nextcloud', () => {
  const meta = anyJson({
    statuscode: oneOf<unknown>(200, 100, 997, '997', 404),
    message: oneOf('OK', 'Unauthorised', 'Current user is not logged in', 'x'),
    status: oneOf('ok'),
  })
  const data = anyJson({ id: oneOf('alice', ''), displayname: oneOf('Alice', ''), email: oneOf('a@b', '') })
  const ocs = anyJson({
    ocs: fc.record({ meta, data }, { requiredKeys: [] }),
    message: oneOf('', 'Account disabled', 'x'),
  })
  const flow = anyJson({
    login: oneOf(
      'https://cloud.example.com/login/v2/flow/x',
      'http://cloud.example.com/x',
      'javascript:x',
      'https://a:b@cloud.example.com/',
    ),
    poll: fc.oneof(fc.record({ token: oneOf('t', '') }), fc.constant(null)),
    server: oneOf('https://cloud.example.com'),
    loginName: fc.oneof(oneOf('alice', 'a:b', ''), anyText(5)),
    appPassword: fc.oneof(oneOf('password', '', 'a b'), anyText(5)),
  })

  it('is read as what it is, and nothing in it makes this server fail', async () => {
    await fuzz(
      fc.asyncProperty(answerOf(fc.oneof(ocs, flow)), async ({ status, body, headers }) => {
        const respond = () =>
          new Response([204, 205, 304].includes(status) ? null : (body as string), {
            status,
            headers: headers.map(([...pair]) => pair),
          })
        const cloud = new URL('https://cloud.example.com')
        const of = { url: cloud, base: cloud.href, publicUrl: cloud, publicBase: cloud.href }
        const passwords = createAppPasswords(of, { askNextcloud: () => Promise.resolve(respond()) })
        const given = { loginName: 'alice', password: 'password' }
        const text = new TextDecoder().decode(Buffer.from(body))
        const refused = await passwords.isRefused(given)
        if (refused === true) expect(status === 401 && text.includes('997')).toBe(true)
        if (refused === false) expect(status).toBe(200)
        const removed = await passwords.remove(given)
        if (removed === true) expect(status === 200 && text.includes('200')).toBe(true)
        const begun = await outcome(passwords.start('a client'), [503])
        if (begun !== undefined) expect(begun.login).toMatch(/^https:\/\/[^@]*$/)
        const polled = await outcome(passwords.poll('token'), [503])
        if (typeof polled === 'object') {
          expect(isAppPassword(polled)).toBe(true)
          // A password may have a colon, a name may not (RFC 7617 §2).
          expect(polled.loginName).not.toMatch(/[:\r\n\0]/)
          expect(polled.password).not.toMatch(/[\r\n\0]/)
        }
        if (status !== 204) expect(typeof (await isRefusal(respond(), 1_000))).toBe('boolean')
        expect(typeof (userIn(new Uint8Array(Buffer.from(body)))?.id ?? '')).toBe('string')
      }),
    )
  })
})

describe('an answer of a store', () => {
  const sealer = createSealer([new Uint8Array(32).fill(7)])
  const clock = manualClock()
  const events = createEvents(() => undefined, clock)

  it('is taken only in the form that the contract has, and opens only if it was sealed for its record', async () => {
    const sealed = await sealer.seal('v1:key', { good: true })
    const other = await sealer.seal('v1:other', { good: false })
    const changed = fc.nat(sealed.length).map((at) => `${sealed.slice(0, at)}A${sealed.slice(at + 1)}`)
    const value = fc.oneof(oneOf<unknown>(sealed, other, ''), changed, anyText(), fc.anything())
    const answer = fc.oneof(
      fc.record({ value, version: fc.oneof(anyText(3), fc.anything()) }, { requiredKeys: [] }),
      fc.anything(),
    )
    await fuzz(
      fc.asyncProperty(answer, fc.boolean(), async (given, throws) => {
        const give = (): Promise<never> => {
          if (throws) throw given
          return Promise.resolve(given as never)
        }
        const records = createRecords(
          { shared: true, get: give, put: give, delete: give, list: give },
          sealer,
          clock,
          events,
        )
        const read = await outcome(records.read('v1:key'), [500, 503])
        if (read !== undefined) expect(read.value).toEqual({ good: true })
        await outcome(records.write('v1:key', {}, null), [503])
        await outcome(records.remove('v1:key', 'v'), [503])
        await outcome(Promise.resolve(records.list?.({ limit: 2 })), [503])
      }),
    )
  })
})
