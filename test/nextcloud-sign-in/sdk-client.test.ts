import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { expect, it } from 'vitest'
import { createOAuthClient } from '../../examples/demo/oauth-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

it('an MCP client that knows the URL alone registers itself, signs its user in at Nextcloud, and acts there', async () => {
  const server = await startSignInServer()
  const alice = server.person('alice')
  const oauth = createOAuthClient({
    open: (url, stopAt) => alice.until(url, stopAt),
    visit: () => Promise.reject(new Error()),
  })
  const connect = () => new StreamableHTTPClientTransport(new URL(server.url), { authProvider: oauth.provider })

  const first = connect()
  await expect(new Client({ name: 'test', version: '1' }).connect(first)).rejects.toThrow()
  await first.finishAuth(oauth.callback())
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(connect())
  const answer = await client.callTool({ name: 'whoami' })

  expect(JSON.stringify(answer.content)).toContain('alice')
  await client.close()
})
