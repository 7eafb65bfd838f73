import { mcpAuth, StorageError, MemoryStorage } from 'mcp-nextcloud-auth'
import { browserOf } from '../demo/client.js'
import { startIdentityProvider } from '../demo/identity-provider.js'
import { listenOnLoopback } from '../demo/loopback.js'
import { startNextcloud } from '../demo/nextcloud.js'
import { createTimeline } from '../demo/timeline.js'
import { createApp } from './app.js'

/** A store that can be made to fail. */
class Store extends MemoryStorage {
  isBroken = false
  override async get(key: string) {
    if (this.isBroken) throw new StorageError('The store is gone')
    return super.get(key)
  }
}

process.exitCode = (await check()) ? 0 : 1

/** Uses the account page as alice does, who is signed in to the app already. */
async function check(): Promise<boolean> {
  const timeline = createTimeline(process.stdout)
  const identityProvider = await startIdentityProvider()
  const { issuer, client, nextcloudResource } = identityProvider
  const nextcloud = await startNextcloud({ issuer })
  const server = await listenOnLoopback()
  const storage = new Store()
  const account = `${server.origin}/account`
  const auth = mcpAuth({
    issuer,
    ...client,
    resource: `${server.origin}/mcp`,
    resourceName: 'Our app',
    scopesSupported: ['notes:read'],
    nextcloud: { url: nextcloud.url, mode: 'refresh-token', resource: nextcloudResource },
    storage,
    encryptionKey: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url'),
    connect: { returnTo: account, clientName: (id) => (id === 'our-app' ? 'Our app' : undefined) },
    onEvent: () => undefined,
  })
  identityProvider.registerConnectCallback(auth.connectRedirectUri ?? '')
  const userOf = ({ headers }: { headers: Record<string, unknown> }) =>
    headers['x-session'] === 'alice' ? { issuer, subject: 'alice' } : undefined
  server.serve(createApp({ auth, mcp: (_req, res) => void res.end(), userOf, clientId: 'our-app' }))
  const asAlice = (path: string, method = 'GET') =>
    fetch(server.origin + path, { method, headers: { 'X-Session': 'alice' }, redirect: 'manual' })
  const seen = async (path: string) => (await asAlice(path)).text()

  try {
    const stranger = await fetch(account)
    timeline.check('who is not signed in to the app is asked to', stranger.status === 401)
    timeline.check('the account page offers to connect', (await seen('/account')).includes('not connected yet'))

    const link = new URL((await asAlice('/account/connect', 'POST')).headers.get('Location') ?? '')
    const back = await browserOf('alice').open(link, account)
    timeline.check('the connection ends on the account page', back.pathname === '/account')
    timeline.check('which says that Nextcloud is connected', (await seen('/account')).includes('is connected.'))

    await asAlice('/account/disconnect', 'POST')
    timeline.check('and ends it', (await seen('/account')).includes('not connected yet'))

    storage.isBroken = true
    const failed = await asAlice('/account')
    const page = await failed.text()
    timeline.check('while the store is unavailable, a page says so', failed.status === 503 && page.includes('Not now'))
    const { status, headers } = await fetch(`${server.origin}/mcp`, { method: 'POST' })
    timeline.check(
      'an MCP client still gets its challenge, not a page',
      status === 401 && headers.get('Content-Type')?.startsWith('application/json') === true,
    )
  } catch (error) {
    timeline.check(`no step fails, but one did: ${error instanceof Error ? error.message : 'unknown'}`, false)
  } finally {
    await auth.close()
    await Promise.all([server.close(), nextcloud.close(), identityProvider.close()])
  }
  return timeline.summary()
}
