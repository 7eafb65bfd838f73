import { describe, expect, it } from 'vitest'
import { bareHost } from '../support/hosts.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'
import { faultyStorage, meetingStorage } from '../support/storages.js'
import { expectPage, formOf } from '../support/test-browser.js'
import { world, type Parts } from '../support/world.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

/** Alice sees that she has connected Nextcloud. */
async function setUpConnected(parts: Pick<Parts, 'options' | 'storage'> = {}) {
  const setup = await world({ ...CONNECT, ...parts })
  const alice = setup.browser()
  const connected = await setup.walk(await setup.link(), 'alice', {}, alice)
  return { ...setup, alice, connected }
}

describe('the button that disconnects', () => {
  it.each([
    ['takes away the consent of that client alone, where consent is per client', 'per-client', ['second']],
    ['takes the whole grant where consent is per user', 'per-user', []],
  ] as const)('%s', async (_what, consent, clients) => {
    const { alice, connected, connect, stored } = await setUpConnected({
      options: { connect: { consent } },
    })
    await connect('alice', { clientId: 'second' })

    expectPage(await alice.press(connected), 200)

    // The form's of the question, for a second submit.
    expect(alice.cookies.size).toBe(1)
    expect(await stored()).toMatchObject({ state: clients.length > 0 ? 'active' : 'disconnected', clients })
  })

  it('works once, so that it does not end a later connection', async () => {
    const { alice, connected, stored, link, walk } = await setUpConnected()
    const cookies = new Map(alice.cookies)
    await alice.press(connected)
    await walk(await link())
    for (const [name, value] of cookies) alice.cookies.set(name, value)

    expectPage(await alice.press(connected), 403)

    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('ends no later connection, and leads to no page of connections where the MCP endpoint has its path', async () => {
    const options = { connect: { path: new URL(RESOURCE).pathname } }
    const { alice, auth, connected, link, stored, walk } = await setUpConnected({ options })
    await auth.revoke({ subject: 'alice' })
    await walk(await link())

    const page = await alice.press(connected)

    expectPage(page, 403)
    expect(page.text).not.toContain('href=')
    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('works once when it is pressed twice at the very same moment', async () => {
    const store = meetingStorage()
    const { alice, connected } = await setUpConnected({ storage: store })
    store.meet(2)

    const pages = await Promise.all([alice.press(connected), alice.press(connected)])

    expect(pages.map(({ status }) => status).sort()).toEqual([200, 403])
  })

  it.each([
    ['in another browser', 'other', undefined],
    ['from another origin', 'same', ['Origin', 'https://evil.example']],
  ] as const)('does not work %s', async (_where, whose, header) => {
    const { alice, browser, connected, stored } = await setUpConnected()
    const presser = whose === 'same' ? alice : browser()
    const { action, token } = formOf(connected)
    const headers = [['Content-Type', 'application/x-www-form-urlencoded'] as const, ...(header ? [header] : [])]

    const page = await presser.open(action, { method: 'POST', headers, body: `token=${token}` })

    expectPage(page, 403)
    expect(await stored()).toMatchObject({ state: 'active' })
    expectPage(await alice.press(connected), 200)
  })

  it('does not work with a cookie of another flow under its name', async () => {
    const { alice, connected, stored } = await setUpConnected()
    for (const name of alice.cookies.keys()) alice.cookies.set(name, 'A'.repeat(43))

    expectPage(await alice.press(connected), 403)

    expect(await stored()).toMatchObject({ state: 'active' })
  })

  // Calls 5 and 6 are for the list of pending deletions: what is not noted there is kept in memory, if it has to be.
  it.each([1, 2, 3, 4, 7])('is a 503 when the store fails once at call %i, and works then', async (call) => {
    const store = faultyStorage()
    const { alice, connected, stored } = await setUpConnected({ storage: store })
    store.failFrom(call, 1)

    expectPage(await alice.press(connected), 503)
    expect(await stored()).toMatchObject({ state: 'active' })

    expectPage(await alice.press(connected), 200)
    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })

  it('is not mistaken for a request of an MCP client, nor the other way round', async () => {
    const { alice, connected, as, stored } = await setUpConnected()
    const { action, token } = formOf(connected)
    const headers = [
      ['Content-Type', 'application/x-www-form-urlencoded'],
      ['Authorization', `Bearer ${await as.mint({ sub: 'bob' })}`],
    ] as const

    const answer = await alice.open(action, { method: 'POST', headers, body: `token=${token}` })

    expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { revoked: false }])
    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('works behind a proxy that adds Basic credentials of its own', async () => {
    const { alice, connected, stored } = await setUpConnected()

    expectPage(await alice.press(connected, {}, { headers: [['Authorization', 'Basic YTpi']] }), 200)

    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })
})
