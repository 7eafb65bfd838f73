import { expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import type { Visitor } from '../support/nextcloud/visitor.js'
import { REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

/** A store that has something happen before one of its calls. */
function interruptedStore() {
  const memory = new MemoryStorage()
  let left = Infinity
  let act = (): Promise<unknown> => Promise.resolve()
  const count = async (): Promise<void> => {
    left -= 1
    if (left === 0) await act()
  }
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => count().then(() => memory.get(key)),
    put: (...given) => count().then(() => memory.put(...given)),
    delete: (...given) => count().then(() => memory.delete(...given)),
  }
  return {
    storage,
    before: (call: number, what: typeof act) => {
      left = call
      act = what
    },
  }
}

/** The page with a question, open in another window: says no there. */
async function otherWindow(alice: Visitor, question: URL): Promise<() => Promise<number>> {
  const headers = { cookie: alice.cookies(question) }
  const html = await (await fetch(question, { headers })).text()
  const token = /name="token" value="([^"]+)"/.exec(html)?.[1] ?? ''
  const body = new URLSearchParams({ token, answer: 'no' })
  return async () => (await fetch(question, { method: 'POST', headers, body })).status
}

it('a no in another window counts while the yes of the first is carried out', async () => {
  const { storage, before } = interruptedStore()
  const server = await startSignInServer({ storage })
  for (const call of [2, 5, 8, 11, 14]) {
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const callback = await alice.until(question, `${server.origin}/nextcloud/callback`)
    const done = await alice.until(callback, `${server.origin}/oauth/sign-in/`)
    const sayNo = await otherWindow(alice, question)
    let said = 0
    before(call, async () => (said = await sayNo()))

    const { searchParams } = await alice.until(done, REDIRECT_URI)

    expect([call, said, searchParams.get('error'), searchParams.has('code')]).toEqual([
      call,
      200,
      'access_denied',
      false,
    ])
  }
})
