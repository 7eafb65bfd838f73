import { expect, it } from 'vitest'
import { manualClock } from '../support/clock.js'
import { wordsOf } from '../support/html.js'
import type { NextcloudStandIn } from '../support/nextcloud/stand-in.js'
import { press } from '../support/press-button.js'
import { REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const AUTHORIZE = '/apps/oauth2/authorize'

async function setUp() {
  const clock = manualClock()
  const server = await startSignInServer({ clock })
  const client = await registeredClient(server)
  const { oauth2Clients } = server.nextcloud.state
  const deleted = [...oauth2Clients]
  return {
    ...server,
    clock,
    client,
    questionOf: (person: ReturnType<typeof server.person>) =>
      person.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`),
    deleteClient: () => void oauth2Clients.splice(0),
    addClient: () => void oauth2Clients.push(...deleted),
  }
}

function expectToldWhatToDo(page: { readonly status: number; readonly html: string }, origin: string): void {
  expect(page.status).toBe(500)
  const words = wordsOf(page.html)
  expect(words).toContain('Nextcloud does not know this server')
  expect(words).toContain(`${origin}/nextcloud/callback`)
  expect(page.html).not.toContain('<form')
}

it('asks nobody about an app where Nextcloud has no client for this server, and says what to do', async () => {
  const { person, questionOf, deleteClient, addClient, origin, events, clock } = await setUp()
  const alice = person('alice')
  const question = await questionOf(alice)
  deleteClient()

  const answer = await fetch(question, { headers: { cookie: alice.cookies(question) } })
  expectToldWhatToDo({ status: answer.status, html: await answer.text() }, origin)

  const failure = events.find(({ type }) => type === 'request.failed')
  expect(failure).toMatchObject({
    code: 'ERR_CONFIGURATION',
    status: 500,
    message: expect.stringContaining('clientId') as string,
  })
  addClient()
  clock.advance(5_000)
  expect((await alice.until(question, REDIRECT_URI)).searchParams.has('code')).toBe(true)
})

it('asks nobody who has signed in before: their connection has ended with the client', async () => {
  const { person, client, questionOf, deleteClient, origin, clock } = await setUp()
  const alice = person('alice')
  await client.signIn(alice)
  deleteClient()
  clock.advance(60_000)

  expectToldWhatToDo(await alice.open(await questionOf(alice)), origin)
})

it.each(['yes', 'no'])('takes a %s that was asked for before the client was deleted', async (answer) => {
  const { person, questionOf, deleteClient, origin, clock } = await setUp()
  const alice = person('alice')
  const question = await questionOf(alice)
  const html = await (await fetch(question, { headers: { cookie: alice.cookies(question) } })).text()
  const token = /name="token" value="([^"]+)"/.exec(html)?.[1] ?? ''
  deleteClient()
  clock.advance(60_000)

  const page = await alice.submit(question, { token, answer }).catch(() => 'on to the app')

  if (answer === 'no') expect(page).toBe('on to the app')
  else expectToldWhatToDo(page as Exclude<typeof page, string>, origin)
})

it('leads nobody to Nextcloud for the page of connections', async () => {
  const { person, deleteClient, origin } = await setUp()
  deleteClient()

  const alice = person('alice')
  const page = await press(alice, await alice.open(`${origin}/nextcloud`), 'Sign in')

  expectToldWhatToDo(page, origin)
})

it.each<[string, (nextcloud: NextcloudStandIn) => void]>([
  ['is unavailable', ({ disturb }) => disturb(({ path }) => (path.endsWith(AUTHORIZE) ? 502 : undefined))],
  [
    'has an upgrade to do, which is a page too',
    ({ state }) => {
      state.oauth2Clients.splice(0)
      state.settings.upgradeDue = true
    },
  ],
  [
    'is behind a portal that answers everything with a page',
    ({ disturb }) => disturb(() => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' })),
  ],
])('asks the person where Nextcloud %s', async (_, disturb) => {
  const { person, questionOf, nextcloud } = await setUp()
  const alice = person('alice')
  const question = await questionOf(alice)
  disturb(nextcloud)

  const answer = await fetch(question, { headers: { cookie: alice.cookies(question) } })

  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('name="token"')])
})

it('asks Nextcloud once a minute, however many questions there are', async () => {
  const { person, questionOf, nextcloud, clock } = await setUp()
  let asked = 0
  nextcloud.disturb(({ path }) => ((asked += path.endsWith(AUTHORIZE) ? 1 : 0), undefined))
  const alice = person('alice')
  const question = await questionOf(alice)
  const show = () => fetch(question, { headers: { cookie: alice.cookies(question) } })

  await Promise.all([show(), show(), show()])
  await show()
  expect(asked).toBe(1)
  clock.advance(60_000)
  await show()
  expect(asked).toBe(2)
})
