import { decodeJwt } from 'jose'
import { beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { startAuthentik, type Authentik } from '../support/providers/authentik.js'
import { failureIn, optionsOf, startServer, type CallResult } from '../support/providers/page.js'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

let clock: ManualClock
let authentik: Authentik
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  authentik = await startAuthentik(clock)
  authentik.mcp.grantTypes.add(EXCHANGE)
  authentik.nextcloud.federated.add('mcp')
  options = optionsOf('authentik.md', { 'https://authentik.example.com': authentik.origin })
})

/** What an MCP client gets at the provider for MCP. */
const signIn = () =>
  authentik.mcp.standIn.mint({ aud: 'mcp', azp: 'mcp', client_id: undefined, scope: 'openid profile' })

const nextcloud = (change: McpAuthOptions['nextcloud']): McpAuthOptions => ({
  ...options,
  nextcloud: { ...options.nextcloud, ...change },
})

async function refusedWith(changed: McpAuthOptions) {
  const server = await startServer(changed, clock)
  const answer = await server.call(await signIn())
  return { answer, failure: failureIn(server.events) }
}

describe('with the options of docs/authentik.md', () => {
  it('an MCP token of one provider is exchanged for a token of Nextcloud’s provider', async () => {
    const server = await startServer(options, clock)

    const { status, body } = await server.call(await signIn())

    expect(status).toBe(200)
    expect((body as CallResult).clientId).toBe('mcp')
    expect(decodeJwt((body as CallResult).nextcloudToken)).toMatchObject({
      iss: authentik.nextcloud.standIn.issuer,
      aud: 'nextcloud',
      sub: 'alice',
      scope: 'openid profile email',
    })
    expect(authentik.requests().map((form) => form.getAll('audience'))).toEqual([['nextcloud']])
  })

  it('an access token of Nextcloud’s provider is none for this server, 401', async () => {
    const server = await startServer(options, clock)

    expect(await server.call(await authentik.nextcloud.standIn.mint({ aud: 'nextcloud' }))).toMatchObject({
      status: 401,
      body: { error: 'invalid_token' },
    })
  })
})

it('without nextcloud.scopes the exchanged token has none', async () => {
  const server = await startServer(nextcloud({ scopes: [] }), clock)

  const { body } = await server.call(await signIn())

  expect(decodeJwt((body as CallResult).nextcloudToken)['scope']).toBe('')
})

it('resource is refused, invalid_target: the hint says to leave it out', async () => {
  const { answer, failure } = await refusedWith(nextcloud({ resource: 'https://cloud.example.com' }))

  expect(answer).toMatchObject({ status: 502 })
  expect(failure).toMatchObject({
    error: 'invalid_target',
    hint: expect.stringMatching(/^Leave nextcloud\.resource out/) as string,
  })
})

it('several audiences are refused, invalid_target: the hint says to name one', async () => {
  const { answer, failure } = await refusedWith(nextcloud({ audience: ['nextcloud', 'mcp'] }))

  expect(answer).toMatchObject({ status: 502 })
  expect(failure).toMatchObject({
    error: 'invalid_target',
    hint: expect.stringMatching(/^Name a single nextcloud\.audience/) as string,
  })
})

it('an audience that has not opted in is refused, invalid_target: the hint says where it does', async () => {
  authentik.nextcloud.federated.clear()

  const { answer, failure } = await refusedWith(options)

  expect(answer).toMatchObject({ status: 502 })
  expect(failure).toMatchObject({
    error: 'invalid_target',
    hint: expect.stringMatching(/^Check nextcloud\.audience.*Authentik.*federated/) as string,
  })
})

it('the grant type that is not selected is invalid_grant, as a bad token is: 401, and the operator can read it', async () => {
  authentik.mcp.grantTypes.delete(EXCHANGE)

  const { answer, failure } = await refusedWith(options)

  expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
  expect(failure).toMatchObject({
    code: 'ERR_SUBJECT_TOKEN_REJECTED',
    error: 'invalid_grant',
    errorDescription: expect.stringMatching(/^The provided authorization grant or refresh token is invalid/) as string,
  })
})
