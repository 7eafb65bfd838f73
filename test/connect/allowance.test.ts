import { expect, it } from 'vitest'
import { createAllowance } from '../../src/connect/allowance.js'
import { manualClock } from '../support/clock.js'

const ALICE = { issuer: 'https://idp.example.com', subject: 'alice' }

/** Returns how many connections a client may begin at once. */
function countOf(allowance: ReturnType<typeof createAllowance>, clientId: string): number {
  let count = 0
  while (count < 100 && allowance.take(ALICE, clientId) === 0) count += 1
  return count
}

it('the clients of a user that use up all they may leave a connection for each that has begun none', () => {
  const clock = manualClock()
  const allowance = createAllowance(clock)

  expect(['a', 'b', 'c', 'd'].map((client) => countOf(allowance, client))).toEqual([20, 20, 1, 1])
  const others = Array.from({ length: 30 }, (_, at) => countOf(allowance, `other-${at}`))
  expect(others.filter((count) => count === 1)).toHaveLength(18)
  expect(allowance.take(ALICE, 'late')).toBe(600_000)
  clock.advance(600_000)
  expect(countOf(allowance, 'late')).toBe(20)
})

it('a client whose share is used up waits until the first that it has begun is over, and no other user does', () => {
  const clock = manualClock()
  const allowance = createAllowance(clock, 2)
  allowance.take(ALICE, 'a')
  clock.advance(1_000)
  allowance.take(ALICE, 'a')

  expect(allowance.take(ALICE, 'a')).toBe(599_000)
  expect(allowance.take({ ...ALICE, subject: 'bob' }, 'a')).toBe(0)
  clock.advance(598_999)
  expect(allowance.take(ALICE, 'a')).toBe(1)
  clock.advance(1)
  expect([allowance.take(ALICE, 'a'), allowance.take(ALICE, 'a')]).toEqual([0, 1_000])
})
