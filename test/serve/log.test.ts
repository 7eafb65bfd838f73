import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import type { McpAuthInfo } from '../../src/auth-info.js'
import { createListener, logRequests } from '../../src/serve/log.js'

/** A server that answers after the log has seen the request, and the lines of the log. */
async function logged(seen: { readonly mcpAuth?: McpAuthInfo; readonly body?: unknown } = {}) {
  const lines: string[] = []
  const log = logRequests((line) => void lines.push(line.replace(/\d+ ms/, 'n ms')), '/mcp')
  const server = createServer((req, res) => {
    Object.assign(req, seen)
    // An answer to /hang has no end.
    log(req, res, () => (req.url === '/hang' ? res.write('begun') : res.end()))
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const ask = async (path: string, method = 'GET') => {
    const asked = request({ port, host: '127.0.0.1', path, method }).end()
    const [answer] = (await once(asked, 'response')) as [NodeJS.ReadableStream]
    answer.on('error', () => undefined).resume()
    if (path === '/hang') asked.destroy()
    else await once(answer, 'end')
  }
  return { lines, ask }
}

it.each([
  ['/', '/'],
  ['/mcp?token=hush', '/mcp'],
  ['/mcp/hush', '/mcp/…'],
  ['/oauth/sign-in/hush?a', '/oauth/sign-in/…'],
  ['/nextcloud/callback?code=hush', '/nextcloud/callback'],
  ['/nextcloud/connect/hush', '/nextcloud/…'],
  ['/mcphush', '(another path)'],
  ['/hush', '(another path)'],
])('tells %s as %s', async (path, told) => {
  const { lines, ask } = await logged()
  await ask(path)
  await expect.poll(() => lines).toEqual([`GET ${told} 200 n ms`])
})

it('tells no method that a stranger made up, and an answer that was broken off', async () => {
  const { lines, ask } = await logged()
  await ask('/mcp', 'PROPFIND')
  await ask('/hang')
  await expect.poll(() => lines).toEqual(['OTHER /mcp 200 n ms', 'GET (another path) broken off n ms'])
})

it('tells who called which tools of the server, and no other name', async () => {
  const call = (name: unknown) => ({ method: 'tools/call', params: { name } })
  const { lines, ask } = await logged({
    mcpAuth: { subject: 'anna\n"x"\u009b2J\u2028\u202e' } as McpAuthInfo,
    body: [call('list_notes'), call('hush'), call('read_note'), call('list_notes')],
  })
  await ask('/mcp', 'POST')
  await expect
    .poll(() => lines)
    .toEqual(['POST /mcp 200 n ms subject="anna\\n\\"x\\"\\u009b2J\\u2028\\u202e" tool=list_notes,read_note'])
})

it('says which variable to look at where Nextcloud does not take the secret, and nothing of each request', () => {
  const lines: string[] = []
  const tell = createListener((line) => void lines.push(line))
  const failure = { type: 'connect.failed', reason: 'token_request', detail: 'x', subject: undefined } as const
  tell({ ...failure, error: 'invalid_client' } as unknown as Parameters<typeof tell>[0])
  tell({ ...failure, error: 'invalid_grant' } as unknown as Parameters<typeof tell>[0])
  tell({ type: 'token.rejected', reason: 'no_credentials', detail: 'x' } as unknown as Parameters<typeof tell>[0])
  expect(lines).toEqual([
    expect.stringMatching(/^warn connect\.failed/),
    expect.stringMatching(/^look at NEXTCLOUD_OIDC_CLIENT_SECRET: Nextcloud does not take it/),
    expect.stringMatching(/^warn connect\.failed/),
  ])
})
