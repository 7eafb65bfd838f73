import { expect, it } from 'vitest'
import { manualClock } from '../support/clock.js'
import { bareHost } from '../support/hosts.js'
import { startNextcloudOAuth2 } from '../support/nextcloud-oauth2.js'
import { optionsOf } from '../support/providers/page.js'
import { world } from '../support/world.js'

/** The person that the page knows, at the provider and in Nextcloud. */
const [SUBJECT, ACCOUNT] = ['248289761001', 'jane']

it.each([
  { account: ACCOUNT, status: 200 },
  { account: 'somebody-else', status: 403 },
])('the options of docs/nextcloud-oauth2-app.md connect the account of the person alone: $account', async (person) => {
  const clock = manualClock()
  const nextcloud = await startNextcloudOAuth2(clock.now)
  const modules = { 'better-sqlite3': { default: Object }, 'mcp-nextcloud-auth/sqlite': { SqliteStorage: Object } }
  const page = optionsOf('nextcloud-oauth2-app.md', { 'https://cloud.example.com': nextcloud.url }, modules)
  const { clientId, clientSecret } = nextcloud
  const options = { clientId, clientSecret, nextcloud: page.nextcloud, connect: page.connect }
  const { agree, auth, browser, link } = await world({ mode: 'refresh-token', host: bareHost, clock, options })
  const visit = browser()

  const going = await agree(visit, await link(SUBJECT))
  const { status } = await visit.open(await nextcloud.signIn(going, person.account))

  expect([status, await auth.isProvisioned({ subject: SUBJECT })]).toEqual([person.status, person.status === 200])
})
