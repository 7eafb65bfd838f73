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

/** A person at a browser, who is one session at the provider and another here. */
function personAt(name: string) {
  const here = createTestBrowser(server.origin)
  const there = browserOf(name)
  return { here, there, finish: (page: Visit) => finish(page, here, there) }
}

async function finish(page: Visit, here: TestBrowser, there: ReturnType<typeof browserOf>): Promise<Visit> {
  if (page.refreshTo === undefined) throw new Error(`The browser was not sent on: ${page.status}`)
  return here.open(await there.open(page.refreshTo, `${server.origin}/nextcloud/callback`))
}

async function connect(name: string, link: string): Promise<Visit> {
  const { here, finish: onward } = personAt(name)
  return onward(await here.press(await here.open(link), { answer: 'yes' }))
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

  it("Alice's link that Bob finishes connects nobody, and Bob may pick Alice's account if he is her", async () => {
    const alice = await auth.verify(await tokenOf('alice'))
    const bob = await auth.verify(await tokenOf('bob'))
    const person = personAt('bob')
    const link = await auth.createConnectUrl(alice)
    const refusal = await person.finish(await person.here.press(await person.here.open(link), { answer: 'yes' }))

    expectPage(refusal, 403)
    expect([await auth.isProvisioned(alice), await auth.isProvisioned(bob)]).toEqual([false, false])

    // Somebody who signs in as Alice there after all, in the browser in which Bob was signed in.
    const going = await person.here.press(refusal)
    expect(going.refreshTo?.searchParams.get('prompt')).toContain('select_account')
    expectPage(await finish(going, person.here, browserOf('alice')), 200)
    expect([await auth.isProvisioned(alice), await auth.isProvisioned(bob)]).toEqual([true, false])
  })

  it('somebody who is signed in as Bob is asked for the account at the second attempt', async () => {
    const alice = await auth.verify(await tokenOf('alice'))
    const pressed: string[] = []
    const there = browserOf('bob', ([, value]) => pressed.push(value))
    const here = createTestBrowser(server.origin)
    const link = await auth.createConnectUrl(alice)
    const refusal = await finish(await here.press(await here.open(link), { answer: 'yes' }), here, there)
    pressed.length = 0

    expectPage(await finish(await here.press(refusal), here, there), 403)

    expect(pressed).toEqual(['bob', 'allow'])
  })

  it('a replayed callback is a 400, and the connection stays good', async () => {
    const info = await auth.verify(await tokenOf('alice'))
    const { here, there } = personAt('alice')
    const going = await here.press(await here.open(await auth.createConnectUrl(info)), { answer: 'yes' })
    const callback = await there.open(going.refreshTo as URL, `${server.origin}/nextcloud/callback`)
    const cookies = new Map(here.cookies)
    expectPage(await here.open(callback), 200)
    for (const [name, value] of cookies) here.cookies.set(name, value)

    expectPage(await here.open(callback), 400)

    // oidc-provider revokes the grant when a code comes twice.
    await auth.rotate(info)
    expect(await auth.isProvisioned(info)).toBe(true)
  })

  it('a code of another flow is refused there, and nothing is stored', async () => {
    const alice = await auth.verify(await tokenOf('alice'))
    const mallory = personAt('bob')
    const malloryLink = await auth.createConnectUrl(await auth.verify(await tokenOf('bob')))
    const going = await mallory.here.press(await mallory.here.open(malloryLink), { answer: 'yes' })
    const stolen = await mallory.there.open(going.refreshTo as URL, `${server.origin}/nextcloud/callback`)
    const { here, there } = personAt('alice')
    const own = await here.press(await here.open(await auth.createConnectUrl(alice)), { answer: 'yes' })
    const callback = await there.open(own.refreshTo as URL, `${server.origin}/nextcloud/callback`)
    callback.searchParams.set('code', stolen.searchParams.get('code') ?? '')

    const page = await here.open(callback)

    expectPage(page, 502)
    expect(events).toContainEqual(expect.objectContaining({ reason: 'refused', error: 'invalid_grant' }))
    expect(await auth.isProvisioned(alice)).toBe(false)
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
