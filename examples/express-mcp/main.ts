import { once } from 'node:events'
import { createServer } from 'node:http'
import { mcpAuth, type McpAuth } from 'mcp-nextcloud-auth'
import { createApp, type McpEndpoint } from './app.js'
import { grantStorage } from './storage.js'

/** Loaded only when it is chosen, so that one SDK is enough. Delete the line of the other, and its file. */
const endpoints: Readonly<Record<string, (auth: McpAuth) => Promise<McpEndpoint>>> = {
  v1: async (auth) => (await import('./mcp-v1.js')).mcpEndpointV1(auth),
  v2: async (auth) => (await import('./mcp-v2.js')).mcpEndpointV2(auth),
}

await serve()

/** Everything that differs between machines comes from the environment; README.md lists it. */
async function serve(): Promise<void> {
  const { PORT = '3000', HOST = '127.0.0.1', GRANTS_FILE = 'grants.db', PROXIES = '0' } = process.env
  const { MCP_SDK = 'v2', NEXTCLOUD_RESOURCE } = process.env
  const createEndpoint = endpoints[MCP_SDK]
  if (createEndpoint === undefined) throw new Error(`MCP_SDK must be one of ${Object.keys(endpoints).join(', ')}`)
  const grants = await grantStorage(GRANTS_FILE)
  // Issuer, resource, client, Nextcloud and key are read from the environment by mcpAuth() itself.
  const auth = mcpAuth({
    resourceName: 'Nextcloud notes',
    nextcloud: { mode: 'refresh-token', resource: NEXTCLOUD_RESOURCE },
    requiredScopes: ['notes:read'],
    scopesSupported: ['notes:read', 'notes:write'],
    storage: grants.storage,
    onEvent: ({ type, ...rest }) => {
      if (type !== 'token.accepted') process.stdout.write(`${JSON.stringify({ type, ...rest })}\n`)
    },
  })
  // After mcpAuth() has checked the configuration: a mistake in it leaves no file behind.
  grants.open()
  const endpoint = await createEndpoint(auth)
  const server = createServer(createApp(auth, endpoint, Number(PROXIES)))
  server.listen(Number(PORT), HOST)
  await once(server, 'listening')
  process.stdout.write(`Listening on ${HOST}:${PORT}; ${grants.description}\n`)
  process.stdout.write(`To register at the provider: ${auth.connectRedirectUri ?? ''}\n`)

  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
  const closed = once(server, 'close')
  server.close()
  // Requests that hang are cut off before an orchestrator kills the process.
  const patience = setTimeout(() => server.closeAllConnections(), 8_000)
  // Ends the tool calls that wait for a user, and waits until rotated refresh tokens are stored.
  await auth.close()
  await endpoint.close()
  server.closeIdleConnections()
  await closed
  clearTimeout(patience)
  grants.close()
  process.stdout.write('Stopped\n')
}
