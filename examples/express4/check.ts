import { checkFramework } from '../demo/framework-check.js'
import { createApp } from './app.js'
import { createMcp } from './mcp.js'

process.exitCode = await checkFramework({
  createMcp,
  start: ({ auth, mcp }) => ({ listener: createApp(auth, mcp), close: () => mcp.close() }),
})
