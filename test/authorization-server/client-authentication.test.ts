import fc from 'fast-check'
import { generateKeyPair, jwtVerify } from 'jose'
import { PrivateKeyJwt, type AuthorizationServer, type ClientAuth } from 'oauth4webapi'
import { describe, expect, it, vi } from 'vitest'
import { introduction } from '../../src/authorization-server/client-authentication.js'
import { quirksOf } from '../../src/presets.js'
import type { ClientConfig } from '../../src/config/config.js'
import { CLIENT_ID, CLIENT_SECRET, type ReceivedRequest } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'

const AS: AuthorizationServer = { issuer: 'https://idp.example.com' }
const OWN = { id: CLIENT_ID, secret: CLIENT_SECRET }

/** Returns what the client says about itself in a request to a server that lists these methods. */
async function authenticated(
  client: Partial<ClientConfig>,
  methods?: string[],
): Promise<{ authorization: string | null; body: Record<string, string> }> {
  const config = { id: CLIENT_ID, secret: undefined, auth: undefined, hasCredentials: true, ...client }
  const as = methods === undefined ? AS : { ...AS, token_endpoint_auth_methods_supported: methods }
  const [body, headers] = [new URLSearchParams({ grant_type: 'x' }), new Headers()]
  const [server, self, prove] = introduction(config, as, quirksOf('generic'))
  await prove(server, self, body, headers)
  return { authorization: headers.get('authorization'), body: Object.fromEntries(body) }
}

/** RFC 6749 §2.3.1 from the server's side: base64, split at the first colon, each half form-decoded. */
function decodeBasic(header: string | null | undefined): { id: string; secret: string } {
  const text = Buffer.from(header?.replace(/^Basic /, '') ?? '', 'base64').toString()
  const colon = text.indexOf(':')
  const decode = (half: string): string => decodeURIComponent(half.replaceAll('+', '%20'))
  return { id: decode(text.slice(0, colon)), secret: decode(text.slice(colon + 1)) }
}

describe('client_secret_basic', () => {
  it('carries any id and secret, in the header alone', async () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1 })
    const odd = ['a:b', 'a%3Ab', 'a+b', 'with space', 'a&b=c?d#e/f', 'ö 鍵 🔑', "~!*()'", '%', '\t\n\r\0']
    await fc.assert(
      fc.asyncProperty(text, text, async (id, secret) => {
        const { authorization, body } = await authenticated({ id, secret })
        expect(decodeBasic(authorization)).toEqual({ id, secret })
        expect(authorization).toMatch(/^Basic [A-Za-z0-9+/]+=*$/)
        expect(body).toEqual({ grant_type: 'x' })
      }),
      { examples: odd.map((each) => [each, `${each}:${each}`]) },
    )
  })

  it('leaves letters, digits, dots, hyphens and underscores as they are, for servers that never decode', async () => {
    const { authorization } = await authenticated({ id: 'mcp-server_1.example', secret: 's3cr3t-._X' })

    expect(authorization).toBe(`Basic ${btoa('mcp-server_1.example:s3cr3t-._X')}`)
  })

  it.each<[name: string, methods: string[] | undefined]>([
    ['says nothing', undefined],
    ['lists it', ['client_secret_basic']],
    ['lists it after client_secret_post', ['client_secret_post', 'client_secret_basic']],
    ['lists neither of the two', ['private_key_jwt', 'none']],
    ['lists nothing', []],
  ])('is used where the server %s', async (_name, methods) => {
    const { authorization, body } = await authenticated({ secret: CLIENT_SECRET }, methods)

    expect(decodeBasic(authorization)).toEqual(OWN)
    expect(body).toEqual({ grant_type: 'x' })
  })
})

it.each([[['client_secret_post']], [['private_key_jwt', 'client_secret_post', 'none']]])(
  'client_secret_post is used where the server lists that and not basic: %j',
  async (methods) => {
    const body = { grant_type: 'x', client_id: CLIENT_ID, client_secret: CLIENT_SECRET }
    expect(await authenticated({ secret: CLIENT_SECRET }, methods)).toEqual({ authorization: null, body })
  },
)

it('a client without a secret says its id only', async () => {
  const body = { grant_type: 'x', client_id: CLIENT_ID }
  expect(await authenticated({}, ['client_secret_post'])).toEqual({ authorization: null, body })
})

it("the operator's own function comes before everything else", async () => {
  const auth: ClientAuth = (_as, client, form) => form.set('signed_by', client.client_id)
  const body = { grant_type: 'x', signed_by: CLIENT_ID }
  expect(await authenticated({ auth, secret: CLIENT_SECRET }, ['client_secret_post'])).toEqual({
    authorization: null,
    body,
  })
})

describe('at the server', () => {
  /** Makes one token exchange and one introspection. */
  async function requestsOf({ as, auth }: World): Promise<ReceivedRequest[]> {
    as.script('/introspect', { json: { active: false } })
    await auth.getNextcloudToken({ token: await as.mint() })
    await expect(auth.verify('opaque')).rejects.toMatchObject({ reason: 'inactive' })
    return [...as.received('/token'), ...as.received('/introspect')]
  }

  it.each<[place: string, methods: string[] | undefined, inHeader: boolean]>([
    ['header', undefined, true],
    ['body', ['client_secret_post'], false],
  ])('id and secret come in the %s alone, for exchange and introspection alike', async (_place, methods, inHeader) => {
    const requests = await requestsOf(await world({ metadata: { token_endpoint_auth_methods_supported: methods } }))

    expect(requests).toHaveLength(2)
    for (const { headers, form } of requests) {
      const { authorization } = headers
      expect(authorization && decodeBasic(authorization)).toEqual(inHeader ? OWN : undefined)
      // Some servers read the header only if the body has no client_id.
      expect([...form.getAll('client_id'), ...form.getAll('client_secret')]).toEqual(inHeader ? [] : Object.values(OWN))
    }
  })

  it("the client's function is asked for each request, with the server's metadata", async () => {
    const clientAuth = vi.fn<ClientAuth>()
    const bed = await world({ options: { clientAuth } })
    await requestsOf(bed)

    const asked = clientAuth.mock.calls.map(([{ issuer }, client]) => [issuer, client.client_id])
    expect(asked).toEqual([1, 2].map(() => [bed.as.issuer, CLIENT_ID]))
  })

  it('private_key_jwt signs a fresh assertion for each attempt', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256')
    const { as, auth } = await world({ options: { clientAuth: PrivateKeyJwt(privateKey) } })
    const token = { access_token: 'nextcloud-token', token_type: 'Bearer' }
    as.script('/token', { status: 503 }, { status: 500 }, { json: token })

    expect(await auth.getNextcloudToken({ token: await as.mint() })).toBe('nextcloud-token')

    const assertions = as.received('/token').map(({ form }) => form.get('client_assertion') ?? '')
    const options = { issuer: CLIENT_ID, subject: CLIENT_ID, audience: as.issuer }
    const verified = await Promise.all(assertions.map((assertion) => jwtVerify(assertion, publicKey, options)))
    expect(new Set(verified.map(({ payload }) => payload.jti)).size).toBe(3)
    expect(as.received('/token').every(({ headers }) => headers.authorization === undefined)).toBe(true)
  })

  it('a function that fails is a bug of the app, 500, and nothing is sent', async () => {
    const clientAuth = (): never => {
      throw new Error('no key')
    }
    const { as, auth } = await world({ options: { clientAuth } })

    await expect(auth.getNextcloudToken({ token: await as.mint() })).rejects.toMatchObject({
      status: 500,
      code: 'ERR_INTERNAL',
      cause: new Error('no key'),
    })
    expect(as.received('/token')).toEqual([])
  })

  it('a function that does not come to an end is given up after http.timeout', async () => {
    const options = { clientAuth: () => new Promise<void>(() => undefined), http: { timeout: 80 } }
    const { auth } = await world({ options })

    await expect(auth.verify('opaque')).rejects.toMatchObject({ status: 503 })
  }, 2_000)
})
