import { expect, it } from 'vitest'
import { createCoolDown, type CoolDown } from '../../src/transport/cool-down.js'
import { ConfigurationError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import { manualClock } from '../support/clock.js'

const outage = (retryAfter?: number) =>
  new UpstreamUnavailableError('away', { statedRetryAfter: retryAfter, httpStatus: 503 })

/** What an act throws, or undefined. */
function thrown(act: () => unknown): unknown {
  try {
    act()
    return undefined
  } catch (error) {
    return error
  }
}

const retryAfterOf = (act: () => unknown): number | undefined =>
  (thrown(act) as UpstreamUnavailableError | undefined)?.retryAfter

const fail = (coolDown: CoolDown, error: unknown) => (): unknown => coolDown.failed(error)

it('there is none before the first failure', () => {
  const coolDown = createCoolDown(manualClock())

  expect(coolDown.active()).toBe(false)
  expect(thrown(coolDown.check)).toBeUndefined()
})

it('it lasts 1 s, and twice as long after each further failure, up to 30 s', () => {
  const clock = manualClock()
  const coolDown = createCoolDown(clock)
  for (const seconds of [1, 2, 4, 8, 16, 30, 30, 30]) {
    expect(retryAfterOf(fail(coolDown, outage()))).toBe(seconds)
    clock.advance(seconds * 1_000 - 1)
    expect(coolDown.active()).toBe(true)
    clock.advance(1)
    expect(coolDown.active()).toBe(false)
    expect(thrown(coolDown.check)).toBeUndefined()
  }
})

it('it is still 30 s after a very long outage', () => {
  const clock = manualClock()
  const coolDown = createCoolDown(clock)
  for (let count = 0; count < 2_000; count += 1) thrown(fail(coolDown, outage()))

  expect(retryAfterOf(fail(coolDown, outage()))).toBe(30)
})

it("it lasts as long as the server's Retry-After says, when that is longer", () => {
  const coolDown = createCoolDown(manualClock())

  expect(retryAfterOf(fail(coolDown, outage(90)))).toBe(90)
})

it("the server's Retry-After counts only as far as the limit, where there is one", () => {
  const clock = manualClock()
  const coolDown = createCoolDown(clock, 60)

  expect(retryAfterOf(fail(coolDown, outage(59)))).toBe(59)
  expect(retryAfterOf(fail(coolDown, outage(90)))).toBe(60)
})

it('it is known whether the last attempt failed, also when the cool-down is over', () => {
  const clock = manualClock()
  const coolDown = createCoolDown(clock)
  expect(coolDown.failing()).toBe(false)
  thrown(fail(coolDown, outage()))
  clock.advance(60_000)
  expect([coolDown.active(), coolDown.failing()]).toEqual([false, true])

  coolDown.succeeded()
  expect(coolDown.failing()).toBe(false)
})

it("a shorter Retry-After of the server's does not shorten it", () => {
  const coolDown = createCoolDown(manualClock())
  thrown(fail(coolDown, outage()))
  thrown(fail(coolDown, outage()))

  expect(retryAfterOf(fail(coolDown, outage(1)))).toBe(4)
})

it('meanwhile the last failure is thrown, with the seconds that are left, rounded up', () => {
  const clock = manualClock()
  const coolDown = createCoolDown(clock)
  thrown(fail(coolDown, outage(90)))
  clock.advance(29_500)

  const failure = thrown(coolDown.check)

  expect(failure).toBeInstanceOf(UpstreamUnavailableError)
  expect(failure).toMatchObject({
    message: 'away',
    status: 503,
    httpStatus: 503,
    retryAfter: 61,
    headers: { 'Retry-After': '61' },
  })
})

it('a failure of another kind is thrown as it is', () => {
  const coolDown = createCoolDown(manualClock())
  const error = new ConfigurationError('no jwks_uri')

  expect(thrown(fail(coolDown, error))).toBe(error)
  expect(coolDown.active()).toBe(true)
  expect(thrown(coolDown.check)).toBe(error)
})

it('a success ends it, and the next failure is the first again', () => {
  const coolDown = createCoolDown(manualClock())
  thrown(fail(coolDown, outage(90)))
  coolDown.succeeded()

  expect(coolDown.active()).toBe(false)
  expect(thrown(coolDown.check)).toBeUndefined()
  expect(retryAfterOf(fail(coolDown, outage()))).toBe(1)
})
