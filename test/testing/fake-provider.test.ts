import { createHash, randomBytes } from 'node:crypto'
import { decodeJwt } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fakeProvider, type FakeProvider } from '../../src/testing/testing.js'

const REDIRECT_URI = 'https://mcp.example.com/callback'
const VERIFIER = randomBytes(32).toString('base64url')
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url')
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

type Fields = Readonly<Record<string, string | undefined>>

let provider: FakeProvider

beforeEach(async () => (provider = await fakeProvider()))
afterEach(() => provider.close())

/** Fields that are undefined are left out. */
const formOf = (fields: Fields): URLSearchParams =>
  new URLSearchParams(Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined))

const authorize = (change: Fields = {}): Promise<Response> => {
  const { clientId } = provider.options
  const challenge = { code_challenge: CHALLENGE, code_challenge_method: 'S256' }
  const query = { response_type: 'code', client_id: clientId, redirect_uri: REDIRECT_URI, ...challenge, ...change }
  return fetch(`${provider.issuer}/authorize?${formOf(query).toString()}`, { redirect: 'manual' })
}

async function codeOf(change: Fields = {}): Promise<string> {
  const location = new URL((await authorize(change)).headers.get('location') ?? '')
  return location.searchParams.get('code') ?? ''
}

async function ask(fields: Fields): Promise<{ status: number; body: Record<string, unknown> }> {
  const { clientId, clientSecret } = provider.options
  const body = formOf({ client_id: clientId, client_secret: clientSecret, ...fields })
  const answer = await fetch(`${provider.issuer}/token`, { method: 'POST', body })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

const redeem = (code: string, change: Fields = {}) =>
  ask({ grant_type: 'authorization_code', code, code_verifier: VERIFIER, redirect_uri: REDIRECT_URI, ...change })
const refresh = (token: unknown, change: Fields = {}) =>
  ask({ grant_type: 'refresh_token', refresh_token: String(token), ...change })
const exchange = async (change: Fields = {}) =>
  ask({
    grant_type: EXCHANGE,
    audience: 'nextcloud',
    subject_token: await provider.token(),
    subject_token_type: ACCESS_TOKEN,
    ...change,
  })

const refused = (error: string, status = 400) => ({ status, body: { error } })

describe('the authorization endpoint of fakeProvider', () => {
  it('sends whoever is signed in back with a code, its issuer and the state', async () => {
    const answer = await authorize({ state: 'a state' })
    const location = new URL(answer.headers.get('location') ?? '')

    expect([answer.status, location.origin + location.pathname]).toEqual([303, REDIRECT_URI])
    expect(Object.fromEntries(location.searchParams)).toEqual({
      code: expect.stringMatching(/^[\w-]{32}$/) as string,
      iss: provider.issuer,
      state: 'a state',
    })
    expect((await authorize()).headers.get('location')).not.toContain('state=')
  })

  it.each<[what: string, change: Fields]>([
    ['another client', { client_id: 'other' }],
    ['no redirect URI', { redirect_uri: undefined }],
    ['a redirect URI that is none', { redirect_uri: 'callback' }],
    ['another response type', { response_type: 'token' }],
    ['no challenge', { code_challenge: undefined }],
    ['a challenge that is the verifier', { code_challenge_method: 'plain' }],
  ])('refuses %s', async (_what, change) => {
    const answer = await authorize(change)

    expect([answer.status, await answer.json()]).toEqual([400, { error: 'invalid_request' }])
  })
})

describe('a code of fakeProvider', () => {
  it('is redeemed once, for tokens of whoever was signed in', async () => {
    provider.signIn('bob')
    const code = await codeOf({ nonce: 'a nonce' })
    provider.signIn('carol')
    const { status, body } = await redeem(code)

    expect([status, body]).toEqual([200, expect.objectContaining({ token_type: 'Bearer', expires_in: 300 })])
    expect(body).not.toHaveProperty('scope')
    const { clientId } = provider.options
    expect(decodeJwt(String(body['access_token']))).toMatchObject({ sub: 'bob', aud: 'nextcloud', client_id: clientId })
    expect(decodeJwt(String(body['id_token']))).toMatchObject({ sub: 'bob', aud: clientId, nonce: 'a nonce' })
    expect(await redeem(code)).toEqual(refused('invalid_grant'))
  })

  it('brings an ID token without a nonce where none was asked for', async () => {
    const { body } = await redeem(await codeOf())

    expect(decodeJwt(String(body['id_token']))).not.toHaveProperty('nonce')
  })

  it.each<[what: string, change: Fields]>([
    ['another verifier', { code_verifier: 'v'.repeat(43) }],
    ['no verifier', { code_verifier: undefined }],
    ['another redirect URI', { redirect_uri: 'https://mcp.example.com/other' }],
    ['no code', { code: undefined }],
  ])('is refused with %s, and is spent', async (_what, change) => {
    const code = await codeOf()

    expect(await redeem(code, change)).toEqual(refused('invalid_grant'))
    if (!('code' in change)) expect(await redeem(code)).toEqual(refused('invalid_grant'))
  })
})

describe('a refresh token of fakeProvider', () => {
  it('is good once, and brings the next one and the scope that was asked for', async () => {
    const { body: first } = await redeem(await codeOf())
    const { status, body } = await refresh(first['refresh_token'], { scope: 'a b' })

    expect([status, body['scope'], decodeJwt(String(body['access_token']))]).toEqual([
      200,
      'a b',
      expect.objectContaining({ sub: 'alice', scope: 'a b' }),
    ])
    expect(await refresh(first['refresh_token'])).toEqual(refused('invalid_grant'))
    expect((await refresh(body['refresh_token'])).status).toBe(200)
  })

  it('ends with the sessions of its owner, and not with those of others', async () => {
    const { body } = await redeem(await codeOf())
    provider.endSessions('bob')
    const { status, body: next } = await refresh(body['refresh_token'])
    provider.endSessions('alice')
    expect(status).toBe(200)

    expect(await refresh(next['refresh_token'])).toEqual(refused('invalid_grant'))
  })
})

describe('an exchange of fakeProvider', () => {
  it('brings a token of the same person for the audience, with the scope that was asked for', async () => {
    const { status, body } = await exchange({ subject_token: await provider.token({ sub: 'bob' }), scope: 'notes' })

    expect([status, body]).toEqual([
      200,
      {
        access_token: expect.any(String) as string,
        token_type: 'Bearer',
        expires_in: 300,
        scope: 'notes',
        issued_token_type: ACCESS_TOKEN,
      },
    ])
    expect(decodeJwt(String(body['access_token']))).toMatchObject({ sub: 'bob', aud: 'nextcloud', scope: 'notes' })
  })

  it('takes a token that is for the client itself', async () => {
    const token = await provider.token({ aud: provider.options.clientId })

    expect((await exchange({ subject_token: token })).status).toBe(200)
  })

  it.each<[what: string, change: () => Fields | Promise<Fields>]>([
    ['another type of token', () => ({ subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' })],
    ['no token', () => ({ subject_token: undefined })],
    ['a token that has ended', async () => ({ subject_token: await provider.token({}, { lifetime: -60 }) })],
    ['a token without an end', async () => ({ subject_token: await provider.token({ exp: undefined }) })],
    ['a token of nobody', async () => ({ subject_token: await provider.token({ sub: undefined }) })],
    [
      'a token of another issuer',
      async () => ({ subject_token: await provider.token({ iss: 'https://other.example' }) }),
    ],
    ['a token of another key', async () => ({ subject_token: await provider.token({}, { key: 'unpublished' }) })],
  ])('refuses %s', async (_what, change) => {
    expect(await exchange(await change())).toEqual(refused('invalid_request'))
  })
})

describe('the token endpoint of fakeProvider', () => {
  it.each<[what: string, change: Fields]>([
    ['another secret', { client_secret: 'wrong' }],
    ['no secret', { client_secret: undefined }],
    ['another client', { client_id: 'other' }],
  ])('refuses a client with %s in the form', async (_what, change) => {
    expect(await exchange(change)).toEqual(refused('invalid_client', 401))
  })

  it.each([undefined, 'password', 'toString'])('refuses the grant %s', async (grant) => {
    expect(await ask({ grant_type: grant })).toEqual(refused('unsupported_grant_type'))
  })

  it.each([
    [400, 'invalid_grant'],
    [401, 'invalid_client'],
    [429, 'invalid_request'],
    [503, 'temporarily_unavailable'],
  ])('fails with %d as it is told', async (status, error) => {
    provider.failNext(status)

    expect(await exchange()).toEqual(refused(error, status))
    expect((await exchange()).status).toBe(200)
  })

  it('is asked by POST, and there is nothing beside what the metadata names', async () => {
    for (const path of ['/token', '/userinfo']) {
      const answer = await fetch(provider.issuer + path)
      expect([answer.status, await answer.json()]).toEqual([404, { error: 'not_found' }])
    }
    expect((await fetch(`${provider.issuer}/userinfo`, { method: 'POST' })).status).toBe(404)
  })
})
