import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { McpAuthError, McpAuthOptions } from '../../src/index.js'
import { wordsOf } from '../support/html.js'
import { createVisitor } from '../support/nextcloud/visitor.js'
import { failureOf } from '../support/promises.js'
import { optionsOf } from '../support/providers/page.js'
import { startAuthorizationServer, type ScriptedAuthorizationServer } from '../support/scripted-authorization-server.js'
import { expectToActAs, statusOf } from './support/acts.js'
import { createOAuth2Client, OAUTH2_CLIENT } from './support/clients.js'
import { keeping, startMcpServer, type McpServer } from './support/server.js'
import { closeTarget, openTarget, type Account, type Target } from './support/target.js'

const CLIENT = 'mcp-client'
/** Refused refresh tokens, after which it refuses all of this address for half an hour. */
const MORE_THAN_NEXTCLOUD_ALLOWS = 12
const CONNECTED = /^200 .*Connected/
/** Modules of the pages' snippets. Their store is not used. */
const STORAGE = { 'better-sqlite3': { default: Object }, 'mcp-nextcloud-auth/sqlite': { SqliteStorage: Object } }

let target: Target
let account: Account
/** The authorization server of MCP tokens, where that is not Nextcloud. */
let as: ScriptedAuthorizationServer

beforeAll(async () => {
  target = await openTarget()
  as = await startAuthorizationServer()
  target.after(() => as.close())
  account = await target.createAccount()
})
afterAll(closeTarget)

interface Device {
  readonly id: number
  readonly name: string
}

/** The sessions and app passwords of an account, as its user sees them in the security settings. */
const devicesOf = async ({ uid }: Account): Promise<readonly Device[]> =>
  JSON.parse(await target.occ('user:auth-tokens:list', uid, '--output=json')) as Device[]

/** Those of clients of the app oauth2. */
const sessionsOf = async (of: Account): Promise<readonly Device[]> =>
  (await devicesOf(of)).filter(({ name }) => name === OAUTH2_CLIENT)

/** Ends all sessions and app passwords, as the user does. */
async function endSessions(of: Account): Promise<void> {
  for (const { id } of await devicesOf(of)) await target.occ('user:auth-tokens:delete', of.uid, `${id}`)
}

/** Opens a connect link, signs in and agrees: the words of the last page. */
async function connect({ auth }: McpServer, issuer: string, by: Account = account): Promise<string> {
  const link = await auth.createConnectUrl({ issuer, subject: by.uid, clientId: CLIENT })
  const { status, html } = await createVisitor({ name: by.uid, password: by.password }).open(link)
  return `${status} ${wordsOf(html)}`
}

describe('the app oidc, by docs/nextcloud-oidc-app.md', () => {
  beforeAll(() => target.setSystem(['user_oidc', 'oidc_provider_bearer_validation'], 'true', 'boolean'))

  async function start(): Promise<McpServer & { who: { issuer: string; subject: string; clientId: string } }> {
    const server = await startMcpServer(async (origin) => {
      const redirect = `${origin}/nextcloud/callback`
      const made = JSON.parse(await target.occ('oidc:create', 'mcp-test', redirect, '--type=confidential')) as {
        readonly client_id: string
        readonly client_secret: string
      }
      onTestFinished(() => void target.occ('oidc:remove', made.client_id))
      const servers = { 'https://cloud.example.com': target.url, 'https://mcp.example.com': origin }
      const own = { ...keeping(), clientId: made.client_id, clientSecret: made.client_secret }
      return { ...optionsOf('nextcloud-oidc-app.md', servers, STORAGE), ...own } satisfies McpAuthOptions
    })
    return { ...server, who: { issuer: target.url, subject: account.uid, clientId: CLIENT } }
  }

  it('connects a user, who acts, and disconnects', async () => {
    const { who, ...server } = await start()

    expect(await connect(server, target.url)).toMatch(CONNECTED)
    await expectToActAs(server.auth, who, account.uid)

    expect(await server.auth.revoke(who)).toEqual({ revoked: 'unsupported' })
    expect(await failureOf(statusOf(server.auth, who))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
  })

  it('renews its tokens, and the one before is no longer good', async () => {
    const { who, ...server } = await start()
    expect(await connect(server, target.url)).toMatch(CONNECTED)
    const before = await server.auth.getNextcloudToken(who)

    await server.auth.rotate(who)

    const after = await server.auth.getNextcloudToken(who)
    expect(after).not.toBe(before)
    expect(await statusOf(server.auth, who)).toBe(200)
    const old = await fetch(`${target.url}/ocs/v2.php/cloud/user?format=json`, {
      headers: { authorization: `Bearer ${before}` },
    })
    expect(old.status).toBe(401)
  })

  it('renews for somebody who is disabled, whose tokens are refused', async () => {
    const { who, ...server } = await start()
    expect(await connect(server, target.url)).toMatch(CONNECTED)

    const status = await target.during(['user:disable', account.uid], ['user:enable', account.uid], () =>
      statusOf(server.auth, who),
    )

    expect([status, await statusOf(server.auth, who)]).toEqual([401, 200])
  })
})

describe('the core app oauth2, by docs/nextcloud-oauth2-app.md', () => {
  async function start(): Promise<McpServer & { who: { issuer: string; subject: string; clientId: string } }> {
    const server = await startMcpServer(async (origin) => {
      const client = await createOAuth2Client(target, `${origin}/nextcloud/callback`)
      const cloud = { 'https://cloud.example.com': target.url }
      const servers = { ...cloud, 'https://mcp.example.com': origin, 'https://idp.example.com': as.issuer }
      const own = { ...keeping(), ...client, connect: { identity: isAccountOf } }
      return { ...optionsOf('nextcloud-oauth2-app.md', servers, STORAGE), ...own }
    })
    return { ...server, who: { issuer: as.issuer, subject: account.uid, clientId: CLIENT } }
  }

  /** The status by which Nextcloud takes an access token, or does not. */
  async function statusWith(token: string): Promise<number> {
    const headers = { authorization: `Bearer ${token}`, 'ocs-apirequest': 'true' }
    return (await fetch(`${target.url}/ocs/v2.php/cloud/user?format=json`, { headers })).status
  }

  it('connects a user, who acts, and disconnects: the tokens and their session are dead in Nextcloud', async () => {
    const { who, ...server } = await start()
    const before = await sessionsOf(account)

    expect(await connect(server, as.issuer)).toMatch(CONNECTED)
    await expectToActAs(server.auth, who, account.uid)
    const token = await server.auth.getNextcloudToken(who)
    expect([await statusWith(token), (await sessionsOf(account)).length]).toEqual([200, before.length + 1])

    expect(await server.auth.revoke(who)).toEqual({ revoked: true })
    expect([await statusWith(token), await sessionsOf(account)]).toEqual([401, before])
    expect(await failureOf(statusOf(server.auth, who))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
  })

  it('ends the tokens before when a user connects again, and those of nobody else', async () => {
    const { who, ...server } = await start()
    const before = await sessionsOf(account)
    expect(await connect(server, as.issuer)).toMatch(CONNECTED)
    const old = await server.auth.getNextcloudToken(who)

    expect(await connect(server, as.issuer)).toMatch(CONNECTED)
    await vi.waitFor(async () => expect(await statusWith(old)).toBe(401), { timeout: 20_000, interval: 200 })

    expect(await statusOf(server.auth, who)).toBe(200)
    expect(await sessionsOf(account)).toHaveLength(before.length + 1)
    await server.auth.revoke(who)
  })

  it('ends the tokens of somebody who is disabled once they are enabled again', async () => {
    const { who, ...server } = await start()
    const before = await sessionsOf(account)
    expect(await connect(server, as.issuer)).toMatch(CONNECTED)

    const revoked = await target.during(['user:disable', account.uid], ['user:enable', account.uid], () =>
      server.auth.revoke(who),
    )
    expect([revoked, (await sessionsOf(account)).length]).toEqual([{ revoked: 'pending' }, before.length + 1])
    await connect(server, as.issuer)
    await server.auth.revoke(who)

    // The first one is tried again a minute later, which nobody waits for here.
    expect(await sessionsOf(account)).toHaveLength(before.length + 1)
    await endSessions(account)
  })

  it('connects nobody as somebody else', async () => {
    const { who, ...server } = await start()
    const other = await target.createAccount()
    const link = await server.auth.createConnectUrl(who)

    const { status } = await createVisitor({ name: other.uid, password: other.password }).open(link)

    expect([status, await server.auth.isProvisioned(who)]).toEqual([403, false])
  })

  it('renews its tokens', async () => {
    const { who, ...server } = await start()
    expect(await connect(server, as.issuer)).toMatch(CONNECTED)
    const before = await server.auth.getNextcloudToken(who)

    await server.auth.rotate(who)

    expect(await server.auth.getNextcloudToken(who)).not.toBe(before)
    expect(await statusOf(server.auth, who)).toBe(200)
  })

  it('asks its user to connect again where the session was ended in Nextcloud', async () => {
    const { who, ...server } = await start()
    expect(await connect(server, as.issuer)).toMatch(CONNECTED)
    expect(await statusOf(server.auth, who)).toBe(200)

    await endSessions(account)

    expect(await failureOf(statusOf(server.auth, who))).toMatchObject({
      code: 'ERR_NOT_PROVISIONED',
      reason: 'revoked',
    })
    expect(await connect(server, as.issuer)).toMatch(CONNECTED)
    expect(await statusOf(server.auth, who)).toBe(200)
  })

  it('keeps working for others when somebody ends their session again and again', async () => {
    const { who, ...server } = await start()
    const outcomes: unknown[] = []
    for (let round = 0; round < MORE_THAN_NEXTCLOUD_ALLOWS; round += 1) {
      expect(await connect(server, as.issuer)).toMatch(CONNECTED)
      await endSessions(account)
      outcomes.push(((await failureOf(statusOf(server.auth, who))) as McpAuthError).status)
    }
    const other = await target.createAccount()

    expect(outcomes.slice(0, 2)).toEqual([403, 403])
    expect(outcomes.slice(3)).toEqual(outcomes.slice(3).map(() => 503))
    expect(await connect(server, as.issuer, other)).toMatch(CONNECTED)
    expect(await statusOf(server.auth, { ...who, subject: other.uid })).toBe(200)
    await server.auth.rotate({ ...who, subject: other.uid })
    expect(await statusOf(server.auth, { ...who, subject: other.uid })).toBe(200)
  })
})

/** Whether an account of Nextcloud is the one that a link is for. */
function isAccountOf(account: object, { subject }: { readonly subject: string }): boolean {
  return Object.values(account).includes(subject)
}
