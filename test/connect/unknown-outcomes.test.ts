import { describe, expect, it, vi } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { manualClock, pass } from '../support/clock.js'
import { bareHost } from '../support/hosts.js'
import { appPasswordWorld } from '../support/login-visits.js'
import { startNextcloudOAuth2 } from '../support/nextcloud-oauth2.js'
import { until } from '../support/promises.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice' }
const MINUTE = 60_000
const ACCOUNT = '/ocs/v2.php/cloud/user?format=json'

/** A store that is away from the first write of a kind on, which is carried out or not. */
function createFailingStore(clock = manualClock()) {
  const memory = new MemoryStorage({}, clock)
  let isArmed: (key: string, ttl?: number) => boolean = () => false
  let isCarriedOut = true
  let isDown = false
  const away = (): Promise<never> => Promise.reject(new Error('The store is away'))
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => (isDown ? away() : memory.get(key)),
    delete: (...given) => (isDown ? away() : memory.delete(...given)),
    async put(key, value, expected, ttl) {
      if (isDown) return away()
      if (!isArmed(key, ttl)) return memory.put(key, value, expected, ttl)
      isDown = true
      if (isCarriedOut) await memory.put(key, value, expected, ttl)
      return away()
    },
  }
  return {
    storage,
    failAt: (armed: typeof isArmed, carriedOut: boolean) => {
      isArmed = armed
      isCarriedOut = carriedOut
    },
    heal() {
      isArmed = () => false
      isDown = false
    },
  }
}

/** A user with a connection of one client lets in a second, and the store is away from the write of that on. */
async function secondConnection(isCarriedOut: boolean) {
  const clock = manualClock()
  const nextcloud = await startNextcloudOAuth2(clock.now)
  const { clientId, clientSecret, url } = nextcloud
  const { storage, ...store } = createFailingStore(clock)
  const options = {
    clientId,
    clientSecret,
    http: { timeout: 1_000 },
    connect: { identity: () => true },
    nextcloud: { url, preset: 'nextcloud-oauth2-app' },
  } as const
  const made = await world({ mode: 'refresh-token', host: bareHost, clock, storage, options })
  const { agree, as, auth, browser, grants, link } = made
  const comeBack = async (client: string) => {
    const alice = browser()
    const callback = await nextcloud.signIn(await agree(alice, await link('alice', client)), 'alice')
    return () => alice.open(callback)
  }
  await (
    await comeBack('first')
  )()
  const open = await comeBack('second')
  const grant = grants.store.keyOf({ issuer: as.issuer, ...ALICE })
  store.failAt((key) => key === grant, isCarriedOut)
  const page = open()
  await pass(clock, 3_000)
  expect((await page).status).toBe(503)
  store.heal()
  await pass(clock, 40 * MINUTE, 20_000)
  return { ...made, clock, nextcloud, token: () => auth.getNextcloudToken(ALICE) }
}

describe('tokens of a sign-in whose write into the grant had no answer', () => {
  it('live on where it was carried out, and those before them end', async () => {
    const { clock, nextcloud, stored, token } = await secondConnection(true)

    expect((await stored())?.clients).toEqual(['first', 'second'])
    clock.advance(60 * MINUTE)
    await expect(token()).resolves.toEqual(expect.any(String))
    expect(nextcloud.sessions()).toHaveLength(1)
  })

  it('end where it was not, and those before them live on', async () => {
    const { clock, nextcloud, stored, token } = await secondConnection(false)

    expect((await stored())?.clients).toEqual(['first'])
    clock.advance(60 * MINUTE)
    await expect(token()).resolves.toEqual(expect.any(String))
    // An attempt to end them that had no answer in time is repeated.
    for (let hours = 0; hours < 5 && nextcloud.sessions().length > 1; hours += 1) await pass(clock, 60 * MINUTE, 20_000)
    expect(nextcloud.sessions()).toHaveLength(1)
  })

  it('live on in the own sign-in, too, with the tokens of all clients', async () => {
    const { storage, ...store } = createFailingStore()
    const server = await startSignInServer({ storage, http: { timeout: 1_000 } })
    const grants = new Set<string>()
    const noteGrants = (key: string, ttl?: number): boolean => {
      if (ttl === undefined) grants.add(key)
      return false
    }
    store.failAt(noteGrants, true)
    const one = await registeredClient(server)
    const { body } = await one.signIn(server.person('alice'))
    const two = await registeredClient(server)
    const phone = server.person('alice')
    const callback = await phone.until(two.authorizationUrl(), `${server.origin}/nextcloud/callback`)
    store.failAt((key, ttl) => ttl === undefined && grants.has(key), true)

    expect((await phone.open(callback)).status).toBe(503)
    store.heal()

    const answer = await server.auth.nextcloudFetch({ token: String(body['access_token']) }, ACCOUNT)
    expect(answer.status).toBe(200)
  })
})

describe('an app password', () => {
  it('lives on after the end of the process where its write had no answer, and may have been carried out', async () => {
    const { storage, ...store } = createFailingStore()
    const made = await appPasswordWorld({ storage, options: { http: { timeout: 1_000 } } })
    const { as, auth, begin, browser, clock, grants, nextcloud, open } = made
    const alice = browser()
    const { login, next } = await begin(alice)
    await nextcloud.grant(login, 'alice')
    const grant = grants.store.keyOf({ issuer: as.issuer, ...ALICE })
    store.failAt((key) => key === grant, true)
    const page = alice.open(next)
    await pass(clock, 4_000)
    expect((await page).status).toBe(503)

    await auth.close()
    store.heal()

    const later = open()
    await later.ready()
    await pass(clock, 60 * MINUTE, 20_000)
    expect((await later.nextcloudFetch(ALICE, ACCOUNT)).status).toBe(200)
  })

  it('is noted as soon as it is there, so that another process ends it where the one that has it is killed', async () => {
    let asked = 0
    const identity = () => {
      asked += 1
      return new Promise<boolean>(() => undefined)
    }
    const { begin, browser, clock, grants, nextcloud, open } = await appPasswordWorld({
      options: { connect: { identity } },
    })
    const alice = browser()
    const { login, next } = await begin(alice)
    await nextcloud.grant(login, 'alice')
    void alice.open(next).catch(() => undefined)
    await until(() => asked > 0)

    await vi.waitFor(async () => expect(await grants.deletions.list()).toHaveLength(1))
    expect(nextcloud.appPasswords).toHaveLength(1)
    await open().ready()
    await pass(clock, 60 * MINUTE, 20_000)

    expect(nextcloud.appPasswords).toEqual([])
  })

  it('is not noted any more once it is stored', async () => {
    const { connectAs, grants } = await appPasswordWorld()

    await connectAs('alice')

    await vi.waitFor(async () => expect(await grants.deletions.list()).toEqual([]))
  })
})
