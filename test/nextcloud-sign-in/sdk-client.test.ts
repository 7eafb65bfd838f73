import type { OAuthClientProvider } from '@modelcontextprotocol/client'
import { describe, expect, it } from 'vitest'
import { createOAuthClient } from '../../examples/demo/oauth-client.js'
import { SDK_NAMES, SDKS, signIn, type Sdk } from '../support/app-clients.js'
import { wordsOf } from '../support/html.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

interface AppOptions {
  /** The address of the client's metadata, which is its id where the SDK takes it. */
  readonly clientMetadataUrl?: string
  /** Whether the app keeps refresh tokens. Default true. */
  readonly keepsRefreshTokens?: boolean
}

function openClient(sdk: Sdk, server: SignInServer, { clientMetadataUrl, keepsRefreshTokens = true }: AppOptions = {}) {
  const person = server.person('alice')
  const asked: URL[] = []
  let last: URL | undefined
  const oauth = createOAuthClient({
    open: async (url, stopAt) => {
      asked.push(new URL(url))
      return (last = await person.until(url, stopAt))
    },
    visit: () => Promise.reject(new Error('A client opens one address')),
  })
  const provider: OAuthClientProvider = {
    ...oauth.provider,
    ...(clientMetadataUrl !== undefined && { clientMetadataUrl }),
    ...(!keepsRefreshTokens && {
      saveTokens: (tokens) => oauth.provider.saveTokens({ ...tokens, refresh_token: undefined }),
    }),
  }
  const open = () =>
    SDKS[sdk](
      new URL(server.url),
      provider,
      () => oauth.callback(),
      () => last,
    )
  return { oauth, open, asked }
}

describe.each(SDK_NAMES)('an MCP client of the SDK %s that knows the URL alone', (sdk) => {
  it('registers itself, signs its user in at Nextcloud, acts there, refreshes, and signs in again after a disconnect', async () => {
    const server = await startSignInServer()
    const { oauth, open, asked } = openClient(sdk, server)

    const client = await signIn(open)
    expect(await client.callTool('whoami')).toContain('alice')
    await client.close()

    // The access token is gone: the refresh token serves.
    const tokens = await oauth.provider.tokens()
    await oauth.provider.saveTokens({ ...tokens, access_token: 'ended', token_type: 'bearer' })
    const later = open()
    await later.connect()
    expect(await later.callTool('whoami')).toContain('alice')
    expect([asked.length, oauth.accessToken() === 'ended']).toEqual([1, false])
    await later.close()

    // The user ends it in Nextcloud's settings: one more sign-in, and it goes on.
    server.nextcloud.state.tokens.splice(0)
    await oauth.provider.saveTokens({
      ...(await oauth.provider.tokens()),
      access_token: 'ended',
      token_type: 'bearer',
    })
    const mended = await signIn(open)
    expect(await mended.callTool('whoami')).toContain('alice')
    expect(asked).toHaveLength(2)
    await mended.close()
  })
})

const CLIENT_ID = 'https://client.example.com/oauth/client.json'
/** As the metadata documents of desktop apps are: a loopback address without a port, and no kind of application. */
const DOCUMENT = {
  client_id: CLIENT_ID,
  client_name: 'Example client',
  redirect_uris: ['http://localhost/callback', 'http://127.0.0.1/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
}

// 1.11 does not know metadata documents.
describe.each(['v2.4', 'v1.32'] as const)(
  'an MCP client of the SDK %s whose id is the address of its metadata',
  (sdk) => {
    it('signs its user in without being registered, acts, and refreshes', async () => {
      const server = await startSignInServer({ documents: (url) => Promise.resolve(url === CLIENT_ID && DOCUMENT) })
      const { oauth, open, asked } = openClient(sdk, server, { clientMetadataUrl: CLIENT_ID })

      const client = await signIn(open)
      expect(await client.callTool('whoami')).toContain('alice')
      await client.close()

      expect(asked.map((url) => url.searchParams.get('client_id'))).toEqual([CLIENT_ID])
      expect(await server.auth.verify(oauth.accessToken())).toMatchObject({ clientId: CLIENT_ID, subject: 'alice' })
      await oauth.provider.saveTokens({
        ...(await oauth.provider.tokens()),
        access_token: 'ended',
        token_type: 'bearer',
      })
      const later = open()
      await later.connect()
      expect(await later.callTool('whoami')).toContain('alice')
      expect(asked).toHaveLength(1)
      await later.close()
    })
  },
)

const SCOPES = { 'files:read': 'Read your files', 'files:write': 'Change your files' }
const NEEDS = { all: ['files:read'], write: ['files:read', 'files:write'] }

/** The words of the page with the question, for a browser that nobody has signed in. */
async function consentPage(url: URL): Promise<string> {
  const first = await fetch(url, { redirect: 'manual' })
  const cookie = first.headers.getSetCookie().map((each) => each.split(';')[0])
  const page = await fetch(new URL(first.headers.get('location') ?? '', url), {
    headers: { cookie: cookie.join('; ') },
  })
  return wordsOf(await page.text())
}

describe('an MCP client that needs one scope more for a tool', () => {
  // 1.32 spends its refresh token instead of asking, which gives no scope more.
  it.each([
    ['v2.4', true],
    ['v1.32', false],
  ] as const)('of the SDK %s asks its user for both, and goes on', async (sdk, keepsRefreshTokens) => {
    const server = await startSignInServer({ scopes: SCOPES, needs: NEEDS })
    const { oauth, open, asked } = openClient(sdk, server, { keepsRefreshTokens })
    const client = await signIn(open)
    expect(await client.callTool('whoami')).toContain('alice')

    await expect(client.callTool('write')).rejects.toThrow()
    await client.finishAuth()

    expect(await client.callTool('write')).toContain('written')
    expect(await client.callTool('whoami')).toContain('alice')
    await client.close()
    const [first, second, ...others] = asked
    expect(others).toEqual([])
    expect([first, second].map((url) => url?.searchParams.get('scope')?.split(' ').sort())).toEqual([
      ['files:read'],
      ['files:read', 'files:write'],
    ])
    expect(await server.auth.verify(oauth.accessToken())).toMatchObject({ scopes: ['files:read', 'files:write'] })
    const pages = await Promise.all([first, second].map((url) => consentPage(url as URL)))
    expect(pages.map((page) => Object.values(SCOPES).map((sentence) => page.includes(sentence)))).toEqual([
      [true, false],
      [true, true],
    ])
  })

  it('of the SDK v1.32 that keeps a refresh token ends with the refusal, and asks nobody again and again', async () => {
    const server = await startSignInServer({ scopes: SCOPES, needs: NEEDS })
    const { open, asked } = openClient('v1.32', server)
    const client = await signIn(open)

    await expect(client.callTool('write')).rejects.toThrow(/403/)

    expect(asked).toHaveLength(1)
    expect(await client.callTool('whoami')).toContain('alice')
    await client.close()
  })

  it('of the SDK v1.11, which asks for no scope at first, is given all of them', async () => {
    const server = await startSignInServer({ scopes: SCOPES, needs: NEEDS })
    const { open, asked } = openClient('v1.11', server)
    const client = await signIn(open)

    expect(await client.callTool('write')).toContain('written')
    expect(asked.map((url) => url.searchParams.get('scope'))).toEqual([null])
    await client.close()
  })
})
