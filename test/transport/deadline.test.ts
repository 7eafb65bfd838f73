import { expect, it, onTestFinished, vi } from 'vitest'
import { LONGEST_STANDSTILL, startDeadline } from '../../src/transport/deadline.js'
import { manualClock } from '../support/clock.js'

const TIMEOUT = 30
const never = (): Promise<never> => new Promise(() => undefined)

it.each<[url: string | undefined, named: string]>([
  ['https://idp.example.com/path?secret', 'https://idp.example.com/path'],
  [undefined, 'The authorization server'],
])('an attempt that does not end, and heeds no signal, is given up, and names %s', async (url, named) => {
  const deadline = startDeadline(TIMEOUT, manualClock())
  if (url !== undefined) deadline.asked(url)

  await expect(deadline.race(never())).rejects.toMatchObject({
    code: 'ERR_UPSTREAM_UNAVAILABLE',
    detail: `${named} did not answer within ${TIMEOUT} ms`,
    retryAfter: 5,
  })
  expect(deadline.signal.aborted).toBe(true)
})

it('an attempt in time is the outcome, and nothing is aborted then', async () => {
  const clock = manualClock()
  const deadline = startDeadline(TIMEOUT, clock)
  clock.advance(10)

  expect([await deadline.race(Promise.resolve(7)), deadline.remaining()]).toEqual([7, TIMEOUT - 10])
  deadline.clear()
  await new Promise((resolve) => setTimeout(resolve, TIMEOUT + 20))
  expect(deadline.signal.aborted).toBe(false)
})

it.each([
  ['gives up at once', 49, true, Infinity],
  ['waits a moment more for an answer that may have come', 50, false, Infinity],
  ['waits a moment more for an answer that may have come', 20_000, false, Infinity],
  ['waits a moment more for the answer to what may be sent once', 2_500, false, LONGEST_STANDSTILL],
  ['gives up at once, since another instance may have taken over', 2_501, true, LONGEST_STANDSTILL],
])('it %s when the process stood still for %i ms', (_rule, standstill, atOnce, longest) => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const clock = manualClock()
  const { signal } = startDeadline(TIMEOUT, clock, longest)
  clock.advance(TIMEOUT + standstill)

  vi.advanceTimersByTime(TIMEOUT)
  expect(signal.aborted).toBe(atOnce)
  vi.advanceTimersByTime(100)
  expect(signal.aborted).toBe(true)
})

it('an answer that came while the process stood still is taken', async () => {
  const clock = manualClock()
  const deadline = startDeadline(TIMEOUT, clock)
  for (const end = performance.now() + TIMEOUT + 20; performance.now() < end;);
  clock.advance(TIMEOUT + 2_000)
  // It is read in the turn after the one in which the timer is found due.
  const answer = new Promise(setImmediate).then(() => new Promise((resolve) => setTimeout(resolve, 1, 'answer')))

  expect(await deadline.race(answer)).toBe('answer')
  deadline.clear()
})
