import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { manualClock } from '../../support/clock.js'
import { turn } from '../../support/promises.js'
import { sharingWorld, tokenOf } from '../../support/sharing.js'

it.each([
  ['reading', [1_700]],
  ['reading and the lease', [1_700, 1_700]],
  ['reading, the lease, and reading again', [1_000, 1_000, 1_000]],
  ['reading and writing', [1_000, 0, 0, 1_000]],
  ['everything', [1_700, 1_700, 1_700, 1_700, 1_700, 1_700, 1_700]],
])('a call waits for the store for 1.8 s in all, where %s is slow', async (_what, delays) => {
  const world = await sharingWorld({ clock: manualClock() })
  const { clock, open, mint, memory, tampering, exchanged } = world
  const auth = open()
  const user = await mint()
  await auth.verify(user)
  const ofCalls = [...delays]
  const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
    const ms = ofCalls.shift() ?? 0
    if (ms > 0) await new Promise<void>((resolve) => void clock.after(ms, resolve))
    return work()
  }
  tampering.get = (key, get) => slowly(() => get(key))
  tampering.put = (key, value, expected, ttlMs, put) => slowly(() => put(key, value, expected, ttlMs))
  const startedAt = clock.monotonic()
  let ms: number | undefined

  const asked = tokenOf(auth, user).finally(() => (ms = clock.monotonic() - startedAt))
  for (let steps = 0; steps < 2_000 && ms === undefined; steps += 1) {
    await turn()
    clock.advance(5)
  }

  expect(await asked).toEqual(expect.any(String))
  expect(ms).toBeLessThanOrEqual(1_900)
  expect(exchanged()).toBe(1)
  // The write goes on, and no lease stays. Sealing takes real time.
  for (let steps = 0; steps < 2_000; steps += 1) {
    await turn()
    if (steps % 50 === 0) await sleep(10)
    clock.advance(5)
  }
  expect(await memory.list({ limit: 9 })).toHaveLength(1)
})

it('a look whether another instance has replaced a token waits for 1.8 s, while the store answers others', async () => {
  const { clock, open, mint, tampering } = await sharingWorld({ clock: manualClock() })
  const auth = open()
  const [user, other] = [await mint(), await mint({ sub: 'other' })]
  const token = await tokenOf(auth, user)
  await tokenOf(auth, other)
  clock.advance(10_000)
  // Of the two looks, only the first is not answered.
  let calls = 0
  tampering.get = (key, get) => (calls++ === 0 ? new Promise(() => undefined) : get(key))
  const startedAt = clock.monotonic()
  let ms: number | undefined
  const asked = tokenOf(auth, user).finally(() => (ms = clock.monotonic() - startedAt))
  await turn()
  for (let steps = 0; steps < 2_000 && ms === undefined; steps += 1) {
    await turn()
    clock.advance(5)
    if (steps === 200) await tokenOf(auth, other)
  }
  expect(await asked).toBe(token)
  expect(ms).toBeLessThanOrEqual(1_900)
})
