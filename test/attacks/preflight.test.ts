import { connect, constants } from 'node:http2'
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { world } from '../support/world.js'

// A preflight has no body, whatever carries it (Fetch standard; RFC 9113 §8.1): a handler that does not look at the method might act on one.

async function ask(headers: Record<string, string>, body?: string): Promise<{ status: number; reached: boolean }> {
  const { open } = await world({ mode: 'none' })
  const auth = open()
  const routes = auth.routes()
  let reached = false
  const server = createServer((req, res) => {
    auth(req as never, res as never, () =>
      routes(req as never, res as never, () => {
        reached = true
        res.writeHead(204).end()
      }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  onTestFinished(() => {
    client.destroy()
    server.close()
  })
  const stream = client.request(
    { ':method': 'OPTIONS', ':path': '/mcp', ...headers },
    { endStream: body === undefined },
  )
  if (body !== undefined) stream.end(body)
  const status = await new Promise<number>((resolve, reject) => {
    stream.on('response', (answer) => resolve(Number(answer[constants.HTTP2_HEADER_STATUS])))
    stream.on('error', reject)
  })
  stream.close()
  return { status, reached }
}

const preflight = { origin: 'https://app.example.com', 'access-control-request-method': 'POST' }

it('a preflight over HTTP/2 passes', async () => {
  expect(await ask(preflight)).toEqual({ status: 204, reached: true })
})

it.each([
  ['with a body', preflight, '{"method":"tools/call"}'],
  ['with a body and its length', { ...preflight, 'content-length': '2' }, '{}'],
  ['with a body that is empty', preflight, ''],
])('OPTIONS over HTTP/2 %s needs a token', async (_what, headers, body) => {
  expect(await ask(headers, body)).toEqual({ status: 401, reached: false })
})

it('OPTIONS over HTTP/2 that is no preflight needs a token', async () => {
  expect(await ask({})).toEqual({ status: 401, reached: false })
})

// HTTP/2 takes any token for a method, also one that every object has a member of.
it.each(['constructor', 'valueOf', 'hasOwnProperty', '__proto__', 'PUT'])(
  '%s over HTTP/2 needs a token at the metadata as elsewhere',
  async (method) => {
    const path = '/.well-known/oauth-protected-resource/mcp'
    expect(await ask({ ':method': method, ':path': path })).toEqual({ status: 401, reached: false })
    expect((await ask({ ':method': 'GET', ':path': path })).status).toBe(200)
  },
)
