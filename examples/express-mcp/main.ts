import { once } from 'node:events'
import { createServer } from 'node:http'
import { mcpAuth } from 'mcp-nextcloud-auth'
import { createApp } from './app.js'
import { mcpEndpointV1 } from './mcp-v1.js'
import { mcpEndpointV2 } from './mcp-v2.js'
import { openGrantStorage } from './storage.js'

if (process.argv.includes('--check')) {
  const { check } = await import('./check.js')
  process.exitCode = (await check()) ? 0 : 1
} else {
  await serve()
}

/** Everything that differs between machines comes from the environment; README.md lists it. */
async function serve(): Promise<void> {
  const { PORT = '3000', HOST = '127.0.0.1', GRANTS_FILE = 'grants.db', PROXIES = '0' } = process.env
  const { MCP_SDK = 'v2', NEXTCLOUD_RESOURCE } = process.env
  const grants = await openGrantStorage(GRANTS_FILE)
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
  const endpoint = MCP_SDK === 'v1' ? mcpEndpointV1(auth) : mcpEndpointV2(auth)
  const server = createServer(createApp(auth, endpoint, Number(PROXIES)))
  server.listen(Number(PORT), HOST)
  await once(server, 'listening')
  process.stdout.write(`Listening on ${HOST}:${PORT}; ${grants.description}\n`)
  process.stdout.write(`To register at the provider: ${auth.connectRedirectUri ?? ''}\n`)

  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
  const closed = once(server, 'close')
  server.close()
  // What hangs is cut off in the end, before an orchestrator does it.
  const patience = setTimeout(() => server.closeAllConnections(), 8_000)
  // Ends the tool calls that wait for a user, and waits until what the provider has rotated is stored.
  await auth.close()
  await endpoint.close()
  server.closeIdleConnections()
  await closed
  clearTimeout(patience)
  grants.close()
  process.stdout.write('Stopped\n')
}
