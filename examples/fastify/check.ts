import { checkFramework } from '../demo/framework-check.js'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

process.exitCode = await checkFramework({
  createMcp,
  async start({ auth, mcp }) {
    const app = createApp(auth, mcp)
    await app.ready()
    return { listener: (req, res) => app.routing(req, res), close: () => Promise.all([app.close(), mcp.close()]) }
  },
})
