import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { createLines } from '../../src/nextcloud/lines.js'
import { createSignIns } from '../../src/nextcloud/sign-ins.js'
import { manualClock } from '../support/clock.js'
import { failureOf, turn } from '../support/promises.js'

const ALICE = { issuer: 'https://idp.example', subject: 'alice' }

it('a request that took too long gives no place back a second time when it ends', async () => {
  const clock = manualClock()
  const line = createLines(clock, createSignIns(clock))('app-password')
  const slow = await line.enter(ALICE)
  const entered: number[] = []
  void Promise.resolve(line.enter(ALICE)).then((turnOf) => entered.push(turnOf))
  void Promise.resolve(line.enter(ALICE)).then((turnOf) => entered.push(turnOf))

  clock.advance(5_000)
  await turn()
  expect(entered).toHaveLength(1)
  line.leave(slow)
  await turn()

  expect(entered).toHaveLength(1)
  line.leave(entered[0]!)
  await turn()
  expect(entered).toHaveLength(2)
})

/** The line of one password, and those who have a place in it: by name, in their order. */
function setUp(refused = 0) {
  const clock = manualClock()
  const signIns = createSignIns(clock)
  for (let count = 0; count < refused; count += 1) signIns.refused(ALICE)
  const line = createLines(clock, signIns)('app-password')
  const turns = new Map<string, number>()
  return {
    clock,
    line,
    entered: async () => {
      await turn()
      return [...turns.keys()].join(' ')
    },
    enter: (names: string) => {
      for (const name of names.split(' ')) void Promise.resolve(line.enter(ALICE)).then((at) => turns.set(name, at))
    },
    leave: (name: string, isGood?: boolean) => line.leave(turns.get(name)!, isGood),
  }
}

describe('the line of a password', () => {
  it.each<[answer: string, isGood: boolean | undefined, refused: number, entered: string]>([
    ['that says nothing is followed by one', undefined, 0, 'a b'],
    ['that is bad is followed by one', false, 0, 'a b'],
    ['that is good is followed by three', true, 0, 'a b c d'],
    ['that is good is followed by as many as may still be refused', true, 1, 'a b c'],
  ])('lets one request in, whose answer %s', async (_, isGood, refused, entered) => {
    const set = setUp(refused)
    set.enter('a b c d e')
    expect(await set.entered()).toBe('a')

    set.leave('a', isGood)

    expect(await set.entered()).toBe(entered)
  })

  it('is as it was for ten seconds after a good answer, unless a bad one comes', async () => {
    const set = setUp()
    set.enter('a')
    await set.entered()
    set.leave('a', true)
    set.clock.advance(9_999)
    set.enter('b c')
    expect(await set.entered()).toBe('a b c')
    set.leave('b')
    set.enter('d')
    expect(await set.entered()).toBe('a b c d')
    set.clock.advance(1)
    set.enter('e')
    expect(await set.entered()).toBe('a b c d')

    set.leave('c', true)
    expect(await set.entered()).toBe('a b c d e')
    set.leave('d', false)
    set.enter('f')
    expect(await set.entered()).toBe('a b c d e')
  })

  it('is one of its own for each password', async () => {
    const clock = manualClock()
    const lineOf = createLines(clock, createSignIns(clock))
    expect(lineOf('one')).toBe(lineOf('one'))
    await lineOf('one').enter(ALICE)
    expect(typeof lineOf('other').enter(ALICE)).toBe('number')
  })

  it('is left by whoever gives up, with the reason, and is without a trace of those who have a place', async () => {
    const set = setUp()
    set.enter('a')
    const [one, other] = [new AbortController(), new AbortController()]
    const waits = [one, other].map(({ signal }) => Promise.resolve(set.line.enter(ALICE, signal)))
    const reason = new Error('the caller has hung up')
    const failure = failureOf(waits[0]!)
    one.abort(reason)
    expect(await failure).toBe(reason)

    await set.entered()
    set.leave('a')

    expect(await waits[1]).toBe(0)
    expect(getEventListeners(other.signal, 'abort')).toEqual([])
  })

  it('waits for no request longer than five seconds, from when somebody waits for it', async () => {
    const set = setUp()
    let now = 0
    const enteredAt = async (at: number) => {
      set.clock.advance(at - now)
      now = at
      return set.entered()
    }
    set.enter('a b')
    await enteredAt(3_000)
    set.enter('c')
    expect([await enteredAt(4_999), await enteredAt(5_000)]).toEqual(['a', 'a b'])
    expect([await enteredAt(9_999), await enteredAt(10_000)]).toEqual(['a b', 'a b c'])
    set.enter('d')
    await enteredAt(12_000)
    set.leave('c')
    expect(await enteredAt(13_000)).toBe('a b c d')

    set.enter('e')
    for (const at of [15_000, 17_000, 17_999]) expect(await enteredAt(at)).toBe('a b c d')
    expect(await enteredAt(18_000)).toBe('a b c d e')
  })

  it('is kept in its order: nobody who comes when a place is free again overtakes those who wait', async () => {
    const clock = manualClock()
    let atOnce = 1
    const line = createLines(clock, { atOnce: () => atOnce })('app-password')
    line.leave(await line.enter(ALICE), true)
    await line.enter(ALICE)
    const entered: string[] = []
    void Promise.resolve(line.enter(ALICE)).then(() => entered.push('first'))
    atOnce = 2

    void Promise.resolve(line.enter(ALICE)).then(() => entered.push('second'))
    await turn()
    expect(entered).toEqual([])
    line.leave(0)
    await turn()

    expect(entered).toEqual(['first', 'second'])
  })
})
