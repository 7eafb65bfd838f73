import { decodeJwt } from 'jose'
import { describe, expect, it } from 'vitest'
import { clientOf, REDIRECT_URI, register, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

/** What OAuth 2.1, its extensions and MCP's authorization ask of an authorization server, seen from outside. */

const METADATA = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']

interface JsonAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

async function jsonOf(answer: Promise<Response>): Promise<JsonAnswer> {
  const { status, headers } = await answer
  return { status, headers, body: (await (await answer).json()) as Record<string, unknown> }
}

const post = ({ origin }: SignInServer, path: string, fields: Record<string, string> | string): Promise<Response> =>
  fetch(origin + path, { method: 'POST', body: new URLSearchParams(fields) })

/** The parameters with which a request is refused at the client, without a page. Those of a request for tokens are in the fragment. */
async function refusedAtClient(url: URL): Promise<URLSearchParams> {
  const answer = await fetch(url, { redirect: 'manual' })
  const to = answer.headers.get('location') ?? ''
  expect(to.slice(0, REDIRECT_URI.length + 1)).toMatch(/^https:\/\/client\.example\.com\/callback[?#]$/)
  return new URLSearchParams(to.slice(REDIRECT_URI.length + 1))
}

describe('the metadata (RFC 8414)', () => {
  it.each(METADATA)('at %s says what there is, all of it on the origin of the issuer', async (path) => {
    const server = await startSignInServer()
    const { origin } = server

    const { status, headers, body } = await jsonOf(fetch(origin + path))

    expect([status, headers.get('content-type'), headers.get('access-control-allow-origin')]).toEqual([
      200,
      expect.stringMatching(/^application\/json/),
      '*',
    ])
    expect(body).toMatchObject({
      issuer: origin,
      authorization_endpoint: `${origin}/oauth/authorize`,
      token_endpoint: `${origin}/oauth/token`,
      registration_endpoint: `${origin}/oauth/register`,
      revocation_endpoint: `${origin}/oauth/revoke`,
      jwks_uri: `${origin}/oauth/jwks`,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['none'],
      authorization_response_iss_parameter_supported: true,
      client_id_metadata_document_supported: true,
    })
    expect([body['grant_types_supported']].flat().sort()).toEqual(['authorization_code', 'refresh_token'])
    expect(body['scopes_supported']).toEqual(expect.arrayContaining(['nextcloud', 'offline_access']))
    // Nothing is offered that is not there.
    const offered = Object.keys(body).filter((name) => /_endpoint$/.test(name))
    expect(offered.sort()).toEqual([
      'authorization_endpoint',
      'registration_endpoint',
      'revocation_endpoint',
      'token_endpoint',
    ])
  })

  it('publishes keys without their private part', async () => {
    const { origin } = await startSignInServer()

    const { body } = await jsonOf(fetch(`${origin}/oauth/jwks`))

    const [key, ...others] = body['keys'] as Record<string, unknown>[]
    expect(others).toEqual([])
    expect(Object.keys(key ?? {}).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  })
})

describe('a request for authorization (OAuth 2.1 §4.1.1)', () => {
  it.each([
    ['has no challenge', { code_challenge: '', code_challenge_method: '' }, 'invalid_request'],
    ['has a challenge in plain text', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['has a challenge of no method, which is plain text', { code_challenge_method: '' }, 'invalid_request'],
    ['asks for a token', { response_type: 'token' }, 'unsupported_response_type'],
    ['asks for an ID token', { response_type: 'code id_token' }, 'unsupported_response_type'],
    ['asks for no type', { response_type: '' }, 'invalid_request'],
    ['is for another resource', { resource: 'https://other.example.com/mcp' }, 'invalid_target'],
    ['is for a resource with a fragment', { resource: 'https://other.example.com/mcp#x' }, 'invalid_target'],
    ['holds a request object', { request: 'e30.e30.' }, 'request_not_supported'],
    ['points to a request object', { request_uri: 'https://client.example.com/r' }, 'request_uri_not_supported'],
    ['asks that nobody be asked', { prompt: 'none' }, 'login_required'],
    ['asks for another mode of the answer', { response_mode: 'web_message' }, 'unsupported_response_mode'],
  ])('that %s is refused at the client, with issuer and state', async (_what, more, error) => {
    // Of a client that anybody may have registered, it is a page: see redirects.test.ts.
    const server = await startSignInServer({ clients: [{ clientId: 'by-hand', redirectUris: [REDIRECT_URI] }] })
    const url = clientOf(server, 'by-hand').authorizationUrl(more)
    for (const [name, value] of Object.entries(more)) if (value === '') url.searchParams.delete(name)

    const answer = await refusedAtClient(url)

    answer.delete('error_description')
    expect(Object.fromEntries(answer)).toEqual({
      error,
      iss: server.origin,
      state: 'state-of-the-client',
    })
  })

  it.each(['state', 'code_challenge', 'scope', 'redirect_uri', 'client_id'])(
    'that has %s twice leads nowhere near a code',
    async (name) => {
      const server = await startSignInServer()
      const url = (await registeredClient(server)).authorizationUrl({ scope: 'nextcloud' })
      url.searchParams.append(name, url.searchParams.get(name) ?? '')

      const answer = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } })

      const to = answer.headers.get('location')
      if (to === null) expect(answer.status).toBe(400)
      else expect(new URL(to).searchParams.get('error')).toBe('invalid_request')
    },
  )

  it('of an unknown client is refused on a page of its own, which sends nobody anywhere', async () => {
    const server = await startSignInServer()
    const url = (await registeredClient(server)).authorizationUrl()
    url.searchParams.set('client_id', 'unknown')

    const answer = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } })

    expect([answer.status, answer.headers.get('location'), answer.headers.get('refresh')]).toEqual([400, null, null])
    expect(answer.headers.get('content-type')).toMatch(/^text\/html/)
  })

  it('that the person says no to is answered with access_denied, issuer and state (RFC 9207)', async () => {
    const server = await startSignInServer()
    const first = await fetch((await registeredClient(server)).authorizationUrl(), { redirect: 'manual' })
    const question = new URL(first.headers.get('location') ?? '', server.origin)
    const cookie = first.headers
      .getSetCookie()
      .map((each) => each.split(';')[0])
      .join('; ')
    const page = await (await fetch(question, { headers: { cookie } })).text()
    const token = /name="token" value="([^"]+)"/.exec(page)?.[1] ?? ''

    const no = await fetch(question, {
      method: 'POST',
      headers: { cookie },
      body: new URLSearchParams({ token, answer: 'no' }),
    })
    const next = /url=(.+)$/.exec(no.headers.get('refresh') ?? '')?.[1] ?? ''
    const back = await fetch(next, { redirect: 'manual', headers: { cookie } })

    const { searchParams } = new URL(back.headers.get('location') ?? '')
    expect(Object.fromEntries(searchParams)).toMatchObject({
      error: 'access_denied',
      iss: server.origin,
      state: 'state-of-the-client',
    })
  })

  it('for this server with a slash at its end, or for none, gives a token for this server', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')

    for (const resource of [`${server.url}/`, undefined]) {
      const url = client.authorizationUrl(resource === undefined ? {} : { resource })
      if (resource === undefined) url.searchParams.delete('resource')
      const back = await alice.until(url, REDIRECT_URI)
      const { body } = await client.redeem(back.searchParams.get('code') ?? '')
      expect(decodeJwt(String(body['access_token'])).aud).toBe(server.url)
    }
  })
})

describe('the token endpoint (OAuth 2.1 §3.2)', () => {
  it('answers with a bearer token, its life, its scope and a refresh token, which no cache keeps', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const code = (await client.authorize(server.person('alice'))).get('code') ?? ''

    const { status, body, headers } = await client.redeem(code)

    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store'])
    expect(headers.get('content-type')).toMatch(/^application\/json/)
    expect(body).toEqual({
      access_token: expect.any(String) as unknown,
      refresh_token: expect.any(String) as unknown,
      token_type: 'Bearer',
      expires_in: 600,
      scope: 'nextcloud',
    })
  })

  it.each([
    ['no verifier', { code_verifier: '' }, 'invalid_grant'],
    ['another verifier', { code_verifier: 'x'.repeat(43) }, 'invalid_grant'],
    ['another redirect URI', { redirect_uri: `${REDIRECT_URI}/` }, 'invalid_grant'],
    ['another resource', { resource: 'https://other.example.com/mcp' }, 'invalid_target'],
    ['a made-up code', { code: 'made-up' }, 'invalid_grant'],
    ['no code', { code: '' }, 'invalid_request'],
  ])('refuses a code with %s', async (_what, more, error) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const code = (await client.authorize(server.person('alice'))).get('code') ?? ''

    const { status, body, headers } = await client.redeem(code, more)

    expect([status, body['error'], headers.get('cache-control')]).toEqual([400, error, 'no-store'])
  })

  it.each([
    ['a password', { grant_type: 'password', username: 'alice', password: 'x' }, 400, 'unsupported_grant_type'],
    ['nothing but its id', { grant_type: 'client_credentials' }, 400, 'unsupported_grant_type'],
    ['no grant', { code: 'x' }, 400, 'invalid_request'],
    [
      'a code in a request without a client',
      { grant_type: 'authorization_code', client_id: '' },
      400,
      'invalid_request',
    ],
    ['an unknown client', { grant_type: 'authorization_code', client_id: 'unknown' }, 401, 'invalid_client'],
  ])('refuses %s', async (_what, fields, status, error) => {
    const server = await startSignInServer()
    const { clientId } = await registeredClient(server)

    const answer = await jsonOf(post(server, '/oauth/token', { client_id: clientId, ...fields }))

    expect([answer.status, answer.body['error'], answer.headers.get('cache-control')]).toEqual([
      status,
      error,
      'no-store',
    ])
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  })

  it('refuses a parameter that comes twice, and a body that is not a form', async () => {
    const server = await startSignInServer()
    const { clientId } = await registeredClient(server)
    const twice = `client_id=${clientId}&grant_type=authorization_code&code=a&code=b`
    const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }

    for (const answer of [post(server, '/oauth/token', twice), fetch(`${server.origin}/oauth/token`, json)]) {
      const { status, body } = await jsonOf(answer)
      expect([status, body['error']]).toEqual([400, 'invalid_request'])
    }
  })

  it('gives no scope more for a refresh token, and nothing to another client', async () => {
    const server = await startSignInServer({ scopes: { 'files:read': 'Read', 'files:write': 'Write' } })
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const signedIn = await client.signIn(server.person('alice'), { scope: 'files:read' })
    const token = String(signedIn.body['refresh_token'])

    const more = await client.refresh(token, { scope: 'files:read files:write' })
    const stolen = await other.refresh(token)
    const refreshed = await client.refresh(token)

    expect([more.status, more.body['error']]).toEqual([400, 'invalid_scope'])
    expect([stolen.status, stolen.body['error']]).toEqual([400, 'invalid_grant'])
    expect([refreshed.status, refreshed.body['scope']]).toEqual([200, 'files:read'])
  })
})

describe('registration (RFC 7591)', () => {
  it('answers with the client as it was registered, without a secret, and no cache keeps it', async () => {
    const { origin } = await startSignInServer()

    const { status, body, headers } = await register(origin)

    expect([status, headers.get('cache-control')]).toEqual([201, 'no-store'])
    expect(body).toMatchObject({
      client_id: expect.any(String) as unknown,
      client_id_issued_at: expect.any(Number) as unknown,
      redirect_uris: [REDIRECT_URI],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    })
    expect(Object.keys(body).filter((name) => /secret|registration/.test(name))).toEqual([])
  })
})

describe('revocation (RFC 7009)', () => {
  it('ends what a refresh token gave, for its own client alone, and answers 200 for a token that is not known', async () => {
    const server = await startSignInServer()
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const token = String((await client.signIn(server.person('alice'))).body['refresh_token'])
    const revoke = async (clientId: string, revoked: string): Promise<number> =>
      (await post(server, '/oauth/revoke', { client_id: clientId, token: revoked })).status

    expect(await revoke(other.clientId, 'made-up')).toBe(200)
    await revoke(other.clientId, token)
    const next = await client.refresh(token)
    expect(next.status).toBe(200)
    expect(await revoke(client.clientId, String(next.body['refresh_token']))).toBe(200)
    expect((await client.refresh(String(next.body['refresh_token']))).body['error']).toBe('invalid_grant')
  })
})
