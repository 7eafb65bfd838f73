import { describe, expect, it, onTestFinished } from 'vitest'
import { nextcloudPath, type McpAuthInfo, type McpAuthOptions } from '../../src/index.js'
import { failureOf } from '../support/promises.js'
import { account, openBed, provider, target } from './support/bed.js'
import { expectToActAs, statusOf } from './support/acts.js'
import { RESOURCE } from './support/provider.js'
import { enforceTwoFactor } from './support/two-factor.js'
import { startMcpServer, type McpServer } from './support/server.js'
import { type Account } from './support/target.js'

openBed()

const NOTES = '/index.php/apps/notes/api/v1/notes'
const USER = '/ocs/v2.php/cloud/user?format=json'

async function start(more: McpAuthOptions['nextcloud'] = {}): Promise<McpServer> {
  const nextcloud = { ...provider.options.nextcloud, url: target.url, audience: 'nextcloud', ...more }
  return startMcpServer(() => ({ ...provider.options, resource: RESOURCE, nextcloud }))
}

async function signIn({ auth }: McpServer, by: Account = account): Promise<McpAuthInfo> {
  return auth.verify(await provider.mcpToken(by))
}

describe('a token that was exchanged', () => {
  it('reaches OCS, WebDAV and Notes as the account of the user', async () => {
    const server = await start()

    await expectToActAs(server.auth, await signIn(server), account.uid)
  })

  it('makes an account for somebody whom Nextcloud does not know, unless auto_provision is off', async () => {
    const server = await start()
    const unknown = { uid: `${account.uid}-new`, password: account.password }
    target.after(() => target.occ('user:delete', unknown.uid).catch(() => undefined))
    const who = await signIn(server, unknown)
    await target.occ('config:system:set', 'user_oidc', 'auto_provision', '--value=false', '--type=boolean')

    const refused = await statusOf(server.auth, who).finally(() =>
      target.occ('config:system:delete', 'user_oidc', 'auto_provision'),
    )

    expect(refused).toBe(401)
    expect(await statusOf(server.auth, who)).toBe(200)
    expect(await server.auth.nextcloudUser(who)).toMatchObject({ id: unknown.uid })
  })

  it('is refused where "check bearer" is off', async () => {
    const server = await start()
    const who = await signIn(server)
    await provider.trust('--check-bearer=0')
    onTestFinished(() => provider.trust('--check-bearer=1'))

    expect(await statusOf(server.auth, who)).toBe(401)
  })

  it('of somebody who must take a second step is refused at OCS and by apps, not sent to a page, and good for WebDAV', async () => {
    const server = await start()
    const other = await target.createAccount()
    const who = await signIn(server, other)
    expect(await statusOf(server.auth, who)).toBe(200)
    onTestFinished(await enforceTwoFactor(target, other))

    const refused = { code: 'ERR_NEXTCLOUD_REFUSED', reason: 'two-factor' }
    expect(await failureOf(statusOf(server.auth, who))).toMatchObject(refused)
    const write = { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } }
    expect(await failureOf(server.auth.nextcloudFetch(who, NOTES, write))).toMatchObject(refused)
    const path = nextcloudPath`/remote.php/dav/files/${other.uid}/${'a.txt'}`
    expect((await server.auth.nextcloudFetch(who, path, { method: 'PUT', body: 'a' })).status).toBe(201)
  })

  it('of somebody disabled is refused by OCS', async () => {
    const server = await start()
    const other = await target.createAccount()
    const who = await signIn(server, other)
    expect(await statusOf(server.auth, who)).toBe(200)

    const status = await target.during(['user:disable', other.uid], ['user:enable', other.uid], () =>
      statusOf(server.auth, who),
    )

    expect([status, await statusOf(server.auth, who)]).toEqual([401, 200])
  })

  it('of somebody deleted makes a new account, since user_oidc provisions', async () => {
    const server = await start()
    const other = await target.createAccount()
    const who = await signIn(server, other)
    expect(await statusOf(server.auth, who)).toBe(200)

    await target.occ('user:delete', other.uid)

    expect(await statusOf(server.auth, who)).toBe(200)
  })
})

describe('pass-through', () => {
  it('hands on a token that is for Nextcloud too, and refuses another before Nextcloud sees it', async () => {
    const server = await start({ mode: 'pass-through' })
    const both = await server.auth.verify(await provider.tokenForBoth(account))

    await expectToActAs(server.auth, both, account.uid)

    expect(await failureOf(server.auth.nextcloudFetch(await signIn(server), USER))).toMatchObject({
      code: 'ERR_AUDIENCE',
    })
  })
})
