import { afterEach, expect, it, onTestFinished, vi } from 'vitest'
import { createMcpAuth } from '../../src/mcp-auth.js'
import { bareHost } from '../support/hosts.js'
import { appPasswordWorld, waitingPage } from '../support/login-visits.js'
import { cookieOf, newSession } from '../support/nextcloud/sessions.js'
import { addAccount } from '../support/nextcloud/state.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'
import { createTestBrowser } from '../support/test-browser.js'

afterEach(() => vi.unstubAllEnvs())

/** The variables that the Python nextcloud-mcp-server 0.202 documents for several users, and the rule of whose account one connects. */
const documented = (nextcloud: string, id: string, secret: string): Readonly<Record<string, string>> => ({
  NEXTCLOUD_HOST: nextcloud,
  NEXTCLOUD_USERNAME: '',
  NEXTCLOUD_PASSWORD: '',
  MCP_DEPLOYMENT_MODE: 'login_flow',
  NEXTCLOUD_OIDC_CLIENT_ID: id,
  NEXTCLOUD_OIDC_CLIENT_SECRET: secret,
  NEXTCLOUD_MCP_SERVER_URL: RESOURCE,
  NEXTCLOUD_PUBLIC_ISSUER_URL: nextcloud,
  NEXTCLOUD_OIDC_SCOPES: 'openid notes.read',
  TOKEN_ENCRYPTION_KEY: 'q7Vx1kPz0mJrW3uYc9LdQn5sTb8eHfGa2iKo4wNyXEA=',
  TOKEN_STORAGE_DB: '/app/data/tokens.db',
  NEXTCLOUD_IDENTITY: 'sub',
})

it('a Nextcloud that is no provider is an outage, which says what to set for another one', async () => {
  const { nextcloud, clock } = await appPasswordWorld()
  nextcloud.occ(['app:disable', 'oidc'])
  for (const [name, value] of Object.entries(documented(nextcloud.url, 'mcp', 'secret'))) vi.stubEnv(name, value)
  const details: unknown[] = []
  const auth = createMcpAuth({ onEvent: (event) => details.push(JSON.stringify(event)) }, clock)
  onTestFinished(() => auth.close())

  const problem = await auth.verify('eyJhbGciOiJSUzI1NiJ9.e30.AA').catch((error: unknown) => error)
  expect(problem).toMatchObject({ status: 503 })
  const said = `${String(problem)}${String((problem as { detail?: unknown }).detail)}${details.join()}`
  for (const name of ['OIDC_ISSUER', 'OIDC_DISCOVERY_URL', 'NEXTCLOUD_HOST']) expect(said).toContain(name)
})

it('the variables of the Python server alone start app-password mode, with Nextcloud itself as the provider', async () => {
  const { nextcloud, clock } = await appPasswordWorld()
  const { state } = nextcloud
  addAccount(state, 'alice')
  const redirectUri = `${new URL(RESOURCE).origin}/nextcloud/callback`
  const made = JSON.parse(nextcloud.occ(['oidc:create', 'mcp', redirectUri])) as Record<string, string>
  const { client_id: id = '', client_secret: secret = '' } = made
  for (const [name, value] of Object.entries(documented(nextcloud.url, id, secret))) vi.stubEnv(name, value)
  for (const name of ['OIDC_ISSUER', 'OIDC_DISCOVERY_URL', 'OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET']) vi.stubEnv(name, '')
  const auth = createMcpAuth(undefined, clock)
  const app = await bareHost.start([auth.routes()])
  onTestFinished(() => Promise.all([auth.close(), app.close()]).then(() => undefined))
  await expect(auth.verify('e30.e30.e30')).rejects.toMatchObject({
    headers: { 'WWW-Authenticate': expect.stringContaining('scope="openid notes.read"') as string },
  })

  const alice = { issuer: nextcloud.url, subject: 'alice', clientId: 'mcp-client' }
  const browser = createTestBrowser(app.url)
  const { refreshTo } = await browser.press(await browser.open(await auth.createConnectUrl(alice)), { answer: 'yes' })
  const cookie = cookieOf(newSession(state, 'alice', 'alice'))
  const signedIn = await fetch(refreshTo ?? '', { redirect: 'manual', headers: { cookie } })
  const callback = new URL(signedIn.headers.get('location') ?? '')
  const { login, next } = waitingPage(await browser.open(callback.pathname + callback.search))
  await nextcloud.grant(login, 'alice')

  expect((await browser.open(next)).status).toBe(200)
  expect(await auth.nextcloudUser(alice)).toMatchObject({ id: 'alice' })
})
