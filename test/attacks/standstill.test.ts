import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { describe, expect, it, onTestFinished } from 'vitest'
import { afterPatience, sleepThrough } from '../../src/clock.js'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createWaiting } from '../../src/grants/connection-watch.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { createCoolDowns } from '../../src/transport/cool-down.js'
import { createPlaces } from '../../src/verify/places.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'
import { failureOf } from '../support/promises.js'
import { world } from '../support/world.js'

// A process that stood still (stopped, swapped out, kept busy) takes nobody for failed whose answer has come meanwhile, and keeps nothing for
// what cannot come back.

const STANDSTILL = 20_000

/** A store whose next answer comes when it is told to. */
function slowStore(clock: ManualClock) {
  const kept = new MemoryStorage({}, clock)
  let gate: Promise<void> | undefined
  const storage = {
    shared: false,
    get: async (key: string) => {
      await gate
      return kept.get(key)
    },
    put: kept.put.bind(kept),
    delete: kept.delete.bind(kept),
  }
  return {
    storage,
    hold: () => {
      let open = (): void => undefined
      gate = new Promise((resolve) => (open = resolve))
      return open
    },
  }
}

describe('the store', () => {
  const setUp = async () => {
    const clock = manualClock()
    const { storage, hold } = slowStore(clock)
    const setup = await world({ mode: 'refresh-token', clock, storage, options: { encryptionKey: ENCRYPTION_KEY } })
    await setup.connect()
    return { ...setup, hold }
  }

  it.each([5_050, STANDSTILL, 3_600_000])(
    'is not taken for failed after a standstill of %i ms, when its answer is here',
    async (ms) => {
      const { auth, clock, events, hold } = await setUp()
      const answer = hold()
      const asked = auth.isProvisioned({ subject: 'alice' })
      // The timer is found due first, then the answer is read.
      await new Promise(setImmediate)
      clock.advance(ms)
      setImmediate(answer)

      expect(await asked).toBe(true)
      expect(events.filter(({ type }) => type === 'storage.failed')).toEqual([])
    },
  )

  it('is taken for failed a moment after a standstill, when it does not answer then either', async () => {
    const { auth, clock, hold } = await setUp()
    hold()
    const asked = failureOf(auth.isProvisioned({ subject: 'alice' }))
    await new Promise(setImmediate)
    clock.advance(STANDSTILL)

    expect(await asked).toMatchObject({ code: 'ERR_STORAGE', detail: 'The storage did not answer within 5000 ms' })
  })

  it('is taken for failed at once, when nobody stood still', async () => {
    const { auth, clock, hold } = await setUp()
    hold()
    const asked = failureOf(auth.isProvisioned({ subject: 'alice' }))
    await new Promise(setImmediate)
    clock.advance(5_000)

    expect(await asked).toMatchObject({ code: 'ERR_STORAGE' })
  })
})

it('a place for introspection that becomes free after a standstill is taken by who waited for it', async () => {
  const clock = manualClock()
  const places = createPlaces(clock, 1, 5_000)
  const leave = await places.take(undefined)
  const waiting = places.take(undefined)
  clock.advance(STANDSTILL)
  setImmediate(leave)

  expect(await waiting).toBeTypeOf('function')
})

it('a connection that was made during a standstill is seen by who waited for it', async () => {
  const clock = manualClock()
  let connected = false
  const waiting = createWaiting({ clock, look: () => new Promise((resolve) => setImmediate(resolve, () => connected)) })
  const wait = waiting.wait({ issuer: 'https://idp.example.com', subject: 'alice' }, undefined, 55_000)
  connected = true
  clock.advance(120_000)

  expect(await wait).toBe(true)
})

it('the time of a standstill is not counted in the patience of a loop', async () => {
  const clock = manualClock()
  const overslept = { ...clock, sleep: (ms: number) => clock.sleep(ms + STANDSTILL) }

  expect(await sleepThrough(clock, 1_000)).toBe(0)
  expect(await sleepThrough(overslept, 1_000)).toBe(STANDSTILL)
})

it('a patience that is called off calls back neither then nor after the moment', async () => {
  const clock = manualClock()
  const called: string[] = []
  const [first, second] = [
    afterPatience(clock, 10, () => called.push('first')),
    afterPatience(clock, 10, () => called.push('second')),
  ]
  first()
  clock.advance(STANDSTILL)
  second()
  await new Promise((resolve) => setTimeout(resolve, 150))

  expect(called).toEqual([])
})

describe('Nextcloud', () => {
  /** In a thread of its own: it answers while this one stands still. */
  const SERVER = `
    const { createServer } = require('node:http')
    const { parentPort, workerData } = require('node:worker_threads')
    const body = JSON.stringify({ ocs: { meta: { statuscode: 200 }, data: { id: 'alice', displayname: 'Alice' } } })
    const server = createServer((req, res) => {
      parentPort.postMessage('asked')
      res.setHeader('content-type', 'application/json')
      res.end(body, () => setTimeout(() => { Atomics.store(workerData, 0, 1) }, 5))
    })
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
  `
  const startElsewhere = async () => {
    const answered = new Int32Array(new SharedArrayBuffer(4))
    const worker = new Worker(SERVER, { eval: true, workerData: answered })
    onTestFinished(async () => {
      await worker.terminate()
    })
    const [port] = (await once(worker, 'message')) as [number]
    return { worker, answered, url: `http://127.0.0.1:${port}` }
  }

  it.each(['nextcloudFetch', 'nextcloudUser'] as const)(
    'is not taken for failed after a standstill: %s',
    async (way) => {
      const { worker, answered, url } = await startElsewhere()
      const timeout = 1_000
      const { open, signIn } = await world()
      const auth = open({ nextcloud: { url, timeout } })
      const alice = await signIn()
      await auth.getNextcloudToken(alice)
      const asked = once(worker, 'message')
      const answer =
        way === 'nextcloudUser'
          ? auth.nextcloudUser(alice)
          : auth.nextcloudFetch(alice, '/status.php').then(({ status }) => status)
      await asked
      const until = performance.now() + timeout + 100
      while (Atomics.load(answered, 0) === 0 || performance.now() < until);

      expect(await answer).toEqual(way === 'nextcloudUser' ? { id: 'alice', displayName: 'Alice' } : 200)
    },
  )
})

describe('of cool-downs', () => {
  const fail = (coolDowns: ReturnType<typeof createCoolDowns>, key: string): void =>
    expect(() => coolDowns.failed(key, new UpstreamUnavailableError('unavailable'))).toThrow()

  it('nothing is left of tokens that were spent, once new ones fail', () => {
    const clock = manualClock()
    const coolDowns = createCoolDowns(clock, 10_000)
    for (let spent = 0; spent < 1_000; spent += 1) {
      fail(coolDowns, `spent-${spent}`)
      clock.advance(60_000)
    }

    expect(coolDowns.size()).toBeLessThan(5)
  })

  it('one that lasts longer than the others, because the server said so, stays for as long', () => {
    const clock = manualClock()
    const coolDowns = createCoolDowns(clock, 10_000)
    const stated = new UpstreamUnavailableError('unavailable', { statedRetryAfter: 3_600 })
    expect(() => coolDowns.failed('stated', stated)).toThrow()
    for (let spent = 0; spent < 20; spent += 1) {
      fail(coolDowns, `spent-${spent}`)
      clock.advance(120_000)
    }

    expect([coolDowns.active('stated'), coolDowns.size()]).toEqual([true, 2])
  })

  it('a key that fails again within a minute of its end is still known, and one that comes later is not', () => {
    const clock = manualClock()
    const coolDowns = createCoolDowns(clock, 10)
    fail(coolDowns, 'key')
    clock.advance(1_000 + 59_999)
    fail(coolDowns, 'key')
    clock.advance(1_999)
    expect(coolDowns.active('key')).toBe(true)
    clock.advance(60_001)

    expect([coolDowns.active('key'), coolDowns.size()]).toEqual([false, 0])
  })
})
