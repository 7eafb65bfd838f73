import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import express from 'express'
import express4 from 'express4'
import { describe, expect, it } from 'vitest'
import { expectPage, formOf, setUpConnect } from '../support/connect-setup.js'
import { bareHost, connectHost, express4Host, express5Host, hosts, type Handler, type Host } from '../support/hosts.js'

const surroundings: [name: string, host: Host, before: Handler[]][] = [
  ...hosts.map((host): [string, Host, Handler[]] => [host.name, host, []]),
  ['Express 5 behind urlencoded()', express5Host, [express.urlencoded() as Handler]],
  ['Express 5 behind urlencoded({ extended })', express5Host, [express.urlencoded({ extended: true }) as Handler]],
  ['Express 5 behind json()', express5Host, [express.json() as Handler]],
  ['Express 5 behind text()', express5Host, [express.text({ type: () => true }) as Handler]],
  ['Express 5 behind raw()', express5Host, [express.raw({ type: () => true }) as Handler]],
  ['Express 4 behind urlencoded()', express4Host, [express4.urlencoded({ extended: false }) as Handler]],
  ['Express 4 behind json()', express4Host, [express4.json() as Handler]],
  ['Connect behind urlencoded()', connectHost, [express.urlencoded() as Handler]],
  ['node:http behind urlencoded()', bareHost, [express.urlencoded() as Handler]],
]

describe.each(surroundings)('in %s', (_name, host, before) => {
  it('a user connects and disconnects', async () => {
    const { link, walk, stored, browser } = await setUpConnect({ host, before })
    const alice = browser()

    const connected = await walk(await link(), 'alice', {}, alice)
    expectPage(connected, 200)
    expect(await stored()).toMatchObject({ state: 'active' })
    expectPage(await alice.press(connected), 200)
    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })

  it('a form with a field that is there twice is refused', async () => {
    const { link, browser } = await setUpConnect({ host, before })
    const alice = browser()
    const { action, token } = formOf(await alice.open(await link()))
    const headers = [['Content-Type', 'application/x-www-form-urlencoded']] as const
    const body = `token=${token}&token=${token}&answer=yes`

    expectPage(await alice.open(action, { method: 'POST', headers, body }), 403)
  })

  it('what is no page of this package is left to the app', async () => {
    const { browser } = await setUpConnect({ host, before })

    expect((await browser().open('/nextcloud')).status).toBe(404)
    expect((await browser().open('/nextcloud/other')).status).toBe(404)
  })
})

it('a form whose body is sent in chunks, without a stated length, is limited too', async () => {
  const { link, browser, url } = await setUpConnect()
  const alice = browser()
  const { action, token } = formOf(await alice.open(await link()))
  const parts = [`token=${token}&answer=yes&more=`, 'x'.repeat(10_000), 'x'.repeat(10_000)]
  const post = (chunks: readonly string[]) => {
    const cookie = [...alice.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded', Cookie: cookie }
    const body = ReadableStream.from(chunks.map((chunk) => new TextEncoder().encode(chunk)))
    return fetch(url + action, { method: 'POST', headers, body, duplex: 'half' })
  }

  expect((await post(parts)).status).toBe(403)
  expect((await post(parts.slice(0, 2))).status).toBe(200)
})

it('a form that states too great a length is refused before it has come', async () => {
  const { link, browser, url } = await setUpConnect()
  const { action } = formOf(await browser().open(await link()))
  const { hostname, port } = new URL(url)
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': '16385' }
  const sent = request({ hostname, port, path: action, method: 'POST', headers })
  sent.flushHeaders()

  const [response] = (await once(sent, 'response')) as [IncomingMessage]

  expect(response.statusCode).toBe(403)
  sent.destroy()
})

it('a form counts by its Content-Type in any spelling, with parameters or without', async () => {
  const { link, browser } = await setUpConnect()
  const alice = browser()
  const { action, token } = formOf(await alice.open(await link()))
  const headers = [['Content-Type', 'Application/X-WWW-Form-Urlencoded; charset=UTF-8']] as const

  expectPage(await alice.open(action, { method: 'POST', headers, body: 'garbage' }), 403)
  expectPage(await alice.open(action, { method: 'POST', headers, body: `token=${token}&answer=yes` }), 200)
})
