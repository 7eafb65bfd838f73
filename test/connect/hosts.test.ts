import express from 'express'
import express4 from 'express4'
import { describe, expect, it } from 'vitest'
import { expectPage, formOf } from '../support/test-browser.js'
import { world } from '../support/world.js'
import { express4Host, express5Host, hosts, type Handler, type Host } from '../support/hosts.js'

const surroundings: [name: string, host: Host, before: Handler[]][] = [
  ...hosts.map((host): [string, Host, Handler[]] => [host.name, host, []]),
  ['Express 5 behind urlencoded()', express5Host, [express.urlencoded() as Handler]],
  ['Express 5 behind json()', express5Host, [express.json() as Handler]],
  ['Express 4 behind urlencoded()', express4Host, [express4.urlencoded({ extended: false }) as Handler]],
  ['Express 4 behind json()', express4Host, [express4.json() as Handler]],
]

describe.each(surroundings)('in %s', (_name, host, before) => {
  const setUp = () => world({ mode: 'refresh-token', host, handlers: (auth) => [...before, auth.routes()] })

  it('a user connects and disconnects', async () => {
    const { link, walk, stored, browser } = await setUp()
    const alice = browser()

    const connected = await walk(await link(), 'alice', {}, alice)
    expectPage(connected, 200)
    expect(await stored()).toMatchObject({ state: 'active' })
    expectPage(await alice.press(connected), 200)
    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })

  it('a user signs in to the page of connections, and ends what is connected', async () => {
    const { connect, authorize, stored, browser } = await setUp()
    await connect()
    const alice = browser()

    const going = await alice.press(await alice.open('/nextcloud/'), { do: 'sign-in' })
    expect((await alice.open(await authorize(going.refreshTo))).status).toBe(303)
    const page = await alice.open('/nextcloud')
    expectPage(page, 200)
    expect((await alice.press(page, { do: 'all' })).status).toBe(303)

    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })

  it('a form with a field that is there twice is refused', async () => {
    const { link, browser } = await setUp()
    const alice = browser()
    const { action, token } = formOf(await alice.open(await link()))
    const headers = [['Content-Type', 'application/x-www-form-urlencoded']] as const
    const body = `token=${token}&token=${token}&answer=yes`

    expectPage(await alice.open(action, { method: 'POST', headers, body }), 403)
  })

  it('what is no page of this package is left to the app', async () => {
    const { browser } = await setUp()

    expect((await browser().open('/')).status).toBe(404)
    expect((await browser().open('/nextcloud/other')).status).toBe(404)
  })
})
