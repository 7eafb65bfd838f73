import { beforeEach, describe, expect, it } from 'vitest'
import { decodeJwt } from 'jose'
import type { McpAuthOptions } from '../../src/index.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { startNextcloud } from '../support/nextcloud-server.js'
import { failureIn, optionsOf, startServer, type CallResult } from '../support/providers/page.js'
import { startZitadel, type Zitadel } from '../support/providers/zitadel.js'

const PROJECT = ['mcp-client', 'mcp-server', 'nextcloud', '312909075212468632']
const ALICE = { sub: '163840776835432705', client_id: 'mcp-client', scope: 'openid notes:read' }

let clock: ManualClock
let zitadel: Zitadel
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  zitadel = await startZitadel(clock, PROJECT)
  options = optionsOf('zitadel.md', { 'https://acme.zitadel.cloud': zitadel.origin })
})

const nextcloud = (change: McpAuthOptions['nextcloud']): McpAuthOptions => ({
  ...options,
  nextcloud: { ...options.nextcloud, ...change },
})

describe('with the options of docs/zitadel.md', () => {
  it('an opaque MCP token is introspected, and exchanged for a JWT for Nextcloud alone', async () => {
    const server = await startServer(options, clock)

    const { status, body } = await server.call(zitadel.issueOpaque(ALICE))

    expect(status).toBe(200)
    const { nextcloudToken, clientId, scopes } = body as CallResult
    expect({ clientId, scopes }).toEqual({ clientId: 'mcp-client', scopes: ['openid', 'notes:read'] })
    expect(decodeJwt(nextcloudToken)).toMatchObject({ iss: zitadel.issuer, sub: ALICE.sub, aud: ['nextcloud'] })
  })

  it('an MCP token that is a JWT serves as well', async () => {
    const server = await startServer(options, clock)

    expect(await server.call(await zitadel.mint({ ...ALICE, aud: PROJECT }))).toMatchObject({ status: 200 })
  })

  it('a token of another project is inactive to this server, 401', async () => {
    const server = await startServer(options, clock)

    const answer = await server.call(zitadel.issueOpaque({ ...ALICE, aud: ['another-project'] }))

    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
    expect(server.events).toContainEqual(expect.objectContaining({ type: 'token.rejected', reason: 'inactive' }))
  })
})

it('the exchanged token is opaque unless a JWT is asked for: Nextcloud answers 401, and the setting is named once', async () => {
  const cloud = await startNextcloud()
  cloud.accept((token = '') => token.split('.').length === 3)
  const server = await startServer(nextcloud({ url: cloud.url, parameters: {} }), clock)
  const token = zitadel.issueOpaque(ALICE)

  expect((await server.auth.nextcloudFetch({ token }, '/ocs/v2.php/cloud/user')).status).toBe(401)
  expect((await server.auth.nextcloudFetch({ token }, '/ocs/v2.php/cloud/user')).status).toBe(401)

  expect(server.events.filter(({ type }) => type === 'config.warning')).toEqual([
    expect.objectContaining({
      option: 'nextcloud.parameters',
      message: expect.stringContaining("requested_token_type: 'urn:ietf:params:oauth:token-type:jwt'") as string,
    }),
  ])
})

it('a JWT that Nextcloud does not take is not blamed on its form', async () => {
  const cloud = await startNextcloud()
  cloud.accept(() => false)
  const server = await startServer(nextcloud({ url: cloud.url }), clock)

  const answer = await server.auth.nextcloudFetch({ token: zitadel.issueOpaque(ALICE) }, '/ocs/v2.php/cloud/user')

  expect(answer.status).toBe(401)
  expect(server.events.filter(({ type }) => type === 'config.warning')).toEqual([])
})

it('resource is refused, invalid_target: the hint says to leave it out', async () => {
  const server = await startServer(nextcloud({ resource: 'https://cloud.example.com' }), clock)

  expect(await server.call(zitadel.issueOpaque(ALICE))).toMatchObject({ status: 502 })

  expect(failureIn(server.events)).toMatchObject({
    error: 'invalid_target',
    errorDescription: 'resource parameter not supported',
    hint: expect.stringMatching(/^Leave nextcloud\.resource out/) as string,
  })
})

it('an audience that is not in the MCP token is refused, invalid_target: the hint says where it has to be', async () => {
  const server = await startServer(nextcloud({ audience: 'elsewhere' }), clock)

  expect(await server.call(zitadel.issueOpaque(ALICE))).toMatchObject({ status: 502 })

  expect(failureIn(server.events)).toMatchObject({
    error: 'invalid_target',
    hint: expect.stringMatching(/^Check nextcloud\.audience.*in the aud of the MCP token/) as string,
  })
})

it('a subject token that Zitadel does not take is the MCP client’s to replace, and the operator can read why', async () => {
  const server = await startServer({ ...options, audience: 'mcp-client' }, clock)

  const answer = await server.call(await zitadel.mint({ ...ALICE, aud: ['mcp-client'] }))

  expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
  expect(failureIn(server.events)).toMatchObject({
    code: 'ERR_SUBJECT_TOKEN_REJECTED',
    error: 'invalid_request',
    errorDescription: 'subject_token invalid',
  })
})
