import { expect, it, vi } from 'vitest'
import { createOneTimeRecords, ONE_TIME_LIFE, randomSecret } from '../../src/connect/one-time.js'
import { opened, OWNER } from '../grants/opened.js'

it.each([
  [ONE_TIME_LIFE - 7, 7],
  [ONE_TIME_LIFE, 1],
  [ONE_TIME_LIFE + 60_000, 1],
])(
  'a record that is replaced after %d ms is written with a ttl of %d ms, because no store takes less than one',
  async (passed, ttl) => {
    const { clock, records, storage } = opened()
    const logins = createOneTimeRecords('login', { records, owner: OWNER, clock })
    const { secret } = await logins.create({ state: 'begun' })
    const record = (await logins.read(secret))!
    const put = vi.spyOn(storage, 'put')

    clock.advance(passed)

    expect(await logins.replace(record, { state: 'ended' })).toBe(passed < ONE_TIME_LIFE)
    expect(put).toHaveBeenCalledExactlyOnceWith(record.key, expect.any(String), record.version, ttl)
  },
)

it.each([
  [ONE_TIME_LIFE - 1, true],
  [ONE_TIME_LIFE, false],
])('a record that was read before is spent %d ms after it was made: %j', async (passed, isSpent) => {
  const { clock, records } = opened()
  // A store whose clock is behind still has it.
  const slow = {
    ...records,
    write: (...[key, value, expected]: Parameters<typeof records.write>) => records.write(key, value, expected),
  }
  const logins = createOneTimeRecords('login', { records: slow, owner: OWNER, clock })
  const { secret } = await logins.create({ state: 'begun' })
  const record = (await logins.read(secret))!

  clock.advance(passed)

  expect(await logins.spend(record)).toBe(isSpent)
})

it('a value is stored under a secret once, whoever else is at it, and again once it was taken', async () => {
  const { clock, records } = opened()
  const logins = createOneTimeRecords<{ by: number }>('login', { records, owner: OWNER, clock })
  const secret = randomSecret()

  const [one, other] = await Promise.all([logins.ensure({ by: 1 }, secret), logins.ensure({ by: 2 }, secret)])
  expect(other).toEqual(one)
  expect((await logins.read(secret))?.value).toEqual(one)
  await logins.spend((await logins.read(secret))!)
  expect(await logins.ensure({ by: 3 }, secret)).toEqual({ by: 3 })
})

it('a value is stored that another one was in the way of, which was taken a moment later', async () => {
  const { clock, records } = opened()
  const logins = createOneTimeRecords<{ by: number }>('login', { records, owner: OWNER, clock })
  const secret = randomSecret()
  await logins.ensure({ by: 1 }, secret)
  const racing = {
    ...records,
    async readIfOpens(key: string) {
      await logins.drop(secret)
      return records.readIfOpens(key)
    },
  }

  const late = createOneTimeRecords<{ by: number }>('login', { records: racing, owner: OWNER, clock })

  expect(await late.ensure({ by: 2 }, secret)).toEqual({ by: 2 })
  expect((await logins.read(secret))?.value).toEqual({ by: 2 })
})
