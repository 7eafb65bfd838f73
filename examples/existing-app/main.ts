import { randomBytes } from 'node:crypto'
import { mcpAuth } from 'mcp-nextcloud-auth'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

if (process.argv.includes('--check')) {
  const { check } = await import('./check.js')
  process.exitCode = (await check()) ? 0 : 1
} else {
  // Issuer, resource, client and Nextcloud come from the environment.
  const auth = mcpAuth()
  const password = randomBytes(12).toString('base64url')
  const isPassword = (user: string, given: string): boolean => user === 'admin' && given === password
  createApp({ auth, mcp: createMcp(auth), isPassword }).listen(3000, '127.0.0.1', () =>
    process.stdout.write(`Listening on http://127.0.0.1:3000; sign in as admin with ${password}\n`),
  )
}
