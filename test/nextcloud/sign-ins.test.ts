import { describe, expect, it } from 'vitest'
import { createSignIns } from '../../src/nextcloud/sign-ins.js'
import { manualClock } from '../support/clock.js'

const MINUTE = 60_000
const of = (subject: string, issuer = 'https://idp.example') => ({ issuer, subject })
const [MALLORY, BOB, ALICE] = [of('mallory'), of('bob'), of('alice')]

function setUp() {
  const clock = manualClock()
  const signIns = createSignIns(clock)
  const refuse = (whose: ReturnType<typeof of>, times: number) => {
    for (let count = 0; count < times; count += 1) signIns.refused(whose)
  }
  return { clock, refuse, ...signIns }
}

describe('wrong sign-ins at Nextcloud', () => {
  it('of one user hold up that user alone', () => {
    const { refuse, isFull, takePlace } = setUp()
    refuse(MALLORY, 2)
    expect(isFull(MALLORY)).toBe(false)
    refuse(MALLORY, 1)

    expect([isFull(MALLORY), isFull(ALICE), isFull(of('mallory', 'https://other.example'))]).toEqual([
      true,
      false,
      false,
    ])
    expect(takePlace(MALLORY)).toBeUndefined()
    expect(takePlace(ALICE)).toBeDefined()
  })

  it('of several users hold up everybody, before Nextcloud does', () => {
    const { refuse, isFull, takePlace } = setUp()
    refuse(MALLORY, 3)
    refuse(BOB, 3)
    refuse(of('carol'), 1)
    expect(isFull(ALICE)).toBe(false)
    refuse(of('carol'), 1)

    expect(isFull(ALICE)).toBe(true)
    expect(takePlace(ALICE)).toBeUndefined()
  })

  it('that are likely have three places for a user and four for all, those that are taken included', () => {
    const { takePlace } = setUp()
    const own = [takePlace(MALLORY), takePlace(MALLORY), takePlace(MALLORY)]
    expect(takePlace(MALLORY)).toBeUndefined()
    own[0]?.(true)
    expect(takePlace(MALLORY)).toBeUndefined()
    own[1]?.(false)
    expect(takePlace(MALLORY)).toBeDefined()

    expect(takePlace(BOB)).toBeDefined()
    expect(takePlace(ALICE)).toBeUndefined()
  })

  it('bar a user who goes on with new app passwords, for as long as Nextcloud counts them', () => {
    const { refuse, isBarred, isFull, clock } = setUp()
    refuse(MALLORY, 3)
    expect(isBarred(MALLORY)).toBe(false)
    refuse(MALLORY, 1)
    expect([isBarred(MALLORY), isBarred(ALICE)]).toEqual([true, false])
    clock.advance(30 * MINUTE - 1)
    expect(isFull(MALLORY)).toBe(true)
    clock.advance(1)

    expect([isBarred(MALLORY), isFull(MALLORY)]).toEqual([false, false])
  })
})

it('so many requests of a user are under way at once as may be refused, and one at least', () => {
  const { clock, refuse, atOnce } = setUp()
  expect([atOnce(ALICE), atOnce(MALLORY)]).toEqual([3, 3])
  refuse(MALLORY, 1)
  expect([atOnce(ALICE), atOnce(MALLORY)]).toEqual([3, 2])
  refuse(MALLORY, 2)
  expect([atOnce(ALICE), atOnce(MALLORY)]).toEqual([3, 1])
  refuse(BOB, 3)
  expect(atOnce(ALICE)).toBe(2)
  clock.advance(30 * MINUTE)
  expect([atOnce(ALICE), atOnce(MALLORY)]).toEqual([3, 3])
})
