import { mcpAuth, MemoryStorage } from 'mcp-nextcloud-auth'
import { browserOf } from '../demo/client.js'
import { startIdentityProvider } from '../demo/identity-provider.js'
import { listenOnLoopback } from '../demo/loopback.js'
import { startNextcloud } from '../demo/nextcloud.js'
import { createTimeline } from '../demo/timeline.js'
import { runNightlySync, type NightlySyncReport, type User } from './nightly-sync.js'

const timeline = createTimeline(process.stdout)
const people = ['alice', 'bob', 'carol', 'dave', 'erin']
const identityProvider = await startIdentityProvider({ people })
const { issuer, client, nextcloudResource } = identityProvider
const nextcloud = await startNextcloud({ issuer })
const server = await listenOnLoopback()
const auth = mcpAuth({
  issuer,
  ...client,
  resource: `${server.origin}/mcp`,
  scopesSupported: ['notes:read'],
  nextcloud: { url: nextcloud.url, mode: 'refresh-token', resource: nextcloudResource },
  // A real job opens the store that the app writes: SqliteStorage, PostgresStorage, MySqlStorage or RedisStorage, with the same key.
  storage: new MemoryStorage(),
})
const routes = auth.routes()
server.serve((req, res) => routes(req, res, () => res.writeHead(404).end()))
identityProvider.registerConnectCallback(auth.connectRedirectUri ?? '')

try {
  timeline.heading('By day: people connect Nextcloud, and the app lists them in its own table')
  for (const subject of people.filter((person) => person !== 'dave')) {
    const link = await auth.createConnectUrl({ issuer, subject, clientId: 'notes-app' })
    const page = await browserOf(subject).visit(new URL(link))
    timeline.step(subject, page.includes('<h1>Connected') ? 'has connected' : 'has not connected')
  }
  const longAgo = Date.now() - 30 * 86_400_000
  const table = new Map<string, User>(
    people.map((subject) => [
      subject,
      { issuer, subject, wantsSync: subject !== 'erin', lastUsed: subject === 'erin' ? longAgo : Date.now() },
    ]),
  )
  await auth.revoke({ issuer, subject: 'carol' })
  timeline.step('carol', 'has disconnected')
  timeline.step('dave', 'never connected')
  timeline.step('erin', 'wants no sync, and has used nothing for 30 days')

  timeline.heading('The first night')
  const titles = new Map<string, number>()
  const first = await sync(table, titles)
  timeline.check(
    'those who are connected are synced, each with their own notes',
    isSame(first.synced, ['alice', 'bob']),
  )
  timeline.check('two notes came in for each', [...titles.values()].join() === '2,2')
  timeline.check('who is not connected is noted and skipped', isSame(first.notConnected, ['carol', 'dave']))
  timeline.check('a grant that lay unused for long was renewed', isSame(first.rotated, ['erin']))
  timeline.check('nothing failed', first.failed.length === 0 && first.tryAgainIn === undefined)

  timeline.heading('The second night: Nextcloud is down')
  await nextcloud.close()
  const second = await sync(table, titles)
  timeline.check(
    'the job stops, tells when to try again, and blames no user',
    second.tryAgainIn !== undefined && second.synced.length === 0 && second.failed.length === 0,
  )
} catch (error) {
  timeline.check(`no step fails, but one did: ${error instanceof Error ? error.message : String(error)}`, false)
}
const allKept = timeline.summary()
await auth.close()
await Promise.all([server.close(), nextcloud.close(), identityProvider.close()])
process.exitCode = allKept ? 0 : 1

async function sync(table: ReadonlyMap<string, User>, titles: Map<string, number>): Promise<NightlySyncReport> {
  const report = await runNightlySync({
    auth,
    users: [...table.values()],
    path: '/index.php/apps/notes/api/v1/notes',
    async store({ subject }, answer) {
      const notes = (await answer.json()) as readonly { readonly content: string }[]
      titles.set(subject, notes.filter(({ content }) => content.includes(subject)).length)
    },
  })
  for (const [what, who] of Object.entries(report)) {
    if (Array.isArray(who) && who.length > 0) timeline.step(what, who.join(', '))
  }
  if (report.tryAgainIn !== undefined) timeline.step('stopped', `try again in ${report.tryAgainIn} s`)
  return report
}

function isSame(some: readonly string[], expected: readonly string[]): boolean {
  return some.toSorted().join() === expected.join()
}
