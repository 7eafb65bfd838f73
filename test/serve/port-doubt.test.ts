import { expect, it } from 'vitest'
import { portDoubt } from '../../src/serve/settings.js'

it.each([
  ['http://localhost:3000/mcp', '127.0.0.1', 3001, 3000],
  ['http://mcp.localhost:3000/mcp', '::1', 3001, 3000],
  ['http://127.0.0.1:8080/mcp', 'localhost', 3000, 8080],
  ['http://[::1]/mcp', '::1', 3000, 80],
])('%s is not where a server at %s, port %i listens, which says so', (resource, host, port, named) => {
  expect(portDoubt({ resource, host, port })).toEqual({
    found: `NEXTCLOUD_MCP_SERVER_URL has port ${named}, and this server listens on ${port}`,
    fix: `set PORT=${named}, unless a proxy leads from one to the other`,
  })
})

it.each([
  ['http://localhost:3000/mcp', '127.0.0.1', 3000],
  ['http://localhost:3000/mcp', '127.0.0.1', 0],
  ['http://localhost:8080/mcp', '0.0.0.0', 3000],
  ['https://localhost:8443/mcp', '127.0.0.1', 3000],
  ['http://mcp.example.com/mcp', '127.0.0.1', 3000],
])('%s may lead to a server at %s, port %i', (resource, host, port) => {
  expect(portDoubt({ resource, host, port })).toBeUndefined()
})
