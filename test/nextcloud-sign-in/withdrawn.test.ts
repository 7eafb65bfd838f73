import { grantIdOf, markOf, withdrawalsIn, withdrawalsOf } from '../../src/nextcloud-sign-in/withdrawn.js'
import { expect, it } from 'vitest'
import { MemoryStorage, type StorageAdapter } from '../../src/index.js'
import { ACCOUNT_PASSWORD } from '../support/nextcloud/state.js'
import { createVisitor } from '../support/nextcloud/visitor.js'
import { press } from '../support/press-button.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer as Server } from '../support/sign-in-server.js'

const ALICE = { subject: 'alice' }
const USER = '/ocs/v2.php/cloud/user'

/** A sign-in server whose user disconnects just before the next write to the store, once `isTime`. */
async function disconnecting(isTime: (server: Server) => boolean): Promise<Server> {
  const memory = new MemoryStorage()
  let server: Server | undefined
  const first =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const watched = server
      if (watched !== undefined && isTime(watched)) {
        server = undefined
        await watched.auth.revoke(ALICE)
      }
      return call(...args)
    }
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => memory.get(key),
    list: (page) => memory.list(page),
    put: first(memory.put.bind(memory)),
    delete: (...args) => memory.delete(...args),
  }
  return (server = await startSignInServer({ storage }))
}

it.each<[string, Parameters<typeof disconnecting>[0]]>([
  ['while Nextcloud is asked who it is', ({ nextcloud }) => nextcloud.requests.some(({ path }) => path === USER)],
  ['before the browser is back', ({ events }) => events.some(({ type }) => type === 'grant.stored')],
])('a sign-in whose user disconnects %s connects nothing, and is refused to the client', async (_, isTime) => {
  const server = await disconnecting(isTime)
  const client = await registeredClient(server)
  const alice = server.person('alice')

  const answer = await client.authorize(alice)

  expect([answer.get('error'), answer.get('code')]).toEqual(['access_denied', null])
  expect(await server.auth.isProvisioned(ALICE)).toBe(false)
  await server.signIn.close()
  expect(server.nextcloud.state.tokens.filter(({ kind }) => kind === 'oauth2')).toEqual([])

  expect((await client.signIn(alice)).status).toBe(200)
  expect(await server.auth.isProvisioned(ALICE)).toBe(true)
})

it.each([1, 2, 3, 4, 5])(
  'a visit of the page of connections ends no connection that is made meanwhile, before write %i of the visit',
  async (at) => {
    let left = 0
    let connect = (): Promise<unknown> => Promise.resolve()
    const memory = new MemoryStorage()
    const storage: StorageAdapter = {
      shared: true,
      get: (key) => memory.get(key),
      list: (page) => memory.list(page),
      put: async (...args) => {
        if (left > 0 && (left -= 1) === 0) await connect()
        return memory.put(...args)
      },
      delete: (...args) => memory.delete(...args),
    }
    const server = await startSignInServer({ storage })
    const [client, visitor] = [await registeredClient(server), server.person('alice')]
    const other = createVisitor({ name: 'alice', password: ACCOUNT_PASSWORD })
    connect = () => client.signIn(other)
    const page = await visitor.open(`${server.origin}/nextcloud`)
    server.nextcloud.disturb(({ path }) => {
      if (path === USER && left === 0) {
        left = at
        server.nextcloud.disturb(undefined)
      }
      return undefined
    })

    await press(visitor, page, 'Sign in')

    left = 0
    await server.auth.ready()
    await server.signIn.close()
    expect(server.events.filter(({ type }) => type === 'grant.stored')).toHaveLength(1)
    expect(await server.auth.isProvisioned(ALICE)).toBe(true)
    expect(server.nextcloud.state.tokens.filter(({ kind }) => kind === 'oauth2')).toHaveLength(1)
  },
)

it.each([undefined, '', 'a-session-of-an-earlier-version', 'w.x', 'wx.y'])(
  'a mark that has no number of withdrawals is from before all of them: %j',
  (mark) => {
    expect(withdrawalsIn(mark)).toBe(-1)
    expect(withdrawalsOf(markOf(mark))).toBe(-1)
  },
)

it('a token whose claim is no number is from before all withdrawals, and a good one from after as many as it says', () => {
  const [claim = ''] = Object.keys(markOf(undefined))
  expect([withdrawalsOf({}), withdrawalsOf({ [claim]: '7' })]).toEqual([-1, -1])
  expect(withdrawalsOf(markOf(grantIdOf(7)))).toBe(7)
})
