import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import { createKeyRing } from '../../src/nextcloud-sign-in/key-ring.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { modelRooms } from '../support/model-rooms.js'

const DAY = 86_400_000
const HOUR = 3_600_000

/** Opens instances on one store, each with a clock of its own. */
function sharedStore() {
  const storage = new MemoryStorage()
  return (clock: ManualClock = manualClock()) => {
    const read = createKeyRing(modelRooms(storage, clock))
    return { clock, names: async () => (await read()).keys.map(({ kid }) => kid) }
  }
}

describe('the key ring', () => {
  it('is one for instances that begin at the same moment on an empty store', async () => {
    const open = sharedStore()

    const [one, ...others] = await Promise.all([open(), open(), open()].map(({ names }) => names()))

    expect(one).toHaveLength(1)
    expect(others).toEqual([one, one])
  })

  it('signs at an instance whose clock is behind that of the one which made the first key', async () => {
    const open = sharedStore()
    const ahead = open()
    ahead.clock.advance(60_000)
    const first = await ahead.names()

    expect(await open().names()).toEqual(first)
  })

  it('signs with the old key until each instance knows the new one, and publishes the old one for an hour more', async () => {
    const { clock, names } = sharedStore()()
    const [old] = await names()
    clock.advance(90 * DAY)
    const [signer, next, ...more] = await names()
    expect([signer, more]).toEqual([old, []])
    clock.advance(600_000)
    expect(await names()).toEqual([next, old])

    clock.advance(HOUR - 1)
    expect(await names()).toEqual([next, old])
    clock.advance(300_000)
    expect(await names()).toEqual([next])
  })
})
