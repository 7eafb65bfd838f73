import { expect, it, vi } from 'vitest'
import { createOneTimeRecords, ONE_TIME_LIFE, randomSecret } from '../../src/connect/one-time.js'
import { opened, OWNER } from '../grants/opened.js'

/** Records in a store whose clock is behind, so that it still has what has expired. */
function ofSlowStore() {
  const { clock, records } = opened()
  const slow = {
    ...records,
    write: (...[key, value, expected]: Parameters<typeof records.write>) => records.write(key, value, expected),
  }
  return { clock, records: slow, logins: createOneTimeRecords('login', { records: slow, owner: OWNER, clock }) }
}

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
  const { logins, clock } = ofSlowStore()
  const { secret } = await logins.create({ state: 'begun' })
  const record = (await logins.read(secret))!

  clock.advance(passed)

  expect(await logins.spend(record)).toBe(isSpent)
})

it.each([
  [ONE_TIME_LIFE - 1, true],
  [ONE_TIME_LIFE, false],
])('a record that a slow store still has is found %d ms after it was made: %j', async (passed, isFound) => {
  const { logins, clock } = ofSlowStore()
  const { secret } = await logins.create({ state: 'begun' })

  clock.advance(passed)

  expect((await logins.read(secret))?.value).toEqual(isFound ? { state: 'begun' } : undefined)
})

it('a record that expires while the store takes it counts as expired', async () => {
  const { logins, clock, records } = ofSlowStore()
  const { secret } = await logins.create({ state: 'begun' })
  const record = (await logins.read(secret))!
  const { remove } = records
  records.remove = async (...which) => {
    const isRemoved = await remove(...which)
    clock.advance(ONE_TIME_LIFE)
    return isRemoved
  }

  expect(await logins.spend(record)).toBe(false)
})

it('a record that is not there is dropped without complaint', async () => {
  expect(await ofSlowStore().logins.drop(randomSecret())).toBeUndefined()
})

it('a record in a later format is unknown', async () => {
  const { logins, records } = ofSlowStore()
  const { secret } = await logins.create({ state: 'begun' })
  const { key, version, value, expiresAt } = (await logins.read(secret))!

  await records.write(key, { format: 2, value, expiresAt }, version)

  expect(await logins.read(secret)).toBeUndefined()
})

it.each(['', 'x', 'x'.repeat(42), 'x'.repeat(44), `${'x'.repeat(42)}=`])(
  'what cannot be a secret is looked for in no store: %j',
  async (secret) => {
    const { logins, records } = ofSlowStore()
    const readIfOpens = vi.spyOn(records, 'readIfOpens')

    expect(await logins.read(secret)).toBeUndefined()
    expect(readIfOpens).not.toHaveBeenCalled()
  },
)

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
