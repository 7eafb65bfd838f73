import { expect, it } from 'vitest'
import { appPasswordWorld } from '../support/login-visits.js'
import { optionsOf } from '../support/providers/page.js'

/** The person that the page knows, at the provider and in Nextcloud. */
const [SUBJECT, LOGIN_NAME] = ['248289761001', 'jane']

it.each([
  { account: LOGIN_NAME, status: 200 },
  { account: 'somebody-else', status: 403 },
])('the options of docs/app-password.md connect the account of the person alone: $account', async (person) => {
  const modules = { 'better-sqlite3': { default: Object }, 'mcp-nextcloud-auth/sqlite': { SqliteStorage: Object } }
  const { resourceName, connect } = optionsOf('app-password.md', {}, modules)
  const { auth, connectAs } = await appPasswordWorld({ options: { resourceName, connect } })

  const { status } = await connectAs(person.account, undefined, SUBJECT)

  expect([status, await auth.isProvisioned({ subject: SUBJECT })]).toEqual([person.status, person.status === 200])
})
