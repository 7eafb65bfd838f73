import express from 'express'
import { beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import { ask, askWith, insufficientScope, METADATA_URL, send } from '../support/answers.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { listen } from '../support/hosts.js'
import { startEntra, type AppRegistration, type Entra } from '../support/providers/entra.js'
import {
  optionsOf,
  outcomeOf,
  refused,
  rejected,
  runSnippet,
  startServer,
  type Outcome,
} from '../support/providers/page.js'
import { NONE } from '../support/providers/stand-in.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'

const TENANT = '11111111-1111-1111-1111-111111111111'
const MCP_APP = '22222222-2222-2222-2222-222222222222'
const NEXTCLOUD_APP = '33333333-3333-3333-3333-333333333333'
const SCOPE = `${RESOURCE}/tools`
/** Registrations by hand, with the redirect URIs of docs/entra.md. */
const CLAUDE = { id: 'claude', redirectUris: ['https://claude.ai/api/mcp/auth_callback'] }
const CLAUDE_CODE = { id: 'claude-code', redirectUris: ['http://localhost/callback'] }
const POLICY = '{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}'

let clock: ManualClock
let entra: Entra
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  entra = await startEntra(clock, TENANT, {
    mcp: { id: MCP_APP, applicationIdUri: RESOURCE, scopes: ['tools'] },
    nextcloud: { id: NEXTCLOUD_APP, scopes: ['access'] },
    clients: [CLAUDE, CLAUDE_CODE],
  })
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
    expect((await server.call(await signIn())).body).toMatchObject({ scopes: ['tools'], clientId: 'mcp-client' })
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

  expect(await outcome()).toMatchObject(refused('invalid_grant', /Grant admin consent/))
})

/** A client's way: from the 401 over the metadata to a code and a token. It sends what they say, unless it is told otherwise. */
async function walk(url: string, client: AppRegistration, change: Readonly<Record<string, string | undefined>> = {}) {
  const { scope } = parametersOf((await ask(url)).challenge)
  const metadata = (await ask(url, { path: '/.well-known/oauth-protected-resource/mcp' })).body as { resource: string }
  const redirect_uri = change['redirect_uri'] ?? client.redirectUris?.[0]
  const sent = {
    client_id: client.id,
    response_type: 'code',
    state: 's',
    resource: metadata.resource,
    scope,
    redirect_uri,
  }
  const query = new URLSearchParams(JSON.parse(JSON.stringify({ ...sent, ...change })) as Record<string, string>)
  const { response, text } = await send(entra.origin, { path: `/${TENANT}/oauth2/v2.0/authorize?${query.toString()}` })
  if (response.headers.location === undefined) return { refused: text }
  const back = new URL(response.headers.location).searchParams
  if (back.has('error')) return { refused: `${back.get('error') ?? ''} ${back.get('error_description') ?? ''}` }
  const form = { grant_type: 'authorization_code', code: back.get('code') ?? '', client_id: client.id }
  const body = new URLSearchParams({
    ...form,
    ...('resource' in change ? {} : { resource: metadata.resource }),
  }).toString()
  const headers = [['Content-Type', 'application/x-www-form-urlencoded']] as const
  const answer = await ask(entra.origin, { method: 'POST', path: `/${TENANT}/oauth2/v2.0/token`, headers, body })
  return { token: (answer.body as { access_token?: string }).access_token, refused: JSON.stringify(answer.body) }
}

describe('an MCP client that is registered by hand', () => {
  it.each([
    ['Claude', CLAUDE, {}],
    ['Claude Code, at any port,', CLAUDE_CODE, { redirect_uri: 'http://localhost:54321/callback' }],
    ['a client that leaves resource out', CLAUDE, { resource: undefined }],
    ['a client that adds offline_access', CLAUDE, { scope: `${SCOPE} offline_access` }],
  ])('%s gets from the 401 to a token, and with it to Nextcloud', async (_name, client, change) => {
    const server = await startServer(options, clock)
    const { token = '' } = await walk(server.url, client, change)

    expect(await server.call(token)).toMatchObject({ status: 200, body: { clientId: client.id, scopes: ['tools'] } })
    expect(entra.authorized).toMatchObject([{ scope: expect.stringContaining(SCOPE) as string }])
  })

  it.each([
    ['a resource with a slash at the end', /^invalid_target AADSTS9010010/, { resource: `${RESOURCE}/` }],
    ['the origin as resource', /^invalid_target AADSTS9010010/, { resource: 'https://mcp.example.com' }],
    ['a scope of the default Application ID URI', /^invalid_target AADSTS9010010/, { scope: `api://${MCP_APP}/tools` }],
    ['the bare name of the scope', /^invalid_target AADSTS9010010/, { scope: 'tools' }],
    [
      'the bare name and no resource',
      /^invalid_client AADSTS650053: .*00000003-/,
      { scope: 'tools', resource: undefined },
    ],
    ['no scope', /^invalid_target AADSTS9010010/, { scope: 'openid' }],
    ['a scope that is not exposed', /^invalid_client AADSTS650053/, { scope: `${RESOURCE}/other` }],
    ['another redirect URI', /AADSTS50011/, { redirect_uri: 'https://claude.ai/other' }],
    ['an id that is not registered', /AADSTS700016/, { client_id: 'somebody' }],
  ])('that sends %s is refused as at Entra', async (_name, refusal, change) => {
    const server = await startServer(options, clock)

    expect((await walk(server.url, CLAUDE, change)).refused).toMatch(refusal)
    expect(entra.authorized).toEqual([])
  })

  it('is refused with the settings that this page had: a scope of api:// beside a resource of https', async () => {
    const server = await startServer(options, clock, { requiredScopes: [`api://${MCP_APP}/tools`] })

    expect((await walk(server.url, CLAUDE)).refused).toMatch(/^invalid_target AADSTS9010010/)
    // The way that the page names where the domain cannot be verified.
    const { token = '' } = await walk(server.url, CLAUDE, { resource: undefined })
    expect(await server.call(token)).toMatchObject({ status: 200 })
  })
})

describe('a token of this tenant that is not a person’s for this server', () => {
  it('for another app is refused', async () => {
    const server = await startServer(options, clock)
    const other = await entra.mint({ aud: NEXTCLOUD_APP, azp: 'mcp-client', scp: 'tools', client_id: undefined })

    expect(await server.call(other)).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
  })

  it('for another app that audience lets in is the operator’s fault: AADSTS500131', async () => {
    const server = await startServer(options, clock, { audience: NEXTCLOUD_APP })
    const other = await entra.mint({ aud: NEXTCLOUD_APP, oid: 'alice', azp: 'mcp-client', scp: 'tools', ...NONE })

    expect(await outcomeOf(server, other)).toMatchObject(
      refused('invalid_grant', /clientId \(OIDC_CLIENT_ID\) must be the app whose/),
    )
  })

  it('of version 1 is refused by its issuer, whose name the message has', async () => {
    entra.version = 1
    const server = await startServer(options, clock)

    expect(await server.call(await signIn())).toMatchObject({ status: 401 })
    expect(server.events).toContainEqual(
      expect.objectContaining({ reason: 'issuer', found: [`https://sts.windows.net/${TENANT}/`] }),
    )
  })

  it('of an application is kept out by the scope', async () => {
    const server = await startServer(options, clock)

    expect(await server.call(await entra.signInAsApplication('daemon'))).toEqual(insufficientScope(SCOPE))
  })

  it('of an application cannot be exchanged where no scope keeps it out: AADSTS7000114 is the operator’s to mend', async () => {
    const server = await startServer(options, clock, { requiredScopes: [], challengeScopes: [SCOPE] })

    expect(await outcomeOf(server, await entra.signInAsApplication('daemon'))).toMatchObject(
      refused('unauthorized_client', /client credentials.*requiredScopes/),
    )
  })
})

it.each([
  ['AADSTS7000215', { clientSecret: 'the-secret-id' }, 'invalid_client', /the Value of a secret, not its Secret ID/],
  [
    'AADSTS500011',
    { nextcloud: { scopes: ['api://nobody/.default'] } },
    'invalid_resource',
    /nextcloud\.scopes must be/,
  ],
  [
    'AADSTS9010010',
    { nextcloud: { parameters: {}, resource: RESOURCE } },
    'invalid_target',
    /leave nextcloud\.resource/,
  ],
])('%s: the hint names the setting', async (code, change, error, hint) => {
  const more = { errorDescription: expect.stringContaining(`${code}:`) as string }

  expect(await outcome(change)).toMatchObject(refused(error, hint, more))
})
