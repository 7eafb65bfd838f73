import { mcpAuth } from 'mcp-nextcloud-auth'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

// Issuer, resource, client and Nextcloud are read from the environment by mcpAuth() itself.
const auth = mcpAuth({ requiredScopes: ['notes:read'] })
const { PORT = '3000', HOST = '127.0.0.1' } = process.env
createApp(auth, createMcp(auth)).listen(Number(PORT), HOST, () =>
  process.stdout.write(`Listening on http://${HOST}:${PORT}\n`),
)
