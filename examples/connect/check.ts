import { checkFramework } from '../demo/framework-check.js'
import { createConnectApp } from './connect-app.js'
import { createHttpApp } from './http-app.js'
import { createMcp } from './mcp.js'

for (const create of [createConnectApp, createHttpApp]) {
  const status = await checkFramework({
    createMcp,
    start: ({ auth, mcp }) => ({ listener: create(auth, mcp), close: () => mcp.close() }),
  })
  process.exitCode = Math.max(status, Number(process.exitCode ?? 0))
}
