import { getEventListeners } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createWaiting, type Serves } from '../../src/grants/connection-watch.js'
import { StorageError } from '../../src/errors/errors.js'
import { manualClock } from '../support/clock.js'

const alice = { issuer: 'https://idp.example.com', subject: 'alice' }
const bob = { issuer: 'https://idp.example.com', subject: 'bob' }

/** A store in which users connect, and a look at it that can be held up. */
function setUp() {
  const clock = manualClock()
  const clients = new Map<string, string[]>()
  const looks: string[] = []
  let look = ({ subject }: typeof alice): Promise<Serves> => {
    const agreed = clients.get(subject)
    return Promise.resolve((clientId) => agreed !== undefined && (clientId === undefined || agreed.includes(clientId)))
  }
  const waiting = createWaiting({
    clock,
    look(identity) {
      looks.push(identity.subject)
      return look(identity)
    },
  })
  return {
    ...waiting,
    clock,
    looks,
    connect: ({ subject }: typeof alice, ...agreed: string[]) => void clients.set(subject, agreed),
    onLook: (way: (usual: () => Promise<Serves>) => Promise<Serves>) => {
      const usual = look
      look = (identity) => way(() => usual(identity))
    },
    /** Moves the clock on by a second, `times` over, and lets each look end. */
    seconds: async (times: number): Promise<void> => {
      for (let second = 0; second < times; second += 1) {
        await setImmediate()
        clock.advance(1_000)
      }
      await setImmediate()
    },
  }
}

/** What a promise has come to by now. */
async function stateOf(promise: Promise<boolean>): Promise<boolean | 'waits'> {
  await setImmediate()
  return Promise.race([promise, Promise.resolve('waits' as const)])
}

describe('a wait', () => {
  it('ends at once when the user is connected already', async () => {
    const { wait, connect } = setUp()
    connect(alice, 'client')

    expect(await wait(alice, 'client', 60_000)).toBe(true)
  })

  it('ends without the clock when this process stores the connection', async () => {
    const { wait, connect, connected } = setUp()
    const waits = wait(alice, 'client', 60_000)
    expect(await stateOf(waits)).toBe('waits')

    connect(alice, 'client')
    connected(alice)

    expect(await stateOf(waits)).toBe(true)
  })

  it('ends within a second when another process stores the connection', async () => {
    const { wait, connect, seconds } = setUp()
    const waits = wait(alice, 'client', 60_000)
    await seconds(3)

    connect(alice, 'client')
    expect(await stateOf(waits)).toBe('waits')
    await seconds(1)

    expect(await stateOf(waits)).toBe(true)
  })

  it('goes on when the store holds no connection, whatever was said of it', async () => {
    const { wait, connected } = setUp()
    const waits = wait(alice, 'client', 60_000)

    connected(alice)

    expect(await stateOf(waits)).toBe('waits')
  })

  it('goes on when somebody else connects, or the user for another client', async () => {
    const { wait, connect, connected, seconds } = setUp()
    const waits = wait(alice, 'client', 60_000)

    connect(bob, 'client')
    connected(bob)
    connect(alice, 'other')
    connected(alice)
    await seconds(2)

    expect(await stateOf(waits)).toBe('waits')
  })

  it('of no client in particular ends when the user connects for any', async () => {
    const { wait, connect, connected } = setUp()
    const waits = wait(alice, undefined, 60_000)

    connect(alice, 'other')
    connected(alice)

    expect(await stateOf(waits)).toBe(true)
  })

  it('ends with false after its time and no earlier', async () => {
    const { wait, clock } = setUp()
    const waits = wait(alice, 'client', 60_000)

    clock.advance(59_999)
    expect(await stateOf(waits)).toBe('waits')
    clock.advance(1)

    expect(await stateOf(waits)).toBe(false)
  })

  it('ends with false when it is aborted, before or meanwhile', async () => {
    const { wait, looks } = setUp()
    expect(await wait(alice, 'client', 60_000, AbortSignal.abort())).toBe(false)
    expect(looks).toEqual([])
    const controller = new AbortController()
    const waits = wait(alice, 'client', 60_000, controller.signal)

    controller.abort()

    expect(await stateOf(waits)).toBe(false)
  })

  it('outlives a store that fails, and ends when that works again', async () => {
    const { wait, connect, onLook, seconds } = setUp()
    let down = true
    onLook((usual) => (down ? Promise.reject(new StorageError('The storage is gone')) : usual()))
    const waits = wait(alice, 'client', 60_000)
    connect(alice, 'client')
    await seconds(5)
    expect(await stateOf(waits)).toBe('waits')

    down = false
    await seconds(1)

    expect(await stateOf(waits)).toBe(true)
  })

  it('looks again at once when the connection is stored during a look, which missed it', async () => {
    const { wait, connect, connected, onLook } = setUp()
    let finish = (): void => undefined
    onLook(async (usual) => {
      const found = await usual()
      await new Promise<void>((resolve) => (finish = resolve))
      return found
    })
    const waits = wait(alice, 'client', 60_000)
    await setImmediate()
    connect(alice, 'client')
    connected(alice)

    finish()
    await setImmediate()
    finish()

    expect(await stateOf(waits)).toBe(true)
  })

  it('ends with false when the middleware is closed', async () => {
    const { wait, close, looks, seconds } = setUp()
    const waits = [wait(alice, 'client', 60_000), wait(bob, 'client', 60_000)]

    close()

    expect(await Promise.all(waits)).toEqual([false, false])
    const before = looks.length
    await seconds(3)
    expect(looks.length).toBe(before)
  })
})

describe('many waits', () => {
  it('of one user share one look a second', async () => {
    const { wait, seconds, looks } = setUp()
    for (let count = 0; count < 20; count += 1) void wait(alice, `client ${count}`, 60_000)
    await setImmediate()
    const before = looks.length

    await seconds(10)

    expect(looks.length - before).toBe(10)
    expect(before).toBeLessThanOrEqual(2)
  })

  it('of one user are 20 at a time, and the next one is not held', async () => {
    const { wait, connect, connected } = setUp()
    const controllers = Array.from({ length: 20 }, () => new AbortController())
    const held = controllers.map(({ signal }) => wait(alice, 'client', 60_000, signal))

    expect(await stateOf(wait(alice, 'client', 60_000))).toBe(false)
    const other = wait(bob, 'client', 60_000)
    expect(await stateOf(other)).toBe('waits')

    controllers[0]!.abort()
    const late = wait(alice, 'client', 60_000)
    connect(alice, 'client')
    connected(alice)
    expect(await Promise.all([...held.slice(1), late])).toEqual(Array.from({ length: 20 }, () => true))
    expect(await held[0]).toBe(false)
  })

  it('of all users are bounded too', async () => {
    const { wait, close } = setUp()
    for (let count = 0; count < 2_000; count += 1) void wait({ ...alice, subject: `user ${count}` }, 'client', 60_000)

    expect(await stateOf(wait(alice, 'client', 60_000))).toBe(false)
    close()
    expect(await stateOf(wait(alice, 'client', 60_000))).toBe('waits')
  })

  it('leave nothing behind when they have ended', async () => {
    const { wait, connected, clock, looks, seconds } = setUp()
    const { signal } = new AbortController()
    const waits = [wait(alice, 'client', 5_000, signal), wait(alice, 'client', 5_000), wait(bob, 'client', 5_000)]
    await setImmediate()
    clock.advance(5_000)
    expect(await Promise.all(waits)).toEqual([false, false, false])
    expect(getEventListeners(signal, 'abort')).toEqual([])
    await setImmediate()
    const before = looks.length

    await seconds(5)
    connected(alice)

    expect(looks.length).toBe(before)
  })
})
