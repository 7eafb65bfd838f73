import { decodeJwt } from 'jose'
import { beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { startAuth0, type Auth0 } from '../support/providers/auth0.js'
import { failureIn, optionsOf, startServer, type CallResult } from '../support/providers/page.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'

const NEXTCLOUD_API = 'https://cloud.example.com'

let clock: ManualClock
let auth0: Auth0
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  auth0 = await startAuth0(clock, 'mcp-server', RESOURCE)
  auth0.client.grants.add(NEXTCLOUD_API)
  options = optionsOf('auth0.md', { 'https://acme.eu.auth0.com': auth0.origin })
})

/** Auth0's own profile of access tokens: the client in `azp`, and `userinfo` as a second audience. */
const signIn = () =>
  auth0.mint({
    sub: 'auth0|alice',
    aud: [RESOURCE, `${auth0.origin}/userinfo`],
    azp: 'mcp-client',
    client_id: undefined,
    scope: 'openid',
  })

async function refusedWith(changed: McpAuthOptions) {
  const server = await startServer(changed, clock)
  const answer = await server.call(await signIn())
  return { answer, failure: failureIn(server.events) }
}

describe('with the options of docs/auth0.md', () => {
  it('an MCP token is exchanged, with the requested_token_type and the audience that Auth0 requires', async () => {
    const server = await startServer(options, clock)

    const { status, body } = await server.call(await signIn())

    expect(status).toBe(200)
    expect((body as CallResult).clientId).toBe('mcp-client')
    const claims = decodeJwt((body as CallResult).nextcloudToken)
    expect(claims).toMatchObject({ iss: auth0.issuer, sub: 'auth0|alice', aud: NEXTCLOUD_API, azp: 'mcp-server' })
    const [{ form } = { form: new URLSearchParams() }] = auth0.as.received('/oauth/token')
    expect(form.get('requested_token_type')).toBe('urn:ietf:params:oauth:token-type:access_token')
    expect(form.getAll('audience')).toEqual([NEXTCLOUD_API])
  })

  it('the issuer ends in a slash', () => {
    expect(options.issuer).toBe(`${auth0.origin}/`)
  })
})

it('without the slash at its end the issuer is another one, and that is said', async () => {
  const server = await startServer({ ...options, issuer: auth0.origin }, clock)

  expect(await server.call(await signIn())).toMatchObject({ status: 500 })

  expect(server.events).toContainEqual(
    expect.objectContaining({
      type: 'request.failed',
      message: `The discovery document names the issuer ${auth0.issuer}, configured is ${auth0.origin}; they must be the same string`,
    }),
  )
})

it('an audience that Auth0 does not know is refused, access_denied, with a hint', async () => {
  const nextcloud = { ...options.nextcloud, audience: 'nextcloud' }
  const { answer, failure } = await refusedWith({ ...options, nextcloud })

  expect(answer).toMatchObject({ status: 502 })
  expect(failure).toMatchObject({
    error: 'access_denied',
    hint: expect.stringMatching(/nextcloud\.audience/) as string,
  })
})

it('an application without the exchange is refused, unauthorized_client: the hint says to switch it on', async () => {
  auth0.client.exchange = false

  const { answer, failure } = await refusedWith(options)

  expect(answer).toMatchObject({ status: 502 })
  expect(failure).toMatchObject({
    error: 'unauthorized_client',
    hint: expect.stringMatching(/switch token exchange on/) as string,
  })
})

it('a subject token for another API is the MCP client’s to replace, 401', async () => {
  auth0.client.resourceServer = 'https://another.example.com'

  const { answer, failure } = await refusedWith(options)

  expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
  expect(failure).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED', errorDescription: 'Invalid subject_token' })
})
