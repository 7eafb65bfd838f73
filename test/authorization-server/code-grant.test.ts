import type { AuthorizationServer } from 'oauth4webapi'
import { describe, expect, it } from 'vitest'
import { createCodeGrant, type CodeGrant } from '../../src/authorization-server/code-grant.js'
import { createDiscovery } from '../../src/authorization-server/discovery.js'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import type { McpAuthOptions } from '../../src/options.js'
import { createTransport } from '../../src/transport/transport.js'
import { manualClock } from '../support/clock.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE } from '../support/scripted-authorization-server.js'

const AS = {
  issuer: 'https://idp.example.com',
  authorization_endpoint: 'https://idp.example.com/authorize?tenant=acme',
  scopes_supported: ['openid', 'offline_access'],
}
const RANDOM = expect.stringMatching(/^[\w-]{43}$/) as string
type Options = Pick<McpAuthOptions, 'connect'> & { readonly nextcloud?: McpAuthOptions['nextcloud'] }

function codeGrant({ connect = {}, nextcloud = {} }: Options = {}): CodeGrant {
  const client = { issuer: AS.issuer, resource: RESOURCE, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
  const cloud = { url: 'https://cloud.example.com', mode: 'refresh-token', ...nextcloud } as const
  const config = readConfig({ ...client, connect, nextcloud: cloud }, {})
  const clock = manualClock()
  const transport = createTransport(config.http, clock, createEvents(undefined, clock))
  const discovery = createDiscovery(config, transport, clock)
  return createCodeGrant(config.grants!.connect!, { config, discovery, transport, clock })
}

/** Returns the parameters of an authorization request to a server with this metadata. */
async function requestTo(metadata: object, options?: Options, selectAccount = false): Promise<URLSearchParams> {
  const grant = codeGrant(options)
  const as: AuthorizationServer = { ...AS, ...metadata }
  return (await grant.authorizationUrl(as, grant.secrets(), selectAccount)).searchParams
}

describe('the authorization request', () => {
  it('is a code request with PKCE, state and nonce, each of 256 bits', async () => {
    const grant = codeGrant()
    const url = await grant.authorizationUrl(AS, grant.secrets(), false)

    expect(url.href).toMatch(/^https:\/\/idp\.example\.com\/authorize\?/)
    expect(Object.fromEntries(url.searchParams)).toEqual({
      tenant: 'acme',
      response_type: 'code',
      client_id: CLIENT_ID,
      redirect_uri: 'https://mcp.example.com/nextcloud/callback',
      scope: 'openid offline_access',
      prompt: 'consent',
      state: RANDOM,
      nonce: RANDOM,
      code_challenge: RANDOM,
      code_challenge_method: 'S256',
    })
  })

  it('never repeats a value', async () => {
    const requests = [await requestTo({}), await requestTo({})]

    for (const name of ['state', 'nonce', 'code_challenge'])
      expect(new Set(requests.map((parameters) => parameters.get(name))).size).toBe(2)
  })

  const LASTING = 'openid offline_access'
  const WITH_FILES = 'openid files offline_access'
  const ONLY_NAME: Options = { connect: { identity: () => true }, nextcloud: { mode: 'app-password' } }
  const asking = (...scopes: string[]): Options => ({ connect: { scopes } })
  it.each<[rule: string, metadata: object, options: Options, scope: string | null, prompt: string | null]>([
    ['offline_access with consent, if the server lists it', {}, {}, LASTING, 'consent'],
    ['neither, if it lists others', { scopes_supported: ['openid'] }, {}, 'openid', null],
    ['neither, if it lists none', { scopes_supported: undefined }, {}, 'openid', null],
    ['those of connect.scopes, each once', {}, asking('files', 'openid', 'offline_access'), WITH_FILES, 'consent'],
    [
      'offline_access, if the operator names it',
      { scopes_supported: [] },
      asking('offline_access'),
      LASTING,
      'consent',
    ],
    [
      'those of nextcloud.scopes, unless connect has some',
      {},
      { nextcloud: { scopes: ['files'] } },
      WITH_FILES,
      'consent',
    ],
    ['nothing that lasts, if only the name of the user is wanted', {}, ONLY_NAME, 'openid', null],
  ])('asks for %s', async (_rule, metadata, options, scope, prompt) => {
    const parameters = await requestTo(metadata, options)

    expect([parameters.get('scope'), parameters.get('prompt')]).toEqual([scope, prompt])
  })

  it('names each nextcloud.resource', async () => {
    const resource = ['https://one.example/', 'https://two.example/']

    expect((await requestTo({}, { nextcloud: { resource } })).getAll('resource')).toEqual(resource)
  })

  it('takes what the operator adds, and what overrides', async () => {
    const authorizationParameters = { access_type: 'offline', prompt: 'login', resource: 'urn:other', tenant: 'other' }
    const nextcloud = { resource: ['urn:one', 'urn:two'] }
    const parameters = await requestTo({}, { connect: { authorizationParameters }, nextcloud })

    for (const [name, value] of Object.entries(authorizationParameters))
      expect(parameters.getAll(name)).toEqual([value])
  })

  it('keeps what is ours, whatever the query of the endpoint says', async () => {
    const query = 'client_id=evil&state=fixed&redirect_uri=https://evil.example'
    const parameters = await requestTo({ authorization_endpoint: `https://idp.example.com/authorize?${query}` })

    expect(parameters.getAll('client_id')).toEqual([CLIENT_ID])
    expect(parameters.getAll('redirect_uri')).toEqual(['https://mcp.example.com/nextcloud/callback'])
    expect(parameters.getAll('state')).toEqual([RANDOM])
  })

  it("of a second attempt asks Nextcloud's own app to sign in again, since it selects no account", async () => {
    const options = { nextcloud: { preset: 'nextcloud-oidc-app' } } as const
    expect((await requestTo({}, options, true)).get('prompt')).toBe('login consent')
  })

  it.each<[prompt: string, rule: string, metadata: object, operators?: string]>([
    ['select_account consent', 'with what the grant needs', {}],
    ['select_account', 'alone', { scopes_supported: [] }],
    ['select_account login', "with the operator's", {}, 'login'],
    ['select_account', "without the operator's none", {}, 'none'],
    ['login consent', 'as the server takes it', { prompt_values_supported: ['none', 'login'] }],
    ['select_account consent', 'if it takes both', { prompt_values_supported: ['login', 'select_account'] }],
  ])('of a second attempt, for another user, has the prompt %s, %s', async (prompt, _rule, metadata, operators) => {
    const connect = operators === undefined ? {} : { authorizationParameters: { prompt: operators } }

    expect((await requestTo(metadata, { connect }, true)).get('prompt')).toBe(prompt)
  })
})

it.each([
  ['a code', 'state=s&code=c', 'code'],
  ['a code from this issuer', 'state=s&code=c&iss=https://idp.example.com', 'code'],
  ['an error', 'state=s&error=access_denied', 'error'],
  ['a code from another issuer', 'state=s&code=c&iss=https://idp.example.com/', 'unusable'],
  ['a code from an issuer without a name', 'state=s&code=c&iss=', 'unusable'],
  ['an error from another issuer', 'state=s&error=access_denied&iss=https://evil.example', 'unusable'],
  ['another state', 'state=t&code=c', 'unusable'],
  ['no state', 'code=c', 'unusable'],
  ['two codes', 'state=s&code=c&code=d', 'unusable'],
  ['two issuers', 'state=s&code=c&iss=https://idp.example.com&iss=https://idp.example.com', 'unusable'],
  ['two errors', 'state=s&error=a&error=b', 'unusable'],
  ['a JARM response', 'state=s&code=c&response=eyJ', 'unusable'],
  ['an ID token of another flow', 'state=s&code=c&id_token=eyJ', 'unusable'],
  ['an empty code', 'state=s&code=', 'unusable'],
  ['neither a code nor an error', 'state=s', 'unusable'],
])('an answer with %s is understood', (_name, query, kind) => {
  expect(codeGrant().readAnswer(AS, new URLSearchParams(query), 's').kind).toBe(kind)
})

it('an answer without an issuer is unusable if the server says that it names it', () => {
  const as = { ...AS, authorization_response_iss_parameter_supported: true }

  expect(codeGrant().readAnswer(as, new URLSearchParams('state=s&code=c'), 's')).toEqual({ kind: 'unusable' })
})
