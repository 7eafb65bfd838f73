import { Client } from 'mcp-sdk-1.11/client/index.js'
import { StreamableHTTPClientTransport } from 'mcp-sdk-1.11/client/streamableHttp.js'
import { expect, it, onTestFinished } from 'vitest'
import { startIdentityProvider } from '../../examples/demo/identity-provider.js'
import { createOAuthClient } from '../../examples/demo/oauth-client.js'
import { bareHost, hosts } from '../support/hosts.js'
import { world } from '../support/world.js'

/** Lets a client of MCP 2025-03-26 connect; the addresses that it sends its user to. */
async function sentTo(legacyMetadata: boolean, host = bareHost): Promise<{ issuer: string; opened: URL[] }> {
  const provider = await startIdentityProvider()
  onTestFinished(() => provider.close())
  const app = await world({
    mode: 'none',
    host,
    options: { issuer: provider.issuer, legacyMetadata },
    handlers: (auth) => [auth.routes(), auth],
  })
  const opened: URL[] = []
  const oauth = createOAuthClient({
    open: (url) => {
      opened.push(url)
      return Promise.reject(new Error('the person goes away'))
    },
    visit: () => Promise.reject(new Error('A client opens one address')),
  })
  const transport = new StreamableHTTPClientTransport(new URL(`${app.url}/mcp`), {
    authProvider: oauth.provider as never,
  })
  await expect(new Client({ name: 'old', version: '1' }).connect(transport as never)).rejects.toThrow()
  return { issuer: provider.issuer, opened }
}

it.each(hosts)(
  'legacyMetadata leads a client of MCP 2025-03-26 (SDK 1.11) to the sign-in of the provider, where it registers itself, on $name',
  async (host) => {
    const { issuer, opened } = await sentTo(true, host)

    expect(opened.map(({ origin }) => origin)).toEqual([issuer])
    expect(opened[0]?.searchParams.get('client_id')).toMatch(/\S/)
  },
)

it('without it, such a client finds no provider', async () => {
  const { issuer, opened } = await sentTo(false)

  expect(opened.filter(({ origin }) => origin === issuer)).toEqual([])
})
