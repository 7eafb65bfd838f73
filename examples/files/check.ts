import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { mcpAuth } from 'mcp-nextcloud-auth'
import { fakeNextcloud, fakeProvider } from 'mcp-nextcloud-auth/testing'
import { createTimeline } from '../demo/timeline.js'
import { createApp } from './app.js'

process.exitCode = (await check()) ? 0 : 1

/** Uses the routes of the app, against a provider and a Nextcloud that are made for tests. */
async function check(): Promise<boolean> {
  const timeline = createTimeline(process.stdout)
  const provider = await fakeProvider()
  const nextcloud = await fakeNextcloud({ provider })
  const alice = nextcloud.account('alice')
  const auth = mcpAuth({ ...provider.options, nextcloud: { url: nextcloud.url }, onEvent: () => undefined })
  const server = createApp(auth).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/files/plan.md`
  const headers = { Authorization: `Bearer ${await provider.token({ sub: 'alice' })}` }

  try {
    const written = await fetch(url, { method: 'PUT', headers, body: '# Plan' })
    timeline.check('a file is written', written.status === 201 && alice.readFile('plan.md') === '# Plan')
    const read = await fetch(url, { headers })
    timeline.check('it is read again', (await read.text()) === '# Plan')
    const again = await fetch(url, { method: 'PUT', headers, body: 'Another' })
    timeline.check('it is not overwritten', again.status === 412 && alice.readFile('plan.md') === '# Plan')
    const ended = { Authorization: `Bearer ${await provider.token({ sub: 'alice' }, { lifetime: -60 })}` }
    timeline.check('a token that has ended opens nothing', (await fetch(url, { headers: ended })).status === 401)
    nextcloud.failNext(423)
    timeline.check('a file that is locked is told as that', (await fetch(url, { headers })).status === 423)
  } finally {
    server.closeAllConnections()
    server.close()
    await Promise.all([auth.close(), nextcloud.close(), provider.close()])
  }
  return timeline.summary()
}
