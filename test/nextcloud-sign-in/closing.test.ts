import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { MemoryStorage, type StorageAdapter } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { turn, until } from '../support/promises.js'
import type { Visitor } from '../support/nextcloud/visitor.js'
import { REDIRECT_URI, registeredClient, type RegisteredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const HOUR = 3_600_000

interface Asking {
  readonly client: RegisteredClient
  readonly alice: Visitor
  readonly server: SignInServer
}

it.each<[string, (asking: Asking) => Promise<() => Promise<unknown>>]>([
  ['a client that registers', ({ server }) => Promise.resolve(() => registeredClient(server))],
  [
    'a person who comes back from Nextcloud',
    async ({ client, alice, server }) => {
      const callback = await alice.until(client.authorizationUrl(), `${server.origin}/nextcloud/callback`)
      return () => alice.until(callback, REDIRECT_URI)
    },
  ],
])('close() waits for %s', async (_who, comeTo) => {
  const memory = new MemoryStorage()
  const held = { next: false, goOn: undefined as (() => void) | undefined }
  const storage: StorageAdapter = {
    shared: true,
    async get(key) {
      if (held.next) {
        held.next = false
        await new Promise<void>((resolve) => (held.goOn = resolve))
      }
      return memory.get(key)
    },
    list: (page) => memory.list(page),
    put: (...args) => memory.put(...args),
    delete: (...args) => memory.delete(...args),
  }
  const clock = manualClock()
  const server = await startSignInServer({ storage, clock })
  // A connection that needs a refresh by now.
  await (await registeredClient(server)).signIn(server.person('alice'))
  clock.advance(2 * HOUR)
  const alice = server.person('alice')
  const ask = await comeTo({ client: await registeredClient(server), alice, server })
  held.next = true
  const asked = ask()
  await until(() => held.goOn !== undefined)

  let isClosed = false
  const closing = server.signIn.close().then(() => (isClosed = true))
  for (let turns = 0; turns < 50; turns += 1) await turn()
  expect(isClosed).toBe(false)
  held.goOn?.()
  await closing

  await asked
})

it('close() does not wait for what a stranger has not sent yet', async () => {
  const server = await startSignInServer({ http: { timeout: 60_000 } })
  const { hostname, port } = new URL(server.origin)
  const socket = connect(Number(port), hostname)
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  const head = ['POST /oauth/register HTTP/1.1', 'Host: x', 'Content-Type: application/json', 'Content-Length: 9']
  // Its answer shows that the server has read as far as that.
  socket.write(`GET /oauth/jwks HTTP/1.1\r\nHost: x\r\n\r\n${head.join('\r\n')}\r\n\r\n{`)
  await once(socket, 'data')
  const from = performance.now()

  await server.signIn.close()

  expect(performance.now() - from).toBeLessThan(20_000)
  expect(socket.destroyed).toBe(false)
})
