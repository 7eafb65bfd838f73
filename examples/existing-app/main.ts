import { randomBytes } from 'node:crypto'
import { mcpAuth } from 'mcp-nextcloud-auth'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

// Issuer, resource, client and Nextcloud come from the environment; README.md lists it.
const auth = mcpAuth()
const { PORT = '3000' } = process.env
const password = randomBytes(12).toString('base64url')
const isPassword = (user: string, given: string): boolean => user === 'admin' && given === password
createApp({ auth, mcp: createMcp(auth), isPassword }).listen(Number(PORT), '127.0.0.1', () =>
  process.stdout.write(`Listening on http://127.0.0.1:${PORT}; sign in as admin with ${password}\n`),
)
