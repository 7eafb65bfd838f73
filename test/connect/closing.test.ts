import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { bareHost } from '../support/hosts.js'
import { appPasswordWorld } from '../support/login-visits.js'
import { turn, until } from '../support/promises.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice' }

/** Alice has agreed at Nextcloud, and the store takes no connection of hers. */
async function setUp(fault: (key: string) => Promise<never>) {
  const memory = new MemoryStorage()
  let isDown: (key: string) => boolean = () => false
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => memory.get(key),
    delete: (...args) => memory.delete(...args),
    put: (key, ...args) => (isDown(key) ? fault(key) : memory.put(key, ...args)),
  }
  const setup = await appPasswordWorld({ storage, options: { http: { retries: 0 } } })
  const { begin, browser, clock, as, grants, nextcloud } = setup
  const key = grants.store.keyOf({ issuer: as.issuer, ...ALICE })
  const alice = browser()
  const { login, next } = await begin(alice)
  await nextcloud.grant(login, 'alice')
  isDown = (put) => put === key
  const page = alice.open(next)
  return { ...setup, clock, page, break: (down: typeof isDown) => void (isDown = down), key }
}

describe('the end of the process with an app password that is not stored', () => {
  const lost = () => Promise.reject(new Error('lost'))

  it('deletes it in Nextcloud', async () => {
    const { auth, nextcloud, page } = await setUp(lost)
    expect((await page).status).toBe(503)
    expect(nextcloud.appPasswords).toHaveLength(1)

    await auth.close()

    expect(nextcloud.appPasswords).toEqual([])
  })

  it('deletes it also while the store takes nothing at all', async () => {
    const { auth, nextcloud, page, ...setup } = await setUp(lost)
    await page
    setup.break(() => true)

    await auth.close()

    expect(nextcloud.appPasswords).toEqual([])
  })

  it('deletes it also while the list of deletions hangs', async () => {
    const grantKey = { value: '' }
    const { auth, nextcloud, page, key, ...setup } = await setUp((put) =>
      [put, ''].includes(grantKey.value) ? lost() : new Promise<never>(() => undefined),
    )
    await page
    grantKey.value = key
    setup.break(() => true)

    await auth.close()

    expect(nextcloud.appPasswords).toEqual([])
  })

  it('stores it if the store works again', async () => {
    const { auth, nextcloud, page, open, ...setup } = await setUp(lost)
    await page
    setup.break(() => false)

    await auth.close()

    expect(nextcloud.appPasswords).toHaveLength(1)
    expect(await open().isProvisioned(ALICE)).toBe(true)
  })

  it('tells of it if Nextcloud is unavailable as well', async () => {
    const { auth, nextcloud, page, events, ...setup } = await setUp(lost)
    await page
    setup.break(() => true)
    nextcloud.disturb(() => 503)

    await auth.close()

    expect(events.filter(({ type }) => type === 'connect.failed').at(-1)).toMatchObject({
      reason: 'answer',
      ...ALICE,
      hint: expect.stringContaining('Devices & sessions') as string,
    })
    expect(JSON.stringify(events)).not.toContain(nextcloud.appPasswords[0]!.password)
  })

  it('does not wait for the attempts that would follow one under way', async () => {
    let attempts = 0
    let fail = (): void => undefined
    const held = () => {
      attempts += 1
      return attempts > 1 ? lost() : new Promise<never>((_, reject) => (fail = () => reject(new Error('lost'))))
    }
    const { auth, nextcloud, page } = await setUp(held)
    await until(() => attempts === 1)

    const closed = auth.close()
    fail()
    await closed
    await page

    // One that was under way, and the last.
    expect(attempts).toBeLessThanOrEqual(2)
    expect(nextcloud.appPasswords).toEqual([])
  })
})

it('the end of the process waits for a connection that is under way', async () => {
  const memory = new MemoryStorage()
  let key = ''
  let goOn: (() => void) | undefined
  const storage: StorageAdapter = {
    shared: true,
    get: (read) => memory.get(read),
    delete: (...args) => memory.delete(...args),
    async put(written, ...args) {
      if (written === key) await new Promise<void>((resolve) => (goOn = resolve))
      return memory.put(written, ...args)
    },
  }
  const setup = await world({ mode: 'refresh-token', host: bareHost, storage })
  const { agree, as, auth, authorize, browser, grants, link, stored } = setup
  key = grants.store.keyOf({ issuer: as.issuer, ...ALICE })
  const alice = browser()
  const order: string[] = []
  const callback = await authorize(await agree(alice, await link()))
  const page = alice.open(callback).then(({ status }) => order.push(`${status}`))
  await until(() => goOn !== undefined)

  const closing = auth.close().then(() => order.push('closed'))
  for (let turns = 0; turns < 20; turns += 1) await turn()
  expect(order).toEqual([])
  goOn?.()
  await Promise.all([page, closing])

  expect(order).toContain('200')
  expect(await stored()).toMatchObject({ state: 'active' })
})
