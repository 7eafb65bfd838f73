import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createInstanceProcesses, type InstanceProcess } from '../support/instances.js'
import { createRealStores, storeKinds } from '../support/scene.js'
import { openStore } from '../support/stores.js'
import { openGrants, realmForGrants } from './support/grants.js'
import type { Realm } from './support/realm.js'

/** Milliseconds; more than an access token of the realm lives. */
const LIFE = 310_000
const CALLERS = 20
const EXPIRIES = 8

const stores = createRealStores()
const processes = createInstanceProcesses()
let two: InstanceProcess[]
beforeAll(async () => {
  await processes.prepare(2)
  two = [await processes.start(), await processes.start()]
})
afterAll(async () => {
  await processes.end()
  stores.remove()
})

/** How often something happened, as Keycloak's own record of events has it. */
async function happened(realm: Realm, type: string): Promise<number> {
  return ((await realm.admin('GET', `/events?type=${type}&max=1000`)) as unknown[]).length
}

describe.each(storeKinds().filter((kind) => kind === 'Redis' || kind === 'SQLite'))(
  'two processes on one %s',
  (kind) => {
    it('present each refresh token to Keycloak once, which revokes a grant otherwise', async () => {
      const realm = await realmForGrants()
      await realm.setRealm({ eventsEnabled: true, enabledEventTypes: ['REFRESH_TOKEN', 'REFRESH_TOKEN_ERROR'] })
      const store = await stores.address(kind)
      const { adapter, close } = await openStore(store)
      onTestFinished(close)
      const { auth, connect, who } = await openGrants(realm, { storage: adapter })
      expect((await connect('alice')).status).toBe(200)
      const { subject } = await who('alice')

      const instances = await Promise.all(two.map((process) => process.open({ issuer: realm.issuer, store })))
      const seen = new Set<string>()
      for (let expiries = 1; expiries <= EXPIRIES; expiries += 1) {
        await Promise.all(instances.map((instance) => instance.advance(LIFE)))
        const outcomes = (await Promise.all(instances.map((instance) => instance.call(CALLERS, subject)))).flat()
        const results = new Set(outcomes.map(({ token, failure }) => token ?? failure ?? ''))
        expect(outcomes).toHaveLength(2 * CALLERS)
        expect(results.size).toBe(1)
        for (const result of results) {
          expect(decodeJwt(result)).toMatchObject({ sub: subject, aud: 'nextcloud' })
          seen.add(result)
        }
      }
      expect(seen.size).toBe(EXPIRIES)
      expect(await happened(realm, 'REFRESH_TOKEN')).toBe(EXPIRIES)
      expect(await happened(realm, 'REFRESH_TOKEN_ERROR')).toBe(0)
      expect(await realm.offlineSessions('alice', 'mcp-server')).toHaveLength(1)

      expect(await auth.revoke(await who('alice'))).toEqual({ revoked: true })
      await Promise.all(instances.map((instance) => instance.advance(LIFE)))
      const [outcome] = await instances[0]!.call(1, subject)
      expect(outcome?.failure).toBe('403 ERR_NOT_PROVISIONED revoked')
      await Promise.all(instances.map((instance) => instance.close()))
    })
  },
)
