import { describe, expect, it } from 'vitest'
import { clientOf, MCP_CLIENT_IDS, wayAt } from '../../src/cli/doctor/clients/mcp-clients.js'
import { providerPlaces } from '../../src/cli/doctor/clients/places.js'
import { providerSettings } from '../../src/cli/doctor/clients/provider-settings.js'
import { OAUTH_WELL_KNOWN, setUpDoctor, WELL_KNOWN, type DoctorSetup, type Outcome } from '../support/doctor-setup.js'

const BY_HAND = /^make a .*client by hand \(.+\) with the redirect URI .+, and give its id to /
const ALL = MCP_CLIENT_IDS.filter((id) => id !== 'mcp-2025-03-26')

async function examined(change: (setup: DoctorSetup) => unknown): Promise<Outcome> {
  const setup = await setUpDoctor()
  await change(setup)
  return setup.run()
}

/** The clients that find a way to an id by themselves. */
const registering = ({ finding }: Outcome) => ALL.filter((id) => finding(`clients.${id}`)?.status === 'passed')

describe('the clients that find a way to an id by themselves', () => {
  it('are all where it has registration and metadata documents', async () => {
    const outcome = await examined(({ as }) => (as.metadata['client_id_metadata_document_supported'] = true))

    expect(registering(outcome)).toEqual(ALL)
    expect(outcome.finding('clients.claude')?.found).toBe(
      'Claude (web, desktop and phone) names itself by its metadata document https://claude.ai/oauth/mcp-oauth-client-metadata',
    )
    expect(outcome.finding('clients.cursor')?.found).toBe(
      'Cursor finds an endpoint to register itself; --as cursor shows whether it may',
    )
  })

  it('are those with a document where it takes documents alone', async () => {
    const outcome = await examined(({ as }) => {
      as.metadata['client_id_metadata_document_supported'] = true
      delete as.metadata['registration_endpoint']
    })

    expect(registering(outcome)).toEqual(['claude', 'claude-code', 'chatgpt', 'vscode', 'codex'])
    expect(outcome.failed).toEqual([])
  })

  it('leave Claude out where it takes documents, but does not list public clients', async () => {
    const outcome = await examined(({ as }) => {
      as.metadata['client_id_metadata_document_supported'] = true
      as.metadata['token_endpoint_auth_methods_supported'] = ['client_secret_basic']
      delete as.metadata['registration_endpoint']
    })

    expect(registering(outcome)).toEqual(['chatgpt', 'vscode', 'codex'])
  })

  it('are none where it has neither, and each gets its advice', async () => {
    const outcome = await examined(({ as }) => delete as.metadata['registration_endpoint'])

    expect(registering(outcome)).toEqual([])
    for (const id of ALL) expect(outcome.finding(`clients.${id}`)?.fix).toMatch(BY_HAND)
    expect(outcome.finding('clients.claude-code')?.fix).toContain('claude mcp add --client-id ID --callback-port PORT')
    expect(outcome.finding('clients.cursor')?.fix).toContain('http://localhost:8787/callback')
    expect(outcome.finding('clients.mistral')?.fix).toMatch(/^make a confidential client/)
    expect({ status: outcome.status, failed: outcome.failed }).toEqual({ status: 0, failed: [] })
  })

  it('come back to another redirect URI where the provider does not name itself, ChatGPT that is', async () => {
    const without = await examined(({ as }) => delete as.metadata['registration_endpoint'])
    const named = await examined(({ as }) => {
      delete as.metadata['registration_endpoint']
      as.metadata['authorization_response_iss_parameter_supported'] = true
    })

    expect(without.finding('clients.chatgpt')?.fix).toContain('https://chatgpt.com/connector/oauth/CALLBACK_ID')
    expect(named.finding('clients.chatgpt')?.fix).toContain('https://chatgpt.com/connector_platform_oauth_redirect')
  })

  it('that call from the Internet are told of an address of this machine alone', async () => {
    const { finding } = await examined(() => undefined)

    expect(finding('clients.chatgpt')?.fix).toMatch(/needs a public name with https/)
    expect(finding('clients.vscode')?.fix).toBeUndefined()
  })

  it('of MCP 2025-03-26 need legacyMetadata', async () => {
    const outcome = await examined(() => undefined)
    const legacy = await setUpDoctor({ legacyMetadata: true })
    const { finding } = await legacy.run()

    expect(outcome.finding('clients.mcp-2025-03-26')?.status).toBe('left-out')
    expect(outcome.finding('clients.mcp-2025-03-26')?.fix).toMatch(/legacyMetadata/)
    expect(finding('clients.mcp-2025-03-26')?.status).toBe('passed')
  })

  it('look at the server that is published, where another stands before the issuer', async () => {
    const outcome = await examined(async (setup) => {
      const front = await setUpDoctor()
      delete setup.as.metadata['registration_endpoint']
      setup.options['authorization-servers'] = front.as.issuer
    })

    expect(registering(outcome)).toEqual(ALL)
  })

  it('are not judged where they find no metadata', async () => {
    const { leftOut } = await examined((setup) => {
      const { as, options } = setup
      options['discovery-url'] = `${as.issuer}/internal`
      as.script('/internal', (_request, res) => res.end(JSON.stringify(as.metadata)))
      for (const path of [WELL_KNOWN, OAUTH_WELL_KNOWN]) as.script(path, { status: 404 })
    })

    expect(leftOut).toEqual(expect.arrayContaining(ALL.map((id) => `clients.${id}`)))
  })
})

describe('what the provider must offer to all of them', () => {
  it('is PKCE with S256', async () => {
    const plain = await examined(({ as }) => (as.metadata['code_challenge_methods_supported'] = ['plain']))
    const silent = await examined(({ as }) => delete as.metadata['code_challenge_methods_supported'])

    expect(plain.failed).toEqual(['clients.pkce'])
    expect(plain.finding('clients.pkce')?.fix).toMatch(/switch PKCE with S256 on/)
    expect(silent.failed).toEqual([])
    expect(silent.leftOut).toContain('clients.pkce')
  })

  it('is the scopes that they are told to ask for', async () => {
    const lacking = await examined(({ options }) => (options['required-scopes'] = 'notes:read,openid'))
    const listed = await examined(({ as, options }) => {
      options['required-scopes'] = 'notes:read'
      as.metadata['scopes_supported'] = ['notes:read']
    })

    expect(lacking.finding('clients.scopes')).toMatchObject({
      status: 'left-out',
      found: 'scopes_supported of the provider lacks notes:read',
    })
    expect(listed.finding('clients.scopes')?.status).toBe('passed')
  })
})

describe('the table of clients', () => {
  it.each(MCP_CLIENT_IDS)('%s takes an id by hand where there is nothing else', (id) => {
    expect(wayAt(clientOf(id), {})).toBeUndefined()
  })

  it('takes nothing but true for documents, and nothing but a text for registration', () => {
    expect(wayAt(clientOf('codex'), { client_id_metadata_document_supported: 'true', registration_endpoint: 1 })).toBe(
      undefined,
    )
  })
})

it.each([
  ['https://idp.example.com', ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']],
  [
    'https://idp.example.com/realms/acme',
    [
      '/.well-known/oauth-authorization-server/realms/acme',
      '/.well-known/openid-configuration/realms/acme',
      '/realms/acme/.well-known/openid-configuration',
    ],
  ],
  [
    'https://idp.example.com/tenant/',
    [
      '/.well-known/oauth-authorization-server/tenant',
      '/.well-known/openid-configuration/tenant',
      '/tenant/.well-known/openid-configuration',
    ],
  ],
])('clients look for the metadata of %s in the order of MCP 2025-11-25', (issuer, paths) => {
  expect(providerPlaces(issuer)).toEqual(paths.map((path) => `https://idp.example.com${path}`))
})

it.each([
  ['https://idp.example.com/realms/acme', undefined, /^Keycloak: Clients, Create client/],
  ['https://login.microsoftonline.com/1-2/v2.0', undefined, /^Entra: App registrations/],
  ['https://acme.eu.auth0.com/', undefined, /^Auth0: /],
  ['https://acme.okta.com/oauth2/default', undefined, /^Okta: /],
  ['https://acme.zitadel.cloud', undefined, /^Zitadel: /],
  ['https://sso.example.com/application/o/mcp/', undefined, /^authentik: /],
  ['https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_a', undefined, /^Cognito: /],
  ['https://accounts.google.com', undefined, /^Google Cloud: /],
  [
    'https://cloud.example.com',
    'https://cloud.example.com/index.php/apps/oidc/authorize',
    /^Nextcloud: occ oidc:create/,
  ],
  ['https://idp.example.com', 'https://idp.example.com/authorize', /^at the provider, a client/],
])('the place in the settings of %s is named', (issuer, endpoint, place) => {
  expect(providerSettings(issuer, { authorization_endpoint: endpoint }).client).toMatch(place)
})
