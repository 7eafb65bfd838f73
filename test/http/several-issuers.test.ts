import { describe, expect, it, onTestFinished } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { ask } from '../support/answers.js'
import { bareHost, hosts } from '../support/hosts.js'
import { twoIssuers } from '../support/two-issuers.js'

const METADATA = '/.well-known/oauth-protected-resource/mcp'
const LEGACY = '/.well-known/oauth-authorization-server'

async function start(options: McpAuthOptions = {}, host = bareHost) {
  const two = await twoIssuers()
  const app = await host.start([two.open(options).routes()])
  onTestFinished(app.close)
  return { ...two, at: async (path: string) => ask(app.url, { path }) }
}

describe('the metadata of several issuers', () => {
  it.each(hosts)('lists them all, in order, while none can be reached, on $name', async (host) => {
    const { a, b, at } = await start({}, host)
    await a.stop()
    await b.stop()
    expect((await at(METADATA)).body).toMatchObject({ authorization_servers: [a.issuer, b.issuer] })
  })

  it('lists what authorizationServers says in their place', async () => {
    const { at } = await start({ authorizationServers: ['https://front.example.com'] })
    expect((await at(METADATA)).body).toMatchObject({ authorization_servers: ['https://front.example.com'] })
  })

  it('is at the place of before that of the first issuer, whatever becomes of the second', async () => {
    const { a, b, at } = await start({ legacyMetadata: true })
    await b.stop()
    expect((await at(LEGACY)).body).toEqual(a.metadata)
  })

  it('is at the place of before a 503 while the first issuer is unavailable, and never that of the second', async () => {
    const { a, at } = await start({ legacyMetadata: true })
    await a.stop()
    expect((await at(LEGACY)).status).toBe(503)
  })
})
