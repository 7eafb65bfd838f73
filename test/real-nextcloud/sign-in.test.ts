import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { calendarStandIn, searchStandIn } from '../serve/support/caldav.js'
import { wordsOf } from '../support/html.js'
import { createVisitor } from '../support/nextcloud/visitor.js'
import { press } from '../support/press-button.js'
import { registeredClient, type TokenAnswer } from '../support/sign-in-client.js'
import { openApp, serveBeside, type Served } from './support/serve.js'
import { closeTarget, openTarget, type Account, type Target } from './support/target.js'

let target: Target
let account: Account

beforeAll(async () => {
  target = await openTarget()
  account = await openAccount()
})
afterAll(closeTarget)

/** An account, with what the stand-in lacks. */
async function openAccount(): Promise<Account> {
  const made = await target.createAccount()
  const calendars = calendarStandIn(made.uid)
  const search = searchStandIn(made.uid, ['Docs/From a tool.md'])
  target.standIn?.disturb((asked) => calendars.answer(asked) ?? search(asked))
  return made
}

interface AuthToken {
  readonly id: number
  readonly name: string
}

/** The sign-ins that Nextcloud lists under the name of the server's client. */
async function sessionsOf({ uid }: Account, { name }: Served): Promise<readonly AuthToken[]> {
  const all = JSON.parse(await target.occ('user:auth-tokens:list', uid, '--output=json')) as readonly AuthToken[]
  return all.filter((token) => token.name === name)
}

/** Signs somebody in by hand, so that the tokens can be seen. */
async function tokensOf({ origin }: Served, { uid, password }: Account) {
  const client = await registeredClient({ origin, url: `${origin}/mcp` })
  const answer = await client.signIn(createVisitor({ name: uid, password }))
  expect(answer.status).toBe(200)
  return { client, answer }
}

const refreshTokenOf = ({ body }: TokenAnswer) => String(body['refresh_token'])

/** Calls a tool with an access token, as a client does that has not heard of anything: the text. */
async function callWith({ origin }: Served, { body }: TokenAnswer, name: string): Promise<string> {
  const response = await fetch(`${origin}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${String(body['access_token'])}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {} } }),
  })
  return `${response.status} ${await response.text()}`
}

const LOST = /"isError":true/

describe('one Nextcloud alone', () => {
  it('a client signs its user in, works, refreshes without them, and one sign-in is one session in Nextcloud', async () => {
    const server = await serveBeside(target)
    const app = openApp(server, account)

    expect(await app.call('create_note', { title: 'Milk', content: 'two litres' })).toMatch(/^Wrote note \d+, Milk/)
    expect(await app.call('list_notes')).toContain('Milk')
    await app.letExpire()
    expect(await app.call('list_notes')).toContain('Milk')

    expect([app.signIns(), (await sessionsOf(account, server)).length]).toEqual([1, 1])
  })

  it('a second client of the same browser asks for consent alone', async () => {
    const server = await serveBeside(target)
    const browser = createVisitor({ name: account.uid, password: account.password })
    const [one, other] = [openApp(server, account, browser), openApp(server, account, browser)]
    await one.call('list_notes')
    const before = await sessionsOf(account, server)

    expect(await other.call('list_files')).toContain('.')

    expect(await sessionsOf(account, server)).toEqual(before)
  })

  it('a client that is disconnected gets nothing more, and one sign-in mends it', async () => {
    const server = await serveBeside(target)
    const app = openApp(server, account)
    await app.call('list_notes')

    const ended = await fetch(`${server.origin}/nextcloud/disconnect`, {
      method: 'POST',
      headers: { authorization: `Bearer ${app.oauth.accessToken()}` },
    })
    expect(ended.status).toBe(200)
    await app.letExpire()

    expect(await app.call('list_files')).not.toMatch(/^✗/)
    expect(app.signIns()).toBe(2)
  })

  it('a session that is ended in Nextcloud ends the tools and the refresh token, and one sign-in mends both', async () => {
    const server = await serveBeside(target)
    const { client, answer } = await tokensOf(server, account)
    const app = openApp(server, account)
    await app.call('list_notes')

    for (const { id } of await sessionsOf(account, server)) {
      await target.occ('user:auth-tokens:delete', account.uid, String(id))
    }

    expect(await callWith(server, answer, 'list_notes')).toMatch(LOST)
    expect((await client.refresh(refreshTokenOf(answer))).body['error']).toBe('invalid_grant')
    await app.letExpire()
    expect(await app.call('list_notes')).not.toMatch(/^✗/)
    expect(app.signIns()).toBe(2)
  })

  it('the page of connections signs its user in, leaves no session of that, and signs out', async () => {
    const served = await serveBeside(target)
    const { client, answer } = await tokensOf(served, account)
    const before = (await sessionsOf(account, served)).map(({ id }) => id)
    const browser = createVisitor({ name: account.uid, password: account.password })

    const shown = await press(browser, await browser.open(`${served.origin}/nextcloud`), 'Sign in')
    const words = wordsOf(shown.html)
    const after = (await sessionsOf(account, served)).map(({ id }) => id)
    const out = await press(browser, shown, 'Sign out')

    expect(words).toContain('State Connected')
    expect(words).toContain('This browser')
    expect(after).toEqual(before)
    expect(wordsOf(out.html)).toContain('You have signed out here')
    expect((await client.refresh(refreshTokenOf(answer))).status).toBe(200)
  })

  it('the administrator ends it for everybody by deleting the client', async () => {
    const server = await serveBeside(target)
    const { client, answer } = await tokensOf(server, account)

    await server.remove()

    expect(await sessionsOf(account, server)).toEqual([])
    expect(await callWith(server, answer, 'list_files')).toMatch(LOST)
    expect((await client.refresh(refreshTokenOf(answer))).body['error']).toBe('invalid_grant')
  })

  it('an account that is disabled gets nothing, by notes and by files; enabled again, its sign-in is good', async () => {
    const server = await serveBeside(target)
    const { client, answer } = await tokensOf(server, account)
    expect(await callWith(server, answer, 'list_notes')).not.toMatch(LOST)

    const refused = await target.during(['user:disable', account.uid], ['user:enable', account.uid], async () => ({
      notes: await callWith(server, answer, 'list_notes'),
      files: await callWith(server, answer, 'list_files'),
      refresh: (await client.refresh(refreshTokenOf(answer))).body['error'],
    }))

    expect(refused).toEqual({
      notes: expect.stringMatching(LOST) as string,
      files: expect.stringMatching(LOST) as string,
      refresh: 'invalid_grant',
    })
    expect(await openApp(server, account).call('list_notes')).not.toMatch(/^✗/)
  })

  it('an account that is deleted gets nothing', async () => {
    const server = await serveBeside(target)
    const gone = await target.createAccount()
    const { client, answer } = await tokensOf(server, gone)

    await target.occ('user:delete', gone.uid)

    expect(await callWith(server, answer, 'list_notes')).toMatch(LOST)
    expect((await client.refresh(refreshTokenOf(answer))).body['error']).toBe('invalid_grant')
  })

  it('a code that comes to another browser is spent, and its session in Nextcloud is ended', async () => {
    const server = await serveBeside(target)
    const client = await registeredClient({ origin: server.origin, url: `${server.origin}/mcp` })
    const mallory = createVisitor({ name: account.uid, password: account.password })
    const callback = await mallory.until(client.authorizationUrl(), `${server.origin}/nextcloud/callback`)

    const victim = await createVisitor({ name: 'nobody', password: 'none' }).open(callback)

    expect([victim.status, wordsOf(victim.html)]).toEqual([
      403,
      expect.stringContaining('nobody was signed in') as string,
    ])
    expect(await sessionsOf(account, server)).toEqual([])
    const again = await mallory.open(callback)
    expect(again.status).toBe(400)
  })
})

describe('the tools of serve', () => {
  it('work with files and calendars', async () => {
    const server = await serveBeside(target)
    const app = openApp(server, await openAccount())

    expect(await app.call('write_file', { path: 'Docs/From a tool.md', content: '# Plän' })).toMatch(/^Wrote /)
    const read = await app.call('read_file', { path: 'Docs/From a tool.md' })
    expect(read).toContain('# Plän')
    const [, etag = ''] = /etag ("[^"]+")/.exec(read) ?? []
    let written = ''
    // Nextcloud keeps the etag of a file that is written again within the same second.
    for (let writes = 0; writes < 200 && (written === '' || written.includes(etag)); writes++) {
      written = await app.call('write_file', { path: 'Docs/From a tool.md', content: '# Other', etag })
    }
    expect(written).toMatch(/^Wrote /)
    expect(written).not.toContain(etag)
    expect(await app.call('write_file', { path: 'Docs/From a tool.md', content: 'x', etag })).toMatch(/^✗ .*412/)
    expect(await app.call('list_files', { path: 'Docs' })).toContain('From a tool.md')
    expect(await app.call('search_files', { name: 'from a' })).toContain('Docs/From a tool.md')
    expect(await app.call('read_file', { path: 'not there.md' })).toMatch(/^✗ There is no not there\.md/)

    expect(await app.call('list_calendars')).toMatch(/\[personal\]/)
    const event = { calendar: 'personal', title: 'Tea; with, all', start: '2026-12-01T10:00:00+01:00' }
    expect(await app.call('add_event', event)).toBe('Added Tea; with, all: 2026-12-01 09:00 to 10:00 UTC.')
    const day = { calendar: 'personal', from: '2026-12-01', to: '2026-12-01' }
    expect(await app.call('list_events', day)).toMatch(/^2026-12-01 09:00 to 10:00 UTC {2}Tea; with, all/)
  })

  it('write and change notes', async () => {
    const server = await serveBeside(target)
    const app = openApp(server, account)

    const [, id = ''] = /^Wrote note (\d+)/.exec(await app.call('create_note', { title: 'Eggs', content: 'six' })) ?? []
    const note = await app.call('read_note', { id: Number(id) })
    expect(note).toContain('six')
    const [, etag = ''] = /etag is ([\w-]+)/.exec(note) ?? []

    expect(await app.call('update_note', { id: Number(id), etag, content: 'ten' })).toMatch(/^Changed note/)
    expect(await app.call('update_note', { id: Number(id), etag, content: 'two' })).toMatch(/^✗ .*412/)
    expect(await app.call('read_note', { id: Number(id) })).toContain('ten')
  })
})
