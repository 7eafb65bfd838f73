import { expect, it } from 'vitest'
import { startDeadline } from '../../src/transport/deadline.js'
import { manualClock } from '../support/clock.js'

const TIMEOUT = 30
const never = (): Promise<never> => new Promise(() => undefined)

/** Keeps the event loop busy. */
function standStill(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

it.each<[url: string | undefined, named: string]>([
  ['https://idp.example.com/path?secret', 'https://idp.example.com/path'],
  [undefined, 'The authorization server'],
])('an attempt that does not end, and heeds no signal, is given up, and names %s', async (url, named) => {
  const deadline = startDeadline(TIMEOUT, manualClock())
  if (url !== undefined) deadline.asked(url)

  await expect(deadline.race(never())).rejects.toMatchObject({
    code: 'ERR_UPSTREAM_UNAVAILABLE',
    message: `${named} did not answer within ${TIMEOUT} ms`,
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

it.each<[rule: string, standstill: number, answers: boolean, outcome: string]>([
  ['an answer that came while the process stood still is taken', 2_000, true, 'answer'],
  ['not when it stood still so long that another instance may have taken over', 3_000, true, 'given up'],
  ['no call is held up for longer than a moment when no answer came', 1_000, false, 'given up'],
])('%s', async (_rule, standstill, answers, outcome) => {
  const clock = manualClock()
  const deadline = startDeadline(TIMEOUT, clock)
  standStill(TIMEOUT + 20)
  clock.advance(TIMEOUT + standstill)
  // An answer that is read in the turn after the one in which the timer is found due.
  const answer = async (): Promise<string> => {
    await new Promise(setImmediate)
    await new Promise((resolve) => setTimeout(resolve, 1))
    return 'answer'
  }

  expect(await deadline.race(answers ? answer() : never()).catch(() => 'given up')).toBe(outcome)
  deadline.clear()
})
