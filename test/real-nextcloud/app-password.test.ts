import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { nextcloudPath, type McpAuthOptions } from '../../src/index.js'
import { waitingPage } from '../support/login-visits.js'
import { wordsOf } from '../support/html.js'
import { createVisitor } from '../support/nextcloud/visitor.js'
import { failureOf } from '../support/promises.js'
import { createTestBrowser } from '../support/test-browser.js'
import { startAuthorizationServer, type ScriptedAuthorizationServer } from '../support/scripted-authorization-server.js'
import { expectToActAs, statusOf } from './support/acts.js'
import { adjustableClock } from '../keycloak/support/middleware.js'
import { agentFrom } from './support/addresses.js'
import { keeping, startMcpServer, type McpServer } from './support/server.js'
import { enforceTwoFactor } from './support/two-factor.js'
import { closeTarget, openTarget, type Account, type Target } from './support/target.js'

const CLIENT = 'mcp-client'
const CONNECTED = /^200 .*Connected/
const USER = '/ocs/v2.php/cloud/user?format=json'

let target: Target
let as: ScriptedAuthorizationServer

beforeAll(async () => {
  target = await openTarget()
  as = await startAuthorizationServer()
  target.after(() => as.close())
})
afterAll(closeTarget)

interface Setup extends McpServer {
  readonly account: Account
  readonly who: { readonly issuer: string; readonly subject: string; readonly clientId: string }
  readonly advance: (ms: number) => void
  /** The whole way: the link, the page that waits, Nextcloud's own pages in another tab, and back. */
  readonly connect: (by?: Account) => Promise<string>
}

async function setUp(options: McpAuthOptions = {}): Promise<Setup> {
  const account = await target.createAccount()
  const { clock, advance } = adjustableClock()
  const who = { issuer: as.issuer, subject: account.uid, clientId: CLIENT }
  const server = await startMcpServer(
    () => ({
      ...keeping(),
      issuer: as.issuer,
      resourceName: 'MCP test',
      nextcloud: { url: target.url, mode: 'app-password' },
      connect: {
        identity: (given: object, { subject }: { readonly subject: string }) => Object.values(given).includes(subject),
        authenticateBrowser: () => Promise.resolve({ issuer: as.issuer, subject: account.uid }),
      },
      ...options,
    }),
    clock,
  )
  async function connect(by = account): Promise<string> {
    const browser = createTestBrowser(server.url)
    const consent = await browser.open(await server.auth.createConnectUrl(who))
    const waiting = waitingPage(await browser.press(consent, { answer: 'yes' }))
    const granted = await createVisitor({ name: by.uid, password: by.password }).open(waiting.login)
    expect(wordsOf(granted.html)).toContain('Account connected')
    const { status, text } = await browser.open(waiting.next)
    return `${status} ${wordsOf(text)}`
  }
  return { ...server, account, who, advance, connect }
}

describe('an app password, by docs/app-password.md', () => {
  it('comes of Login Flow v2, reaches OCS, WebDAV and Notes, and is deleted in Nextcloud by a disconnection', async () => {
    const { auth, who, account, connect } = await setUp()

    expect(await connect()).toMatch(CONNECTED)
    await expectToActAs(auth, who, account.uid)
    const { headers } = await auth.getNextcloudCredential(who)

    expect(await auth.revoke(who)).toEqual({ revoked: true })
    expect(await failureOf(statusOf(auth, who))).toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'revoked' })
    const answer = await fetch(target.url + USER, { headers: { ...headers, 'ocs-apirequest': 'true' } })
    expect(answer.status).toBe(401)
  })

  it('of another account is not kept, and is deleted in Nextcloud', async () => {
    const { auth, who, connect } = await setUp()
    const other = await target.createAccount()

    expect(await connect(other)).toMatch(/^403 /)

    expect(await auth.isProvisioned(who)).toBe(false)
    expect(await target.occ('user:auth-tokens:list', other.uid, '--output=json')).not.toContain('MCP test')
  })

  it('that its user has deleted is lost, and can be made anew', async () => {
    const { auth, who, account, connect, advance } = await setUp()
    expect(await connect()).toMatch(CONNECTED)
    expect(await statusOf(auth, who)).toBe(200)
    const list = JSON.parse(await target.occ('user:auth-tokens:list', account.uid, '--output=json')) as {
      id: number
      name: string
    }[]
    const { id } = list.find(({ name }) => name === 'MCP test')!

    await target.occ('user:auth-tokens:delete', account.uid, `${id}`)

    expect(await failureOf(statusOf(auth, who))).toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'revoked' })
    advance(60_000)
    expect(await connect()).toMatch(CONNECTED)
    expect(await statusOf(auth, who)).toBe(200)
  })

  it('of somebody disabled is refused, and is good again when enabled, without a new connection', async () => {
    const { auth, who, account, connect, advance } = await setUp()
    expect(await connect()).toMatch(CONNECTED)
    const refused = await target.during(['user:disable', account.uid], ['user:enable', account.uid], () =>
      failureOf(statusOf(auth, who)),
    )
    expect(refused).toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'revoked' })
    expect(await failureOf(statusOf(auth, who))).toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'revoked' })

    advance(10 * 60_000)

    await expectToActAs(auth, who, account.uid)
  })

  it.each([
    ['OCS', () => '/ocs/v2.php/cloud/user'],
    ['an app route', () => '/index.php/apps/notes/api/v1/notes'],
    ['WebDAV', (uid: string) => nextcloudPath`/remote.php/dav/files/${uid}/`],
  ])('that was deleted is dead by one answer of %s', async (_, path) => {
    const { auth, who, account, connect } = await setUp()
    expect(await connect()).toMatch(CONNECTED)
    const { headers } = await auth.getNextcloudCredential(who)
    const url = `${target.url}/ocs/v2.php/core/apppassword`
    expect(
      (
        await fetch(url, {
          method: 'DELETE',
          headers: { Authorization: headers.Authorization, 'OCS-APIRequest': 'true' },
        })
      ).status,
    ).toBe(200)
    const asked = target.standIn?.requests.length ?? 0

    expect(await failureOf(auth.nextcloudFetch(who, path(account.uid)))).toMatchObject({ reason: 'revoked' })

    if (target.standIn !== undefined) expect(target.standIn.requests).toHaveLength(asked + 1)
  })

  it('of somebody disabled who disconnects is deleted when enabled', async () => {
    const { auth, who, account, connect, advance } = await setUp()
    expect(await connect()).toMatch(CONNECTED)

    const outcome = await target.during(['user:disable', account.uid], ['user:enable', account.uid], () =>
      auth.revoke(who),
    )

    expect(outcome).toEqual({ revoked: 'pending' })
    const tokens = () => target.occ('user:auth-tokens:list', account.uid, '--output=json')
    expect(await tokens()).toContain('MCP test')
    advance(60_000)
    await auth.isProvisioned(who)
    await expect.poll(tokens, { timeout: 20_000 }).not.toContain('MCP test')
  })

  it('is asked for at nextcloud.publicUrl, where browsers reach Nextcloud', async () => {
    const publicUrl = 'https://cloud.example.com/nextcloud'
    const { auth, who, url } = await setUp({ nextcloud: { url: target.url, mode: 'app-password', publicUrl } })
    const browser = createTestBrowser(url)

    const waiting = waitingPage(
      await browser.press(await browser.open(await auth.createConnectUrl(who)), { answer: 'yes' }),
    )

    expect(waiting.login).toMatch(/^https:\/\/cloud\.example\.com\/nextcloud\/login\/v2\/flow\/\w+$/)
  })

  it('is good in spite of two-factor authentication', async () => {
    const { auth, who, account, connect } = await setUp()
    expect(await connect()).toMatch(CONNECTED)
    onTestFinished(await enforceTwoFactor(target, account))

    await expectToActAs(auth, who, account.uid)
  })
})

describe('a wrong sign-in from the same address', () => {
  it('too many times throttles good app passwords, which are not taken for dead', async () => {
    const address = '127.0.9.9'
    const { auth, who, connect } = await setUp({ http: { agent: agentFrom(address) } })
    expect(await connect()).toMatch(CONNECTED)
    onTestFinished(() => void target.occ('security:bruteforce:reset', address))
    for (let count = 0; count < 11; count += 1) expect(await wrongFrom(address)).toBe(401)

    expect(await statusOf(auth, who)).toBe(429)

    expect(await auth.isProvisioned(who)).toBe(true)
    await target.occ('security:bruteforce:reset', address)
    expect(await statusOf(auth, who)).toBe(200)
  })
})

async function wrongFrom(address: string): Promise<number> {
  const { default: fetchFrom } = await import('node-fetch')
  const authorization = `Basic ${Buffer.from('mcp-test-nobody:wrong').toString('base64')}`
  const headers = { authorization, 'ocs-apirequest': 'true' }
  return (await fetchFrom(target.url + USER, { headers, agent: agentFrom(address) })).status
}
