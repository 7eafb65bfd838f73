import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { IdentityRule, McpAuthInfo, McpAuthOptions } from '../../src/index.js'
import { wordsOf } from '../support/html.js'
import { waitingPage } from '../support/login-visits.js'
import { createVisitor } from '../support/nextcloud/visitor.js'
import { failureOf } from '../support/promises.js'
import { createTestBrowser } from '../support/test-browser.js'
import { expectToActAs, statusOf } from './support/acts.js'
import { createAppPassword, grantWithAppPassword } from './support/app-token.js'
import { openBed, provider, target } from './support/bed.js'
import { createOAuth2Client } from './support/clients.js'
import { keeping, startMcpServer, type McpServer } from './support/server.js'
import type { Account } from './support/target.js'

const USER = '/ocs/v2.php/cloud/user?format=json'

openBed()

/** Somebody at the provider, and their account in Nextcloud. */
interface Person {
  readonly account: Account
  /** The user id in Nextcloud. */
  readonly uid: string
  /** The name of the app password that comes of it. */
  readonly appPassword: string
  /** Agrees at the page of a login flow. */
  readonly grant: (login: string) => Promise<string>
}

/** Somebody with an account of before, who signs in to Nextcloud with its password. */
async function withAccount(): Promise<Person> {
  const account = await target.createAccount()
  const { uid, password } = account
  return {
    account,
    uid,
    appPassword: 'MCP identity',
    grant: async (login) => wordsOf((await createVisitor({ name: uid, password }).open(login)).html),
  }
}

/** Somebody whom `user_oidc` makes an account for with their first bearer request. It has no password. */
async function madeByUserOidc(): Promise<Person> {
  // Without an account of that name in Nextcloud: user_oidc would take that one.
  const account = { uid: `mcp-test-${randomBytes(4).toString('hex')}`, password: randomBytes(18).toString('base64url') }
  const headers = { authorization: `Bearer ${await provider.tokenForBoth(account)}`, 'ocs-apirequest': 'true' }
  const answer = (await (await fetch(target.url + USER, { headers })).json()) as { ocs: { data: { id: string } } }
  const uid = answer.ocs.data.id
  expect(uid).not.toBe(account.uid)
  target.after(() => target.occ('user:delete', uid))
  return {
    account,
    uid,
    // The very one that is typed at the page.
    appPassword: 'cli',
    grant: async (login) => grantWithAppPassword(login, uid, await createAppPassword(target, uid)),
  }
}

async function providerId(): Promise<number> {
  const { id } = JSON.parse(await target.occ('user_oidc:provider', 'mcp-test', '--output=json')) as { id: number }
  return id
}

/** The options of `occ user_oidc:provider` that make the accounts, the people, and the rule. */
const WAYS: readonly {
  readonly way: string
  readonly trust: readonly string[]
  readonly person: () => Promise<Person>
  readonly identity: () => Promise<IdentityRule> | IdentityRule
}[] = [
  {
    way: 'people of before, and a claim',
    trust: ['--mapping-uid=preferred_username', '--unique-uid=0'],
    person: withAccount,
    identity: () => ({ claim: 'preferred_username' }),
  },
  {
    way: 'people of before, and a function',
    trust: ['--mapping-uid=preferred_username', '--unique-uid=0'],
    person: withAccount,
    identity:
      () =>
      ({ userId }, { claims }) =>
        userId === claims['preferred_username'],
  },
  {
    way: 'people whom user_oidc makes by its default, and its hash',
    trust: ['--mapping-uid=sub', '--unique-uid=1'],
    person: madeByUserOidc,
    identity: async () => ({ userOidc: { providerId: await providerId() } }),
  },
  {
    way: 'people whom user_oidc makes of a claim, and its hash',
    trust: ['--mapping-uid=preferred_username', '--unique-uid=1'],
    person: madeByUserOidc,
    identity: async () => ({ userOidc: { providerId: await providerId(), claim: 'preferred_username' } }),
  },
  {
    way: 'people whom user_oidc names by their subject, and the subject',
    trust: ['--mapping-uid=sub', '--unique-uid=0'],
    person: madeByUserOidc,
    identity: () => 'sub',
  },
]

async function start(more: (origin: string) => Promise<McpAuthOptions> | McpAuthOptions): Promise<McpServer> {
  return startMcpServer(async (origin) => ({
    ...keeping(),
    issuer: provider.issuer,
    audience: [provider.resource],
    ...(await more(origin)),
  }))
}

const told = ({ events }: McpServer) => events.filter(({ type }) => type === 'connect.failed')
const tokensOf = (uid: string) => target.occ('user:auth-tokens:list', uid, '--output=json')

describe.each(WAYS)('app-password mode with $way', ({ trust, person, identity }) => {
  /** Mallory, signed in as herself, and the login flow that she begins in her browser. */
  async function setUp() {
    await provider.trust(...trust)
    const [alice, mallory] = [await person(), await person()]
    const signedIn: { now?: McpAuthInfo } = {}
    const rule = await identity()
    const server = await start(() => ({
      resourceName: 'MCP identity',
      nextcloud: { url: target.url, mode: 'app-password' },
      connect: {
        identity: rule,
        authenticateBrowser: () => Promise.resolve(signedIn.now),
      },
    }))
    const { auth, url } = server
    const who = (signedIn.now = await auth.verify(await provider.mcpToken(mallory.account)))
    return {
      ...server,
      alice,
      mallory,
      who,
      connect: async (by: Person): Promise<string> => {
        const browser = createTestBrowser(url)
        const consent = await browser.open(await auth.createConnectUrl(who))
        const waiting = waitingPage(await browser.press(consent, { answer: 'yes' }))
        expect(await by.grant(waiting.login)).toContain('Account connected')
        const { status, text } = await browser.open(waiting.next)
        return `${status} ${wordsOf(text)}`
      },
    }
  }

  it('gives Mallory nothing when Alice agrees behind her link, and Alice’s app password is gone', async () => {
    const { connect, alice, mallory, who, ...server } = await setUp()
    expect(await connect(alice)).toMatch(/^403 That is another account/)

    expect(await failureOf(statusOf(server.auth, who))).toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'never' })
    expect(await tokensOf(alice.uid)).not.toContain(`"${alice.appPassword}"`)
    expect(told(server)).toEqual([
      expect.objectContaining({ reason: 'person', subject: who.subject, userId: alice.uid }),
    ])

    expect(await connect(mallory)).toMatch(/^200 .*Connected/)
    expect(await server.auth.nextcloudUser(who)).toMatchObject({ id: mallory.uid })
    expect(await server.auth.revoke(who)).toEqual({ revoked: true })
  })
})

describe('the core app oauth2', () => {
  it.each<[string, IdentityRule]>([
    ['a claim', { claim: 'preferred_username' }],
    ['a function', ({ userId }, { claims }) => userId === claims['preferred_username']],
  ])(
    'gives Mallory nothing for Alice’s code, ends Alice’s tokens, and connects her own account, by %s',
    async (_by, identity) => {
      await provider.trust('--mapping-uid=preferred_username', '--unique-uid=0')
      const [alice, mallory] = [await target.createAccount(), await target.createAccount()]
      const server = await start(async (origin) => ({
        ...(await createOAuth2Client(target, `${origin}/nextcloud/callback`)),
        nextcloud: { url: target.url, preset: 'nextcloud-oauth2-app' },
        connect: { identity },
      }))
      const { auth, url } = server
      const infoOf = async (account: Account) => auth.verify(await provider.mcpToken(account))
      const begin = async (account: Account) => {
        const browser = createTestBrowser(url)
        const consent = await browser.open(await auth.createConnectUrl(await infoOf(account)))
        const { refreshTo } = await browser.press(consent, { answer: 'yes' })
        const visitor = (by: Account) => createVisitor({ name: by.uid, password: by.password })
        return {
          browser,
          state: refreshTo?.searchParams.get('state') ?? '',
          codeOf: async (by: Account) => {
            const callback = await visitor(by).until(refreshTo ?? '', `${url}/nextcloud/callback`)
            return callback.searchParams.get('code') ?? ''
          },
        }
      }
      const theirs = await begin(alice)
      const hers = await begin(mallory)
      const callback = (code: string, state: string) =>
        `/nextcloud/callback?${new URLSearchParams({ code, state }).toString()}`
      const sessions = async () => (await tokensOf(alice.uid)).match(/mcp-test"/g)?.length ?? 0

      const leaked = await theirs.codeOf(alice)
      const page = await hers.browser.open(callback(leaked, hers.state))

      expect([page.status, wordsOf(page.text)]).toEqual([403, expect.stringContaining('That is another account')])
      for (const account of [alice, mallory])
        expect(await failureOf(statusOf(auth, await infoOf(account)))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
      expect(await sessions()).toBe(0)
      expect(told(server)).toEqual([expect.objectContaining({ reason: 'person', userId: alice.uid })])

      const own = await begin(mallory)
      const done = await own.browser.open(callback(await own.codeOf(mallory), own.state))
      expect([done.status, wordsOf(done.text)]).toEqual([200, expect.stringContaining('Connected')])
      await expectToActAs(auth, await infoOf(mallory), mallory.uid)
    },
  )
})
