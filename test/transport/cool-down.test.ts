import { describe, expect, it } from 'vitest'
import { ConfigurationError, UpstreamUnavailableError, type UpstreamFailure } from '../../src/errors/errors.js'
import { createCoolDown, createCoolDowns, type CoolDown } from '../../src/transport/cool-down.js'
import { manualClock } from '../support/clock.js'

const outage = (statedRetryAfter?: number, more?: UpstreamFailure) =>
  new UpstreamUnavailableError('unavailable', { statedRetryAfter, httpStatus: 503, ...more })

/** Returns the error that an act throws, or undefined. */
function thrown(act: () => unknown): UpstreamUnavailableError | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    return error as UpstreamUnavailableError
  }
}

const failed = (coolDown: CoolDown, error: unknown = outage()): UpstreamUnavailableError | undefined =>
  thrown(() => coolDown.failed(error))

it('there is none before the first failure', () => {
  const coolDown = createCoolDown(manualClock())
  expect([coolDown.active(), coolDown.failing(), thrown(coolDown.check)]).toEqual([false, false, undefined])
})

it('it lasts 1 s, and twice as long after each further failure, up to 30 s', () => {
  const clock = manualClock()
  const coolDown = createCoolDown(clock)
  for (const seconds of [1, 2, 4, 8, 16, 30, 30, 30]) {
    expect(failed(coolDown)?.retryAfter).toBe(seconds)
    clock.advance(seconds * 1_000 - 1)
    expect(coolDown.active()).toBe(true)
    clock.advance(1)
    expect(coolDown.active()).toBe(false)
    expect(thrown(coolDown.check)).toBeUndefined()
  }
})

it('it is still 30 s after a very long outage', () => {
  const coolDown = createCoolDown(manualClock())
  for (let count = 0; count < 2_000; count += 1) failed(coolDown)

  expect(failed(coolDown)?.retryAfter).toBe(30)
})

it.each([
  ['a longer Retry-After lengthens it', [90], undefined, 90],
  ['a shorter one does not shorten it', [1, 1, 1], undefined, 4],
  ['one below the limit counts', [59], 60, 59],
  ['one beyond the limit counts as far as that', [90], 60, 60],
])("%s, of the server's own", (_rule, stated, limit, lasts) => {
  const coolDown = createCoolDown(manualClock(), limit)
  const all = stated.map((seconds) => failed(coolDown, outage(seconds))?.retryAfter)

  expect(all.at(-1)).toBe(lasts)
})

it('it is known whether the last attempt failed, also when the cool-down is over', () => {
  const clock = manualClock()
  const coolDown = createCoolDown(clock)
  failed(coolDown)
  clock.advance(60_000)

  expect([coolDown.active(), coolDown.failing()]).toEqual([false, true])
})

it('a failure of another kind is thrown as it is', () => {
  const coolDown = createCoolDown(manualClock())
  const error = new ConfigurationError('no jwks_uri')

  expect([failed(coolDown, error), coolDown.active(), thrown(coolDown.check)]).toEqual([error, true, error])
})

it('a success ends it, and the next failure is the first again', () => {
  const coolDown = createCoolDown(manualClock())
  failed(coolDown, outage(90))
  coolDown.succeeded()

  expect([coolDown.active(), coolDown.failing(), thrown(coolDown.check)]).toEqual([false, false, undefined])
  expect(failed(coolDown)?.retryAfter).toBe(1)
})

describe('meanwhile the last failure is told again', () => {
  it('with the seconds that are left, rounded up', () => {
    const clock = manualClock()
    const coolDown = createCoolDown(clock)
    failed(coolDown, outage(90))
    clock.advance(29_500)

    const failure = thrown(coolDown.check)
    expect(failure).toBeInstanceOf(UpstreamUnavailableError)
    expect(failure).toMatchObject({
      detail: 'unavailable',
      status: 503,
      httpStatus: 503,
      retryAfter: 61,
      headers: { 'Retry-After': '61' },
    })
  })

  it.each([
    ['no Retry-After stated, after a refused connection', undefined, true],
    ['a Retry-After stated', 90, false],
  ])('with what the server said and did, and no more: %s', (_case, statedRetryAfter, unprocessed) => {
    const coolDown = createCoolDown(manualClock(), 60)
    const first = failed(coolDown, outage(statedRetryAfter, { unprocessed, service: 'Nextcloud' }))

    for (const told of [first, thrown(coolDown.check)]) {
      expect(told).toMatchObject({ statedRetryAfter, unprocessed })
      expect(told?.body.error_description).toBe('Nextcloud is not available')
    }
  })

  it('without lengthening the cool-down of whoever asked, by what has passed or by its own doubling', () => {
    const clock = manualClock()
    const [inner, outer, another] = [createCoolDown(clock, 60), createCoolDown(clock), createCoolDown(clock)]
    failed(inner, outage(3_600))
    clock.advance(20_000)

    expect(failed(outer, thrown(inner.check))).toMatchObject({ retryAfter: 40, statedRetryAfter: 3_600 })
    for (let count = 0; count < 5; count += 1) failed(outer)
    expect(failed(another, thrown(outer.check))).toMatchObject({ retryAfter: 1, statedRetryAfter: undefined })
  })
})

it('each key has its own, and those used least recently are forgotten', () => {
  const coolDowns = createCoolDowns(manualClock(), 2)
  for (const key of ['a', 'b', 'a', 'c']) thrown(() => coolDowns.failed(key, outage()))

  expect(['a', 'b', 'c', 'd'].map(coolDowns.active)).toEqual([true, false, true, false])
  expect(thrown(() => coolDowns.check('a'))?.retryAfter).toBe(2)
  expect(thrown(() => coolDowns.check('d'))).toBeUndefined()

  coolDowns.succeeded('a')
  expect(thrown(() => coolDowns.check('a'))).toBeUndefined()
  expect(thrown(() => coolDowns.failed('a', outage()))?.retryAfter).toBe(1)
})
