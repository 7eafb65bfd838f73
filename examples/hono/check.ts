import { getRequestListener } from '@hono/node-server'
import { checkFramework } from '../demo/framework-check.js'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

process.exitCode = await checkFramework({
  createMcp,
  start: ({ auth, mcp }) => {
    const listener = getRequestListener(createApp(auth, mcp).fetch)
    return { listener: (req, res) => void listener(req, res), close: () => mcp.close() }
  },
})
