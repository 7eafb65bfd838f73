import { describe, expect, it, vi } from 'vitest'
import { ConfigurationError, StorageError } from '../../src/errors/errors.js'
import { createEvents } from '../../src/events.js'
import type { Grant } from '../../src/grants/grant.js'
import { createGrantStore } from '../../src/grants/grant-store.js'
import { createRecords } from '../../src/grants/records.js'
import { createRotations, type Rotation } from '../../src/grants/rotations.js'
import { createSealer } from '../../src/grants/seal.js'
import { failureOf } from '../support/broker-setup.js'
import { manualClock } from '../support/clock.js'
import { watchedStorage } from '../support/watched-storage.js'

const ALICE = { issuer: 'https://idp.example.com', subject: 'alice' }
const PATIENCE = 5_000

/** A grant whose first refresh token was spent for a second one, which is to be stored. */
async function open() {
  const clock = manualClock()
  const watched = watchedStorage()
  const sealer = createSealer([new Uint8Array(32).fill(7)])
  const records = createRecords(watched.storage, sealer, clock, createEvents(undefined, clock))
  const owner = { clientId: 'client', resource: 'https://mcp.example.com/mcp' }
  const store = createGrantStore(records, owner, clock)
  const rotations = createRotations(store, clock, PATIENCE)
  const key = store.keyOf(ALICE)
  await store.connect(ALICE, { refreshToken: 'first', fingerprint: 'first', clientId: 'client-1', scopes: [] })
  const { grant, version } = (await store.read(key))!
  const next: Grant = { ...grant, refreshToken: 'second', fingerprint: 'second' }
  const rotation: Rotation = { key, grant: next, spent: 'first', expected: version }
  const stored = async () => (await store.read(key))?.grant
  const change = async (to: Partial<Grant>) => {
    const present = (await store.read(key))!
    await store.write(key, { ...present.grant, ...to }, present.version)
  }
  return { clock, ...watched, store, rotations, rotation, stored, change }
}

describe('a new refresh token', () => {
  it('takes the place of the one that was spent for it', async () => {
    const { rotations, rotation, stored } = await open()
    expect(await rotations.write(rotation)).toMatchObject({
      grant: rotation.grant,
      version: expect.any(String) as string,
    })
    expect(await stored()).toEqual(rotation.grant)
  })

  it.each<[name: string, change: Partial<Grant>]>([
    ['marked the spent token meanwhile', { state: 'presented', presentedBy: 'another' }],
    ['had the spent token refused meanwhile', { state: 'needs-reconnect', refreshToken: undefined as never }],
  ])('is stored also where another instance has %s', async (_name, to) => {
    const { rotations, rotation, stored, change } = await open()
    await change(to)

    expect(await rotations.write(rotation)).toMatchObject({ grant: rotation.grant })

    expect(await stored()).toEqual(rotation.grant)
  })

  it('brings back no consent that was taken away meanwhile, and takes away none that was given', async () => {
    const { rotations, rotation, stored, change } = await open()
    await change({ clients: ['client-2'] })

    expect(await rotations.write(rotation)).toMatchObject({ grant: { clients: ['client-2'] } })

    expect(await stored()).toEqual({ ...rotation.grant, clients: ['client-2'] })
  })

  it('does not bring back a connection that was ended meanwhile', async () => {
    const { rotations, rotation, stored, store } = await open()
    await store.disconnect(ALICE, undefined)
    const tombstone = await stored()

    expect(await rotations.write(rotation)).toBeUndefined()

    expect(await stored()).toEqual(tombstone)
    expect(tombstone).toMatchObject({ state: 'disconnected' })
  })

  it('does not take the place of a newer connection, also where that has the same refresh token', async () => {
    const { rotations, rotation, stored, store } = await open()
    await store.connect(ALICE, { refreshToken: 'first', fingerprint: 'first', clientId: 'client-1', scopes: [] })

    expect(await rotations.write(rotation)).toBeUndefined()

    expect(await stored()).toMatchObject({ refreshToken: 'first', generation: 2 })
  })

  it('does not take the place of one that another instance has got since', async () => {
    const { rotations, rotation, stored, change } = await open()
    await change({ refreshToken: 'third', fingerprint: 'third' })

    expect(await rotations.write(rotation)).toBeUndefined()

    expect(await stored()).toMatchObject({ refreshToken: 'third' })
  })

  it('is there when an attempt that seemed to fail was carried out', async () => {
    const { rotations, rotation, storage, stored, calls } = await open()
    const put = storage.put.bind(storage)
    vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      await put(...args)
      throw new Error('The connection broke behind it')
    })
    calls.length = 0

    expect(await rotations.write(rotation)).toMatchObject({ grant: rotation.grant })

    expect(await stored()).toEqual(rotation.grant)
    // The one that was carried out, the one that found it, and the look at what is there.
    expect(calls.slice(0, 3)).toEqual(['put', 'put', 'get'])
  })

  it.each<[name: string, present: Partial<Grant>]>([
    ['the access token of before', { accessToken: { token: 'of before', sentAt: 0 } }],
    ['a mark', { state: 'presented', presentedBy: 'another' }],
  ])('that the server did not rotate is stored with its access token in the place of %s', async (_name, present) => {
    const { rotations, rotation, stored, change } = await open()
    const accessToken = present.accessToken && { token: 'new', sentAt: 1 }
    const { grant } = rotation
    const next: Grant = { ...grant, refreshToken: 'first', fingerprint: 'first', ...(accessToken && { accessToken }) }
    await change(present)

    await rotations.write({ ...rotation, grant: next })

    expect(await stored()).toEqual(next)
  })

  it('is given up for now when others change the grant at every attempt', async () => {
    const { rotations, rotation, storage, change } = await open()
    const put = storage.put.bind(storage)
    const spy = vi.spyOn(storage, 'put').mockImplementation(async (...args) => {
      spy.mockImplementationOnce(put)
      await change({ presentedBy: `somebody-${Math.random()}` })
      return put(...args)
    })

    expect(await failureOf(rotations.write(rotation))).toBeInstanceOf(StorageError)
  })
})

describe('a store that fails', () => {
  it('is tried again for as long as a caller may wait, ever more seldom', async () => {
    const { rotations, rotation, clock, failing, calls } = await open()
    failing.add('put')
    calls.length = 0
    const before = clock.monotonic()

    expect(await failureOf(rotations.write(rotation))).toBeInstanceOf(StorageError)

    expect(clock.monotonic() - before).toBeLessThan(PATIENCE)
    expect(clock.monotonic() - before).toBeGreaterThan(PATIENCE - 1_001)
    expect(clock.pauses).toEqual([50, 100, 200, 400, 800, 1_000, 1_000, 1_000])
    expect(calls).toHaveLength(9)
  })

  it('gets the new token by itself, half a second after it is back at the latest', async () => {
    const { rotations, rotation, clock, failing, stored } = await open()
    failing.add('put')
    await failureOf(rotations.write(rotation))
    for (let seconds = 0; seconds < 60; seconds += 1) {
      clock.advance(1_000)
      await new Promise(setImmediate)
    }
    failing.clear()

    clock.advance(500)

    await vi.waitFor(async () => expect(await stored()).toEqual(rotation.grant))
  })

  it('gets it once: then nothing is tried any more', async () => {
    const { rotations, rotation, clock, failing, calls } = await open()
    failing.add('put')
    await failureOf(rotations.write(rotation))
    failing.clear()
    await rotations.flush(rotation.key)
    calls.length = 0

    await rotations.flush(rotation.key)
    await rotations.settle()
    clock.advance(500)
    await new Promise(setImmediate)
    const after = vi.spyOn(clock, 'after')
    clock.advance(10_000)
    await new Promise(setImmediate)

    expect(calls).toEqual([])
    expect(after).not.toHaveBeenCalled()
  })

  it('fails a flush, which keeps the token for the next one', async () => {
    const { rotations, rotation, failing, stored } = await open()
    failing.add('put')
    await failureOf(rotations.write(rotation))

    expect(await failureOf(rotations.flush(rotation.key))).toBeInstanceOf(StorageError)
    failing.clear()
    await rotations.flush(rotation.key)

    expect(await stored()).toEqual(rotation.grant)
  })

  it('of which one part stays away gets what belongs to the other parts', async () => {
    const { rotations, rotation, storage, store, failing } = await open()
    const others = await Promise.all(
      ['bob', 'carol', 'dave', 'erin'].map(async (subject) => {
        const identity = { ...ALICE, subject }
        await store.connect(identity, { refreshToken: 'first', fingerprint: 'first', clientId: 'client-1', scopes: [] })
        const key = store.keyOf(identity)
        const { grant, version } = (await store.read(key))!
        return {
          key,
          grant: { ...grant, refreshToken: 'second', fingerprint: 'second' },
          spent: 'first',
          expected: version,
        }
      }),
    )
    failing.add('put')
    for (const kept of [rotation, ...others]) await failureOf(rotations.write(kept))
    failing.clear()
    const put = storage.put.bind(storage)
    vi.spyOn(storage, 'put').mockImplementation((key, ...rest) =>
      key === rotation.key ? Promise.reject(new Error('that part is away')) : put(key, ...rest),
    )

    await rotations.settle()

    for (const { key } of others) expect((await store.read(key))?.grant.refreshToken).toBe('second')
    expect((await store.read(rotation.key))?.grant.refreshToken).toBe('first')
    expect(rotations.drop(rotation.key)).toEqual(rotation.grant)
  })

  it('is asked three times in a row at most by itself, since it is away then, and for everything at the end', async () => {
    const { rotations, rotation, failing, calls, clock } = await open()
    failing.add('put')
    for (const key of ['a', 'b', 'c', 'd', 'e']) await failureOf(rotations.write({ ...rotation, key }))
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    const rest = async () => {
      for (let turns = 0; turns < 50; turns += 1) await turn()
    }
    // What the pauses above have set off in the background comes to rest, since the clock stands still now: it has begun before
    // this, and has less to do.
    await rotations.settle()
    await rest()
    calls.length = 0

    clock.advance(500)
    while (calls.length < 3) await turn()
    await rest()
    expect(calls).toEqual(['put', 'put', 'put'])

    calls.length = 0
    await rotations.settle()
    expect(calls).toEqual(['put', 'put', 'put', 'put', 'put'])
  })

  it('because it is not set up keeps the token too, and says whose fault it is', async () => {
    const { rotations, rotation, storage, stored } = await open()
    const missing = new ConfigurationError('The table is not there')
    vi.spyOn(storage, 'put').mockRejectedValueOnce(missing)

    expect(await failureOf(rotations.write(rotation))).toBe(missing)
    await rotations.flush(rotation.key)

    expect(await stored()).toEqual(rotation.grant)
  })

  it('gets nothing that was dropped, which is told to whoever drops it', async () => {
    const { rotations, rotation, failing, stored } = await open()
    failing.add('put')
    await failureOf(rotations.write(rotation))

    expect(rotations.drop(rotation.key)).toEqual(rotation.grant)
    failing.clear()
    await rotations.settle()

    expect(await stored()).toMatchObject({ refreshToken: 'first' })
    expect(rotations.drop(rotation.key)).toBeUndefined()
  })

  it('keeps a token that came while an older one was being stored', async () => {
    const { rotations, rotation, storage, failing } = await open()
    failing.add('put')
    await failureOf(rotations.write(rotation))
    failing.clear()
    const newer: Rotation = { ...rotation, grant: { ...rotation.grant, refreshToken: 'third', fingerprint: 'third' } }
    const put = storage.put.bind(storage)
    const spy = vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      failing.add('put')
      spy.mockRestore()
      await failureOf(rotations.write(newer))
      failing.clear()
      return put(...args)
    })

    await rotations.flush(rotation.key)

    expect(rotations.drop(rotation.key)).toEqual(newer.grant)
  })

  it('never rejects where nobody waits: settle() and the attempts in the background', async () => {
    const { rotations, rotation, clock, failing } = await open()
    failing.add('put')
    await failureOf(rotations.write(rotation))

    expect(await rotations.settle()).toBeUndefined()
    clock.advance(5_000)
    await new Promise(setImmediate)
  })

  it('keeps no token for what only another key opens', async () => {
    const { rotations, rotation, storage, failing } = await open()
    failing.add('put')
    await failureOf(rotations.write(rotation))
    failing.clear()
    const { version } = (await storage.get(rotation.key))!
    await storage.put(rotation.key, 'sealed by somebody else', version)

    await rotations.flush(rotation.key)

    expect(rotations.drop(rotation.key)).toBeUndefined()
    expect(await storage.get(rotation.key)).toMatchObject({ value: 'sealed by somebody else' })
  })
})
