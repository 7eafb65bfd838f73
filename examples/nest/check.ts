import type { RequestListener } from 'node:http'
import { checkFramework } from '../demo/framework-check.js'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

let parses = false

process.exitCode = await checkFramework({
  createMcp,
  async start({ auth, mcp }) {
    const app = await createApp(auth, mcp)
    // The second app is one with Nest's own parser before it.
    if (parses) app.useBodyParser('json', { limit: '4mb' })
    parses = true
    await app.init()
    const listener = app.getHttpAdapter().getInstance() as RequestListener
    return { listener, close: () => Promise.all([app.close(), mcp.close()]) }
  },
})
