import { describe, expect, it } from 'vitest'
import type { HttpOptions, McpAuthInfo } from '../../src/index.js'
import { leaveOut } from '../support/left-out.js'
import { startStandIn } from '../support/nextcloud/stand-in.js'
import { addAccount } from '../support/nextcloud/state.js'
import { account, openBed, provider, target } from './support/bed.js'
import { agentTo } from './support/addresses.js'
import { expectToActAs, statusOf } from './support/acts.js'
import { RESOURCE } from './support/provider.js'
import { startMcpServer, type McpServer } from './support/server.js'

const NOTES = '/index.php/apps/notes/api/v1/notes'

openBed()

async function call(url = target.url, http: HttpOptions = {}): Promise<McpServer & { readonly who: McpAuthInfo }> {
  const server = await startMcpServer(() => ({ ...provider.options, resource: RESOURCE, http, nextcloud: { url } }))
  return { ...server, who: await server.auth.verify(await provider.mcpToken(account)) }
}

describe('in maintenance mode', () => {
  it('each room says so in its own way, as the answer', async () => {
    const { auth, who } = await call()
    await statusOf(auth, who)

    const answers = await target.during(['maintenance:mode', '--on'], ['maintenance:mode', '--off'], async () => {
      const user = await auth.nextcloudFetch(who, '/ocs/v2.php/cloud/user?format=json')
      const files = await auth.nextcloudFetch(who, `/remote.php/dav/files/${account.uid}/`, { method: 'PROPFIND' })
      const notes = await auth.nextcloudFetch(who, NOTES)
      return [user, files, notes].map(({ status, headers }) => [
        status,
        headers.get('x-nextcloud-maintenance-mode'),
        headers.get('retry-after'),
      ])
    })

    expect(answers).toEqual([
      [503, '1', null],
      [503, null, null],
      [503, '1', '120'],
    ])
    expect(await statusOf(auth, who)).toBe(200)
  })
})

describe('by a name that is not among its trusted domains', () => {
  it('Nextcloud answers 400', async () => {
    const { auth, who } = await call(target.url.replace(/127\.0\.0\.1|localhost/, 'untrusted.localhost'), {
      agent: agentTo('127.0.0.1'),
    })

    expect(await target.namedByRequests(() => statusOf(auth, who))).toBe(400)
  })
})

describe('in a folder', () => {
  it('Nextcloud is reached there, and links to itself there', async () => {
    if (target.isReal && new URL(target.url).pathname === '/') {
      leaveOut('a Nextcloud in a folder', 'NEXTCLOUD_URL has no path; the stand-in has one instead')
    }
    const folder = await startStandIn({
      folder: '/cloud',
      provider: { issuer: provider.issuer, clientId: 'nextcloud', uid: 'preferred_username' },
    })
    try {
      addAccount(folder.state, account.uid)
      const { auth, who } = await call(folder.url)
      await expectToActAs(auth, who, account.uid)
      expect(new Set(folder.requests.map(({ target: path }) => path.split('/')[1]))).toEqual(new Set(['cloud']))
    } finally {
      await folder.close()
    }
  })
})
