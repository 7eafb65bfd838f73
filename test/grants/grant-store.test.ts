import { describe, expect, it, vi } from 'vitest'
import { StorageError } from '../../src/errors/errors.js'
import { createEvents } from '../../src/events.js'
import { createGrantStore } from '../../src/grants/grant-store.js'
import { createRecords } from '../../src/grants/records.js'
import { createSealer } from '../../src/grants/seal.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { failureOf } from '../support/broker-setup.js'
import { manualClock } from '../support/clock.js'
import { watchedStorage } from '../support/watched-storage.js'

const ALICE = { issuer: 'https://idp.example.com', subject: 'alice' }
const DAY = 24 * 3_600_000

function open() {
  const clock = manualClock()
  const watched = watchedStorage(new MemoryStorage({}, clock))
  const sealer = createSealer([new Uint8Array(32).fill(7)])
  const records = createRecords(watched.storage, sealer, clock, createEvents(undefined, clock))
  const store = createGrantStore(records, { clientId: 'client', resource: 'https://mcp.example.com/mcp' }, clock)
  const connect = (refreshToken = 'first', clientId = 'client-1') =>
    store.connect(ALICE, { refreshToken, fingerprint: refreshToken, clientId, scopes: [] })
  const stored = async () => (await store.read(store.keyOf(ALICE)))?.grant
  return { clock, ...watched, store, connect, stored }
}

describe('a grant', () => {
  it('that lives is kept for good; one that was ended says so for 30 days', async () => {
    const { clock, store, connect, stored } = open()
    await connect()
    clock.advance(365 * DAY)
    expect(await stored()).toMatchObject({ refreshToken: 'first' })

    await store.disconnect(ALICE, undefined)
    clock.advance(30 * DAY - 1)
    expect(await stored()).toMatchObject({ state: 'disconnected' })
    clock.advance(1)
    expect(await stored()).toBeUndefined()
  })

  it('that is connected again lives for good again', async () => {
    const { clock, store, connect, stored } = open()
    await connect()
    await store.disconnect(ALICE, undefined)
    await connect('second')

    clock.advance(365 * DAY)

    expect(await stored()).toMatchObject({ refreshToken: 'second', generation: 3 })
  })
})

describe('a change', () => {
  it('is made anew when somebody else was first, on what is there then', async () => {
    const { connect, storage, stored } = open()
    await connect('first', 'client-1')
    const put = storage.put.bind(storage)
    const spy = vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      spy.mockRestore()
      await connect('second', 'client-2')
      return put(...args)
    })

    await connect('third', 'client-3')

    expect(await stored()).toMatchObject({
      refreshToken: 'third',
      clients: ['client-1', 'client-2', 'client-3'],
      generation: 3,
    })
  })

  it('is not made where what is there cannot be read: nothing is taken for absent', async () => {
    const { connect, storage, stored } = open()
    await connect()
    vi.spyOn(storage, 'get').mockRejectedValueOnce(new Error('away'))

    expect(await failureOf(connect('second'))).toBeInstanceOf(StorageError)

    expect(await stored()).toMatchObject({ refreshToken: 'first', generation: 1 })
  })
})
