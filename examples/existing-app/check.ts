import { randomBytes } from 'node:crypto'
import { mcpAuth } from 'mcp-nextcloud-auth'
import { fakeNextcloud } from 'mcp-nextcloud-auth/testing'
import { browserOf, connectNotesClient } from '../demo/client.js'
import { startIdentityProvider } from '../demo/identity-provider.js'
import { listenOnLoopback } from '../demo/loopback.js'
import { createTimeline } from '../demo/timeline.js'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

process.exitCode = (await check()) ? 0 : 1

/** Starts the app against the demo's provider and Nextcloud, and uses it as a person and as an MCP client. */
async function check(): Promise<boolean> {
  const timeline = createTimeline(process.stdout)
  const identityProvider = await startIdentityProvider()
  const { issuer, client } = identityProvider
  const nextcloud = await fakeNextcloud({ provider: identityProvider })
  const server = await listenOnLoopback()
  const { origin } = server
  const resource = `${origin}/mcp`
  identityProvider.registerResource(resource, ['tools'])
  const auth = mcpAuth({ issuer, ...client, resource, nextcloud: { url: nextcloud.url }, scopesSupported: ['tools'] })
  const secret = randomBytes(12).toString('base64url')
  const isPassword = (user: string, password: string): boolean => user === 'alice' && password === secret
  server.serve(createApp({ auth, mcp: createMcp(auth), isPassword }))

  try {
    const signIn = await fetch(`${origin}/sign-in`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ user: 'alice', password: secret }),
    })
    const cookie = signIn.headers.get('Set-Cookie')?.split(';')[0] ?? ''
    const me = await fetch(`${origin}/me`, { headers: { Cookie: cookie } })
    timeline.check('the app signs people in as before', (await me.text()) === '{"user":"alice"}')

    const refused = await fetch(resource, { method: 'POST', headers: { Cookie: cookie } })
    timeline.check(
      "at /mcp the app's session counts for nothing: 401 with a challenge",
      refused.status === 401 && refused.headers.get('WWW-Authenticate')?.includes('resource_metadata=') === true,
    )

    const mcpClient = await connectNotesClient({ url: resource, browser: browserOf('bob') })
    const answer = await mcpClient.callTool('whoami')
    timeline.check('an MCP client signs in at the provider, and its tool acts as bob', answer.includes('"id":"bob"'))

    const headers = { Authorization: `Bearer ${mcpClient.oauth.accessToken()}` }
    const { status } = await fetch(`${origin}/me`, { headers })
    timeline.check('an MCP token opens nothing else of the app', status === 401)
    await mcpClient.close()
  } catch (error) {
    timeline.check(`no step fails, but one did: ${error instanceof Error ? error.message : 'unknown'}`, false)
  } finally {
    await auth.close()
    await Promise.all([server.close(), nextcloud.close(), identityProvider.close()])
  }
  return timeline.summary()
}
