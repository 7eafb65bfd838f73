import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { browserOf } from '../../examples/demo/client.js'
import { startIdentityProvider, type IdentityProvider } from '../../examples/demo/identity-provider.js'
import { listenOnLoopback, type LoopbackServer } from '../../examples/demo/loopback.js'
import { startNextcloud, type Nextcloud } from '../../examples/demo/nextcloud.js'
import { mcpAuth, type McpAuth, type McpAuthEvent } from '../../src/index.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { createTestBrowser, expectPage, type TestBrowser, type Visit } from '../support/test-browser.js'

/** The whole way, at a real OpenID provider with rotating refresh tokens. */
let provider: IdentityProvider
let nextcloud: Nextcloud
let server: LoopbackServer
let auth: McpAuth
let events: McpAuthEvent[]

beforeEach(async () => {
  provider = await startIdentityProvider()
  nextcloud = await startNextcloud({ issuer: provider.issuer })
  server = await listenOnLoopback()
  events = []
  auth = mcpAuth({
    issuer: provider.issuer,
    ...provider.client,
    resource: `${server.origin}/mcp`,
    nextcloud: { url: nextcloud.url, mode: 'refresh-token', resource: provider.nextcloudResource },
    storage: new MemoryStorage(),
    onEvent: (event) => events.push(event),
  })
  const routes = auth.routes()
  server.serve((req, res) => routes(req, res, () => res.writeHead(404).end()))
  provider.registerResource(`${server.origin}/mcp`, ['notes:read'])
  provider.registerConnectCallback(auth.connectRedirectUri ?? '')
})
afterEach(async () => {
  await server.close()
  await auth.close()
  await Promise.all([nextcloud.close(), provider.close()])
})

async function tokenOf(subject: string): Promise<string> {
  return provider.issueAccessToken({ subject, resource: `${server.origin}/mcp`, scope: 'notes:read' })
}

async function finish(page: Visit, here: TestBrowser, there: ReturnType<typeof browserOf>): Promise<Visit> {
  if (page.refreshTo === undefined) throw new Error(`The browser was not sent on: ${page.status}`)
  return here.open(await there.open(page.refreshTo, `${server.origin}/nextcloud/callback`))
}

async function connect(name: string, link: string): Promise<Visit> {
  const here = createTestBrowser(server.origin)
  return finish(await here.press(await here.open(link), { answer: 'yes' }), here, browserOf(name))
}

describe('at a real provider', () => {
  it('a user connects, and tools act in Nextcloud in the name of that user', async () => {
    const info = await auth.verify(await tokenOf('alice'))

    expectPage(await connect('alice', await auth.createConnectUrl(info)), 200)

    const answer = await auth.nextcloudFetch(info, '/ocs/v2.php/cloud/user')
    expect(answer.status).toBe(200)
    expect(nextcloud.received.at(-1)?.claims).toMatchObject({ sub: 'alice', aud: 'nextcloud', client_id: 'mcp-server' })
    expect(auth.stats().refreshes).toBe(0)
    expect(events.map(({ type }) => type)).toContain('grant.stored')
  })

  it('the refresh token that came with the code is good, and rotates', async () => {
    const info = await auth.verify(await tokenOf('alice'))
    await connect('alice', await auth.createConnectUrl(info))
    const first = await auth.getNextcloudToken(info)

    await auth.rotate(info)
    await auth.rotate(info)

    expect(await auth.getNextcloudToken(info)).not.toBe(first)
    expect(events.filter(({ type }) => type === 'grant.rotated')).toHaveLength(2)
    expect((await auth.nextcloudFetch(info, '/ocs/v2.php/cloud/user')).status).toBe(200)
  })

  it("Alice's link that Bob finishes connects nobody, and Bob is asked for the account at the second attempt", async () => {
    const alice = await auth.verify(await tokenOf('alice'))
    const pressed: string[] = []
    const there = browserOf('bob', ([, value]) => pressed.push(value))
    const here = createTestBrowser(server.origin)
    const link = await auth.createConnectUrl(alice)
    const refusal = await finish(await here.press(await here.open(link), { answer: 'yes' }), here, there)
    expectPage(refusal, 403)
    pressed.length = 0

    const again = await finish(await here.press(refusal), here, there)

    expectPage(again, 403)
    expect(pressed).toEqual(['bob', 'allow'])
    expect(await auth.isProvisioned(alice)).toBe(false)
    // Somebody who signs in as Alice there after all, in the browser in which Bob was signed in.
    expectPage(await finish(await here.press(again), here, browserOf('alice')), 200)
    expect(await auth.isProvisioned(alice)).toBe(true)
  })

  it('a user signs in to the page of connections, which does the connection no harm, and ends it there', async () => {
    const info = await auth.verify(await tokenOf('alice'))
    await connect('alice', await auth.createConnectUrl(info))
    const here = createTestBrowser(server.origin)
    const there = browserOf('alice')
    const back = await finish(await here.press(await here.open('/nextcloud'), { do: 'sign-in' }), here, there)
    expect([back.status, back.headers['location']]).toEqual([303, `${server.origin}/nextcloud`])

    const page = await here.open('/nextcloud')

    expectPage(page, 200)
    expect(page.text).toContain('Disconnect all')
    await auth.rotate(info)
    expect((await here.press(page, { do: 'all' })).status).toBe(303)
    expect(await auth.isProvisioned(info)).toBe(false)
  })

  it('a disconnection revokes the grant there', async () => {
    const info = await auth.verify(await tokenOf('alice'))
    await connect('alice', await auth.createConnectUrl(info))
    const headers = { Authorization: `Bearer ${info.token}` }

    const answer = await fetch(`${server.origin}/nextcloud/disconnect`, { method: 'POST', headers })

    expect([answer.status, await answer.json()]).toEqual([200, { revoked: true }])
    expect(await auth.isProvisioned(info)).toBe(false)
  })
})
