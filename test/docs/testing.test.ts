import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { mcpAuth, MemoryStorage, NotProvisionedError } from '../../src/index.js'
import { fakeNextcloud, fakeProvider } from '../../src/testing/testing.js'

const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/testing.md'), 'utf8')

async function connectOfThePage(): Promise<(connectUrl: string) => Promise<Response>> {
  const folder = mkdtempSync(path.join(tmpdir(), 'connect-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'connect.mjs')
  writeFileSync(file, /^```js\n(\/\/ connect\.mjs\n.*?)^```/ms.exec(page)![1]!)
  const { connect } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as {
    connect: (connectUrl: string) => Promise<Response>
  }
  return connect
}

it('the guide "Test your tools" connects a user without a browser', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = await fakeProvider({ resource: `${base}/mcp` })
  const nextcloud = await fakeNextcloud({ provider })
  const auth = mcpAuth({
    ...provider.options,
    nextcloud: { url: nextcloud.url, mode: 'refresh-token' },
    storage: new MemoryStorage(),
    encryptionKey: randomBytes(32).toString('base64url'),
    onEvent: () => undefined,
  })
  onTestFinished(async () => {
    server.close()
    await Promise.all([auth.close(), nextcloud.close(), provider.close()])
  })
  const routes = auth.routes()
  server.on('request', (req, res) => routes(req, res, () => res.writeHead(404).end()))
  const alice = await auth.verify(await provider.token({ sub: 'alice' }))
  const refusal: unknown = await auth.nextcloudUser(alice).catch((error: unknown) => error)
  expect(refusal).toBeInstanceOf(NotProvisionedError)
  const connect = await connectOfThePage()

  const last = await connect((refusal as NotProvisionedError).connectUrl!)

  expect(last.status).toBe(200)
  expect(await auth.nextcloudUser(alice)).toMatchObject({ id: 'alice' })
})
