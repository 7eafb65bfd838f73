import express from 'express'
import { beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import { askWith, METADATA_URL } from '../support/answers.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { listen } from '../support/hosts.js'
import { startEntra, type Entra } from '../support/providers/entra.js'
import {
  optionsOf,
  outcomeOf,
  refused,
  rejected,
  runSnippet,
  startServer,
  type Outcome,
} from '../support/providers/page.js'

const TENANT = '11111111-1111-1111-1111-111111111111'
const MCP_APP = '22222222-2222-2222-2222-222222222222'
const NEXTCLOUD_APP = '33333333-3333-3333-3333-333333333333'
const SCOPE = `api://${MCP_APP}/mcp`
const POLICY = '{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}'

let clock: ManualClock
let entra: Entra
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  entra = await startEntra(clock, TENANT, MCP_APP, NEXTCLOUD_APP)
  options = optionsOf('entra.md', { 'https://login.microsoftonline.com': entra.origin })
})

const signIn = (claims?: string) => entra.signIn('alice', 'mcp-client', claims)

/** Returns the parameters of a challenge. */
function parametersOf(challenge = ''): Record<string, string> {
  const pairs = [...challenge.matchAll(/(\w+)="([^"]*)"/g)]
  return Object.fromEntries(pairs.map(([, name = '', value = '']) => [name, value]))
}

const outcome = async (change?: Partial<McpAuthOptions>): Promise<Outcome> =>
  outcomeOf(await startServer(options, clock, change), await signIn())

describe('with the options of docs/entra.md', () => {
  it('an MCP token is exchanged on behalf of its user, for a scope and without an audience', async () => {
    const claims = { iss: entra.issuer, aud: NEXTCLOUD_APP, oid: 'alice', azp: MCP_APP }
    expect(await outcome()).toMatchObject({ status: 200, claims })
    const [{ form } = { form: new URLSearchParams() }] = entra.as.received(`/${TENANT}/oauth2/v2.0/token`)
    expect(Object.fromEntries([...form].filter(([name]) => name !== 'assertion'))).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      requested_token_use: 'on_behalf_of',
      scope: `api://${NEXTCLOUD_APP}/.default`,
    })
  })

  it('clients are told the whole name of the scope, and the token’s short one satisfies it', async () => {
    const server = await startServer(options, clock)

    expect(parametersOf((await server.ask()).challenge)['scope']).toBe(SCOPE)
    expect((await server.call(await signIn())).body).toMatchObject({ scopes: ['mcp'], clientId: 'mcp-client' })
  })
})

describe('a claims challenge', () => {
  beforeEach(() => {
    entra.policy = POLICY
  })

  it('reaches the MCP client, who signs the user in with those claims, and is let through', async () => {
    const server = await startServer(options, clock)

    const refused = await server.call(await signIn())

    expect(refused).toMatchObject({ status: 401, exposed: 'WWW-Authenticate', body: { error: 'insufficient_claims' } })
    const { claims = '', ...others } = parametersOf(refused.challenge)
    expect(others).toEqual({
      realm: 'mcp',
      error: 'insufficient_claims',
      resource_metadata: METADATA_URL,
      scope: SCOPE,
      error_description: 'The user must sign in again and do more than before',
      authorization_uri: `${entra.origin}/${TENANT}/oauth2/v2.0/authorize`,
    })
    const asked = Buffer.from(claims, 'base64').toString().trim()
    expect(JSON.parse(asked)).toEqual(JSON.parse(POLICY))
    expect(await server.call(await signIn(asked))).toMatchObject({ status: 200 })
  })

  it('reaches the MCP client from the handlers of docs/entra.md, before the MCP server has the request', async () => {
    const auth = createMcpAuth(options, clock)
    const app = express()
    let reached = 0
    const yourHandler: express.RequestHandler = (_req, res) => {
      reached += 1
      res.end()
    }
    runSnippet('entra.md', 1, { modules: {}, globals: { app, auth, yourHandler } })
    const running = await listen(app)
    const post = (token: string) => askWith(running.url, token, { method: 'POST', path: '/mcp' })

    const refused = await post(await signIn())
    expect([refused.status, reached]).toEqual([401, 0])
    expect(parametersOf(refused.challenge)).toHaveProperty('claims')
    expect([(await post(await signIn(POLICY))).status, reached]).toEqual([200, 1])
    await running.close()
    await auth.close()
  })

  it('that is not a claims request is not handed on: an ordinary invalid_token', async () => {
    entra.policy = '{"access_token":{"a":null},"redirect_uri":{"b":null}}'
    const answer = await outcome()

    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
    expect(parametersOf(answer.challenge)).not.toHaveProperty('claims')
  })

  it('is told the operator as well', async () => {
    const { failure } = rejected('interaction_required', /^AADSTS50076: you must use multi-factor/) as Outcome

    expect((await outcome()).failure).toMatchObject(failure!)
  })
})

it('without a scope the exchange is refused, invalid_request: the hint names nextcloud.scopes', async () => {
  const change = { nextcloud: { scopes: [] } }

  expect(await outcome(change)).toMatchObject(refused('invalid_request', /^Set nextcloud\.scopes/))
})

it('a missing consent is the operator’s to mend: no MCP client is sent to sign in again', async () => {
  entra.consented = false

  expect(await outcome()).toMatchObject(refused('invalid_grant', /administrator must consent/))
})

it('a token of this tenant for another app is not for this server, 401', async () => {
  const server = await startServer(options, clock)
  const other = await entra.mint({ aud: NEXTCLOUD_APP, azp: 'mcp-client', scp: 'mcp', client_id: undefined })

  expect(await server.call(other)).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
})
