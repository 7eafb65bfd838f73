import { randomBytes } from 'node:crypto'
import type { StorageAdapter } from '../storage-adapter.js'
import { type Check, type Contract, LONG, MARGIN, NO_LIST } from './contract.js'

type List = NonNullable<StorageAdapter['list']>

/** Ends of keys in the order of their bytes, which the collations of languages put in another order. */
const ENDS = ['-', '0', '9', 'A', 'A_', 'Aa', 'B', 'Z', '_', 'a', 'a-', 'aA', 'aa', 'b', 'z']
/** The same ends in no order. */
const MIXED = [...ENDS.slice(7), ...ENDS.slice(0, 7).reverse()]
const TTL = 200
/** More keys than many services give at once, as `auth.connections()` asks for them. */
const LARGE = 1_001

/** Keys that stand side by side among all keys of a store, with no other key between them. */
interface Row {
  /** A text in front of them. */
  readonly before: string
  /** In order. */
  readonly keys: readonly string[]
}

async function row({ put }: Contract, adapter: StorageAdapter, ends = MIXED, ttlMs?: number): Promise<Row> {
  const before = `v1:${randomBytes(24).toString('base64url')}`
  for (const end of ends) await put(adapter, before + end, 'value', null, ttlMs)
  return { before, keys: ENDS.filter((end) => ends.includes(end)).map((end) => before + end) }
}

/** All keys of a row, read in pages of `limit`, each behind the last key of the one before. */
async function pages(list: List, { before, keys }: Row, limit: number): Promise<readonly (readonly string[])[]> {
  const found: (readonly string[])[] = []
  let after = before
  for (let read = 0; read < keys.length;) {
    const page = await list({ after, limit })
    const last = page.at(-1)
    found.push(page.filter((key) => key.startsWith(before)))
    if (last?.startsWith(before) !== true) break
    after = last
    read += page.length
  }
  return found
}

/** Fails unless these are the keys. It names the first place that differs, because the keys of a page are a long text. */
function isSame(check: Check, actual: readonly string[], expected: readonly string[]): void {
  const at = Array.from({ length: Math.max(actual.length, expected.length) }).findIndex(
    (_, index) => actual[index] !== expected[index],
  )
  const [found, wanted] = [actual, expected].map((keys) => keys[at] ?? 'no further key')
  check(at === -1, `list gave ${found} in place ${at + 1} of ${expected.length}, where ${wanted} belongs`)
}

/** The keys of a store, page by page. */
export function describeList(contract: Contract): void {
  const { describe, check, test, put, remove, another, wait, leaveOut } = contract
  const listing = (title: string, body: (adapter: StorageAdapter, list: List) => Promise<void>): void =>
    test(title, async (adapter, skip) =>
      adapter.list === undefined ? leaveOut(NO_LIST, skip) : body(adapter, (page) => listOf(adapter, page)),
    )
  const areKeys = (actual: readonly string[], expected: readonly string[]): void => isSame(check, actual, expected)

  describe('list, where the adapter has it,', () => {
    listing('resolves to keys in the order of their bytes, whatever the collation', async (adapter, list) => {
      const { before, keys } = await row(contract, adapter)
      areKeys(await list({ after: before, limit: keys.length }), keys)
    })
    listing('begins behind `after`, which need not be there', async (adapter, list) => {
      const { before, keys } = await row(contract, adapter)
      areKeys(await list({ after: keys[3], limit: 3 }), keys.slice(4, 7))
      areKeys(await list({ after: `${before}Ab`, limit: 2 }), keys.slice(6, 8))
    })
    listing('resolves to `limit` keys at most, also without `after`', async (adapter, list) => {
      await row(contract, adapter)
      for (const limit of [1, 2, 7]) {
        const keys = await list({ limit })
        check(keys.length === limit, `list gave ${keys.length} keys, and there are at least the ${limit} of its limit`)
        areKeys(keys, [...keys].sort(byBytes))
      }
    })
    listing('gives every key once, page by page, however large the pages are', async (adapter, list) => {
      const one = await row(contract, adapter)
      for (const limit of [1, 4, LARGE]) areKeys((await pages(list, one, limit)).flat(), one.keys)
    })
    listing('gives a key that was replaced once, and one that was deleted not at all', async (adapter, list) => {
      const { before, keys } = await row(contract, adapter)
      const [first = '', second = ''] = keys
      const { version = '' } = (await adapter.get(first)) ?? {}
      await put(adapter, first, 'replaced', version, LONG)
      await remove(adapter, second, (await adapter.get(second))?.version ?? '')
      areKeys(await list({ after: before, limit: keys.length - 1 }), [first, ...keys.slice(2)])
    })
    listing('gives what another adapter on the same store has written', async (adapter, list) => {
      const { before, keys } = await row(contract, await another(adapter))
      areKeys(await list({ after: before, limit: keys.length }), keys)
    })
    listing('gives no key of an entry that has expired, and a whole page of others', async (adapter, list) => {
      const one = await row(contract, adapter, ['a', 'b', 'z'], TTL)
      const key = `${one.before}b`
      const { version = '' } = (await adapter.get(key)) ?? {}
      const lives = version !== '' && (await adapter.put(key, 'lives on', version)) !== null
      await wait(TTL + MARGIN)
      // A slow store may have lost it before it was prolonged.
      for (const limit of [3, 1]) {
        const found = await list({ after: one.before, limit })
        const ofRow = found.filter((found) => found.startsWith(one.before))
        areKeys(ofRow, lives ? [key] : [])
      }
    })
    listing('resolves to an empty list behind the last key', async (_adapter, list) => {
      areKeys(await list({ after: '~'.repeat(64), limit: 5 }), [])
    })
  })

  async function listOf(adapter: StorageAdapter, page: Parameters<List>[0]): Promise<string[]> {
    const keys: unknown = await adapter.list?.(page)
    check(Array.isArray(keys) && keys.every((key) => typeof key === 'string'), 'list must resolve to strings')
    return keys as string[]
  }
}

const byBytes = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other))
