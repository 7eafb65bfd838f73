import { decodeJwt } from 'jose'
import { beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { insufficientScope } from '../support/answers.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { startOkta, type Okta } from '../support/providers/okta.js'
import { failureIn, optionsOf, startServer, type CallResult } from '../support/providers/page.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'

let clock: ManualClock
let okta: Okta
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  okta = await startOkta(clock, RESOURCE)
  okta.nextcloud.trusted.add(okta.mcp.standIn.issuer)
  options = optionsOf('okta.md', { 'https://acme.okta.com': okta.origin })
})

const signIn = (scopes = ['notes:read']) => okta.signIn('alice@example.com', '0oamcpclient', scopes)

const nextcloud = (change: McpAuthOptions['nextcloud']): McpAuthOptions => ({
  ...options,
  nextcloud: { ...options.nextcloud, ...change },
})

async function refusedWith(changed: McpAuthOptions) {
  const server = await startServer(changed, clock)
  const answer = await server.call(await signIn())
  return { answer, failure: failureIn(server.events) }
}

describe('with the options of docs/okta.md', () => {
  it('an MCP token is exchanged at the custom authorization server for Nextcloud', async () => {
    const server = await startServer(options, clock)

    const { status, body } = await server.call(await signIn())

    expect(status).toBe(200)
    expect(decodeJwt((body as CallResult).nextcloudToken)).toMatchObject({
      iss: okta.nextcloud.standIn.issuer,
      aud: 'nextcloud',
      sub: 'alice@example.com',
      cid: 'mcp-server',
      scp: ['nextcloud:access'],
    })
  })

  it('the client is read from cid, and the scopes from the list in scp', async () => {
    const server = await startServer(options, clock)

    const { body } = await server.call(await signIn(['notes:read', 'notes:write']))

    expect(body).toMatchObject({ clientId: '0oamcpclient', scopes: ['notes:read', 'notes:write'] })
  })

  it('a scope that is not in scp is missed, 403', async () => {
    const server = await startServer(options, clock)

    expect(await server.call(await signIn(['profile']))).toEqual(insufficientScope('notes:read'))
  })

  it('a client can be kept out by its cid', async () => {
    const server = await startServer({ ...options, allowedClients: ['0oaanother'] }, clock)

    expect(await server.call(await signIn())).toMatchObject({ status: 401 })
    expect(server.events).toContainEqual(
      expect.objectContaining({ reason: 'client', claim: 'cid', found: ['0oamcpclient'] }),
    )
  })
})

it('without a scope the exchange is refused, invalid_scope: the hint names nextcloud.scopes', async () => {
  const { answer, failure } = await refusedWith(nextcloud({ scopes: [] }))

  expect(answer).toMatchObject({ status: 502 })
  expect(failure).toMatchObject({
    error: 'invalid_scope',
    errorDescription: expect.stringMatching(/'scope' must be provided/) as string,
    hint: expect.stringMatching(/^Set nextcloud\.scopes/) as string,
  })
})

it('a scope that the server does not have is refused, invalid_scope: the hint says to check it', async () => {
  const { answer, failure } = await refusedWith(nextcloud({ scopes: ['openid'] }))

  expect(answer).toMatchObject({ status: 502 })
  expect(failure).toMatchObject({
    error: 'invalid_scope',
    hint: expect.stringMatching(/^Check nextcloud\.scopes/) as string,
  })
})

it('a server that does not trust the MCP token’s issuer refuses it, 401', async () => {
  okta.nextcloud.trusted.delete(okta.mcp.standIn.issuer)

  const { answer, failure } = await refusedWith(options)

  expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
  expect(failure).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED', error: 'invalid_grant' })
})

it('at the server for MCP, whose one audience is this server, the exchange gives no token for Nextcloud', async () => {
  const { answer, failure } = await refusedWith({
    ...nextcloud({ scopes: ['notes:read'] }),
    authorizationServer: undefined,
  })

  expect(answer).toMatchObject({ status: 502 })
  expect(failure).toMatchObject({ hint: expect.stringMatching(/ignored audience/) as string })
})
