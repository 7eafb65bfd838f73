import { mcpAuth } from 'mcp-nextcloud-auth'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

// Issuer, resource, client and Nextcloud are read from the environment by mcpAuth() itself.
const auth = mcpAuth({ requiredScopes: ['notes:read'] })
const { PORT = '3000', HOST = '127.0.0.1' } = process.env
const app = createApp(auth, createMcp(auth))

await app.listen({ port: Number(PORT), host: HOST })
process.stdout.write(`Listening on ${app.listeningOrigin}\n`)
