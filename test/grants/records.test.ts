import { describe, expect, it, vi } from 'vitest'
import { ConfigurationError, StorageError, SealedValueError } from '../../src/errors/errors.js'
import { readPlainTombstone } from '../../src/grants/plain-tombstone.js'
import { recordKey } from '../../src/grants/record-key.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { OWNER, opened } from './opened.js'

const KEY = recordKey('grant', OWNER, 'issuer', 'alice')

/** The reason of a promise that must not resolve. */
const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable(),
    (reason: unknown) => reason,
  )

/** Records whose store has some calls replaced. */
function open(adapter: Partial<StorageAdapter> = {}) {
  const setup = opened()
  Object.assign(setup.storage, adapter)
  return setup
}

it('what is written can be read, changed and removed, and is sealed in the store', async () => {
  const { records, memory } = open()
  const version = await records.write(KEY, { refreshToken: 'secret' }, null)
  expect(await records.read(KEY)).toEqual({ value: { refreshToken: 'secret' }, version })
  expect((await memory.get(KEY))?.value).toMatch(/^eyJ[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/)

  const next = await records.write(KEY, { refreshToken: 'other' }, version)
  expect(await records.write(KEY, { refreshToken: 'late' }, version)).toBeNull()
  expect(await records.remove(KEY, version ?? '')).toBe(false)
  expect(await records.remove(KEY, next ?? '')).toBe(true)
  expect(await records.read(KEY)).toBeUndefined()
})

it('a value that was moved to another key does not open', async () => {
  const { records, memory } = open()
  await records.write(KEY, { refreshToken: 'secret' }, null)
  await memory.put('v1:other', (await memory.get(KEY))?.value ?? '', null)

  expect(await failureOf(records.read('v1:other'))).toBeInstanceOf(SealedValueError)
  expect(await records.peek('v1:other')).toMatchObject({ value: expect.any(String) as string })
})

it('the plain remains of a grant count up to a day from now: a later number would keep the user out for good', async () => {
  const { records, memory, clock } = open()
  const put = (key: string, count: number) => memory.put(key, `taken-back:${count}`, null)
  const latest = clock.now() + 86_400_000
  await put(KEY, latest)
  await put('v1:later', latest + 1)
  await put('v1:never', 999_999_999_999_999)

  const read = (key: string) => records.read(key, readPlainTombstone)
  expect(await read(KEY)).toMatchObject({ value: { withdrawals: { count: latest } } })
  for (const key of ['v1:later', 'v1:never']) expect(await failureOf(read(key))).toBeInstanceOf(SealedValueError)
})

it('the plain remains of a grant in the place of another record do not open', async () => {
  const { records, memory, clock } = open()
  await memory.put('v1:links', `taken-back:${clock.now()}`, null)

  expect(await failureOf(records.read('v1:links'))).toBeInstanceOf(SealedValueError)
})

describe('a store that fails', () => {
  const calls = [
    ['get', (records: ReturnType<typeof open>['records']) => records.read(KEY)],
    ['put', (records: ReturnType<typeof open>['records']) => records.write(KEY, {}, null)],
    ['delete', (records: ReturnType<typeof open>['records']) => records.remove(KEY, 'version')],
  ] as const

  it.each(calls)('is a StorageError that tells a code and nothing else, and an event: %s', async (operation, call) => {
    const cause = Object.assign(new Error('postgres://user:password@host'), { code: 'ECONNREFUSED' })
    const { records, events, clock } = open({ [operation]: () => Promise.reject(cause) })

    const error = await failureOf(call(records))

    expect(error).toBeInstanceOf(StorageError)
    expect(error).toMatchObject({ detail: 'The storage failed (ECONNREFUSED)', status: 503 })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('password')
    expect(events).toEqual([
      { type: 'storage.failed', operation, message: 'The storage failed (ECONNREFUSED)', at: clock.now() },
    ])
  })

  it.each(calls)('that is not set up says so, as the operator’s fault: %s', async (operation, call) => {
    const missing = new ConfigurationError('The table is not there', 'autoCreate')
    const { records, events } = open({ [operation]: () => Promise.reject(missing) })

    expect(await failureOf(call(records))).toBe(missing)
    expect(events).toMatchObject([{ type: 'storage.failed', operation, message: 'The table is not there' }])
  })

  it('tells nothing of a code or a name that may be more than that', async () => {
    const cause = Object.assign(new Error('x'), { code: 'redis://user:password@host', name: 'Error: secret' })
    const { records } = open({ get: () => Promise.reject(cause) })

    expect(await failureOf(records.read(KEY))).toMatchObject({ detail: 'The storage failed' })
  })

  it.each(calls)('may throw instead of rejecting: %s', async (operation, call) => {
    const { records } = open({
      [operation]: () => {
        throw new TypeError('a bug')
      },
    })

    expect(await failureOf(call(records))).toMatchObject({ detail: 'The storage failed (TypeError)' })
  })

  it.each(calls)('is one that does not answer in 5 s: %s', async (operation, call) => {
    const asked = vi.fn(() => new Promise<never>(() => undefined))
    const { records, clock } = open({ [operation]: asked })
    const settled = vi.fn()
    const pending = failureOf(call(records)).then((error) => {
      settled()
      return error
    })
    await vi.waitFor(() => expect(asked).toHaveBeenCalled())

    clock.advance(4_999)
    await Promise.resolve()
    expect(settled).not.toHaveBeenCalled()
    clock.advance(1)

    expect(await pending).toMatchObject({ detail: 'The storage did not answer within 5000 ms' })
  })

  it.each([
    ['get', null],
    ['get', 'value'],
    ['get', { value: 'x' }],
    ['get', { value: Buffer.from('x'), version: '1' }],
    ['get', { value: 'x', version: 1 }],
    ['put', undefined],
    ['put', true],
    ['put', 1],
    ['delete', undefined],
    ['delete', 1],
  ] as const)('is one whose %s answers %j', async (operation, answer) => {
    const { records } = open({ [operation]: () => Promise.resolve(answer) })
    const call = calls.find(([name]) => name === operation)?.[1] ?? expect.unreachable()

    expect(await failureOf(call(records))).toMatchObject({
      code: 'ERR_STORAGE',
      detail: `The storage answers ${operation} with something it must not`,
    })
  })
})

describe('the key of a record', () => {
  it('is short, of plain characters, and says nothing of the user', () => {
    const key = recordKey('grant', OWNER, 'https://idp.example.com', 'alice@example.com')
    expect(key).toMatch(/^v1:[\w-]{43}$/)
    expect(key).not.toContain('alice')
  })

  it('is another for every kind, owner and part', () => {
    const keys = [
      recordKey('grant', OWNER, 'a', 'b'),
      recordKey('lease', OWNER, 'a', 'b'),
      recordKey('grant', { ...OWNER, clientId: 'other' }, 'a', 'b'),
      recordKey('grant', { ...OWNER, resource: 'other' }, 'a', 'b'),
      recordKey('grant', OWNER, 'a', 'B'),
      recordKey('grant', OWNER, 'A', 'b'),
    ]
    expect(new Set(keys)).toHaveLength(keys.length)
  })
})
