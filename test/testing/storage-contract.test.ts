import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi, type MockInstance } from 'vitest'
import type { KeyPage, StorageAdapter, StoredEntry } from '../../src/storage-adapter.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { recordedSuite } from './recorded-suite.js'

const clock = manualClock()
const options = {
  wait(ms: number) {
    clock.advance(ms)
    return Promise.resolve()
  },
}
const memory = () => new MemoryStorage({ maxEntries: 100_000 }, clock)

type Calls = Pick<StorageAdapter, 'get' | 'put' | 'delete' | 'list'>
type Put = StorageAdapter['put']
type MakeAdapter = () => StorageAdapter

/** An adapter over another one, with a defect: what `change` gives takes the place of the sound calls. */
function over(sound: Calls, change: Partial<Calls & { shared: boolean }> = {}): StorageAdapter {
  return {
    shared: false,
    get: (key) => sound.get(key),
    put: (...args) => sound.put(...args),
    delete: (...args) => sound.delete(...args),
    ...change,
  }
}
const broken =
  (change: (sound: MemoryStorage) => Partial<Calls & { shared: boolean }>): MakeAdapter =>
  () => {
    const sound = memory()
    return over(sound, change(sound))
  }
/** One whose put has the defect. */
const putting = (put: (sound: MemoryStorage, ...args: Parameters<Put>) => ReturnType<Put>): MakeAdapter =>
  broken((sound) => ({ put: (...args) => put(sound, ...args) }))
const versionOf = async (sound: MemoryStorage, key: string) => (await sound.get(key))?.version ?? null
const turn = () => new Promise((resolve) => setImmediate(resolve))

const NOT_FIRST = 'put with null resolves to null when there is an entry, and changes nothing'
const foreign = (name: RegExp) => new RegExp(`^a version of another form is a miss and no error: .*${name.source}`)
const SINCE_THEN =
  'two adapters on one store, where it is shared, see what the other one did since their last get, at once'
const ONE_STORE = 'gives two adapters on one store by `makeAdapter`, where it is shared'
const ENDED = 'an entry with a ttl is absent after its end'

/** Adapters with what can go wrong in one, and the test that has to find it. */
const DEFECTS: [name: string, makeAdapter: MakeAdapter, found: string | RegExp][] = [
  [
    'ignores expected null',
    putting(async (sound, key, value, expected, ttlMs) =>
      sound.put(key, value, expected ?? (await versionOf(sound, key)), ttlMs),
    ),
    NOT_FIRST,
  ],
  [
    'ignores the expected version',
    putting(async (sound, key, value, expected, ttlMs) =>
      sound.put(key, value, expected && ((await versionOf(sound, key)) ?? expected), ttlMs),
    ),
    'put with a version that was replaced resolves to null and changes nothing',
  ],
  [
    'creates an entry although a version was expected',
    putting(async (sound, key, value, expected, ttlMs) =>
      sound.put(key, value, (await sound.get(key)) && expected ? expected : null, ttlMs),
    ),
    'put with a version resolves to null when there is no entry, and creates none',
  ],
  [
    'writes although it says that another was first',
    putting(async (sound, key, value, expected, ttlMs) => {
      const version = await sound.put(key, value, expected, ttlMs)
      if (version === null) await sound.put(key, value, await versionOf(sound, key), ttlMs)
      return version
    }),
    NOT_FIRST,
  ],
  [
    'takes the empty version for null',
    putting((sound, key, value, expected, ttlMs) => sound.put(key, value, expected || null, ttlMs)),
    'a version of another form is a miss and no error: the empty string',
  ],
  // As HTTP and a kind parser of numbers read a version.
  ['takes * for any version', reading((text) => (text === '*' ? 'any' : [text])), foreign(/the asterisk/)],
  ['takes a list of versions', reading((text) => text.split(/, */)), foreign(/in a list, as HTTP/)],
  [
    'puts quotes around a version that may close them',
    reading((text) => `"${text}"`.split(/, */).map((one) => one.slice(1, -1))),
    foreign(/which closes a quote/),
  ],
  ['takes a weak ETag for the strong one', reading((text) => [text.replace(/^W\//, '')]), foreign(/as a weak ETag/)],
  ['takes quotes off a version', reading((text) => [text.replace(/^"(.*)"$/, '$1')]), foreign(/in quotes/)],
  ['trims a version', reading((text) => [text.trim()]), foreign(/with a blank behind/)],
  ['reads a version as a number', reading((text) => [text.replace(/^0/, '')]), foreign(/with a zero in front/)],
  [
    'deletes whatever entry there is for *',
    broken((sound) => ({
      delete: async (key, expected) =>
        sound.delete(key, expected === '*' ? String(await versionOf(sound, key)) : expected),
    })),
    foreign(/the asterisk/),
  ],
  ['repeats versions: a counter that starts again with each entry', counting('per entry'), /^a version never repeats/],
  [
    'repeats versions: a hash of the value',
    counting('of value'),
    'put of the same value is a write as well, with a new version',
  ],
  [
    'repeats versions: a counter of each adapter',
    counters('adapter'),
    'two adapters on one store, where it is shared, never give a version of the other one to an entry',
  ],
  [
    'keeps the ttl when an entry is replaced without one',
    () => ttlKeeping('kept'),
    'an entry with a ttl never expires when it is replaced without a ttl',
  ],
  [
    'keeps the old ttl when an entry is replaced with another one',
    () => ttlKeeping('first wins'),
    'an entry with a ttl is absent after its end also when it was replaced with a ttl',
  ],
  ['ignores the ttl', putting((sound, key, value, expected) => sound.put(key, value, expected)), ENDED],
  [
    'takes the ttl for microseconds',
    putting((sound, key, value, expected, ttlMs) => sound.put(key, value, expected, ttlMs && ttlMs / 1_000)),
    'an entry with a ttl is there before its end, counted in milliseconds',
  ],
  [
    'puts off the end of what is read',
    broken((sound) => {
      const ttls = new Map<string, number>()
      return {
        async put(key, value, expected, ttlMs) {
          const version = await sound.put(key, value, expected, ttlMs)
          if (version !== null) ttls.set(key, ttlMs ?? 0)
          return version
        },
        async get(key) {
          const entry = await sound.get(key)
          const ttl = ttls.get(key)
          if (entry && ttl) await sound.put(key, entry.value, entry.version, ttl)
          return entry
        },
      }
    }),
    'an entry with a ttl lives no longer because it was read',
  ],
  [
    'takes a ttl of more than 30 days for a time in the past, as Memcached does',
    putting((sound, key, value, expected, ttlMs = 0) =>
      sound.put(key, value, expected, ttlMs > 30 * 86_400_000 ? 1 : ttlMs || undefined),
    ),
    'an entry with a ttl may have a ttl of 400 days and of a part of a millisecond',
  ],
  ['rounds the ttl up to whole seconds', inSeconds(), ENDED],
  ['gives expired entries', () => neverForgetting({ get: true }), ENDED],
  [
    'replaces an expired entry by its version',
    () => neverForgetting({ put: true }),
    'an entry that has expired makes put with its version resolve to null, and stays absent',
  ],
  [
    'deletes an expired entry with success',
    () => neverForgetting({ delete: true }),
    'an entry that has expired makes delete with its version resolve to false',
  ],
  [
    'lets an expired entry block a new one',
    () => neverForgetting({ create: true }),
    'an entry that has expired counts as absent for put with null, which gives a new version',
  ],
  ['compares keys without case', keyed((key) => key.toLowerCase()), 'a key is another one in upper case'],
  ['trims keys', keyed((key) => key.trim()), 'a key is another one with a space behind'],
  [
    'cuts keys at 63 characters',
    keyed((key) => key.slice(0, 63)),
    'a key may have 64 characters, of which each counts',
  ],
  [
    'takes % in a key for any end',
    keyed((key) => key.slice(0, key.endsWith('%') ? -1 : undefined).slice(0, 44)),
    /^a key is another one ending in %/,
  ],
  [
    'keeps entries in a plain object',
    broken((sound) => ({
      get: async (key) => (await sound.get(key)) ?? ({} as Record<string, StoredEntry | undefined>)[key],
    })),
    'a key that is a property of every JavaScript object is absent until it is written',
  ],
  [
    'cuts values at 65,535 characters',
    valued((value) => value.slice(0, 65_535)),
    'a value comes back as it was put: 64 KiB',
  ],
  [
    'cuts values at 65,535 bytes',
    valued((value) => (value.length > 60_000 ? Buffer.from(value).subarray(0, 65_536).toString() : value)),
    'a value comes back as it was put: 64 KiB of characters beyond ASCII',
  ],
  [
    'trims values',
    valued((value) => value.trim()),
    'a value comes back as it was put: blanks and line breaks at both ends',
  ],
  [
    'takes the empty value for none',
    broken((sound) => ({ get: async (key) => [await sound.get(key)].find((entry) => entry?.value) })),
    'a value comes back as it was put: the empty string',
  ],
  [
    'writes values in Latin 1',
    valued((value) => Buffer.from(value, 'latin1').toString('latin1')),
    /^a value comes back as it was put: unicode/,
  ],
  ['normalises values', valued((value) => value.normalize('NFC')), /^a value comes back as it was put: unicode/],
  [
    'drops a byte order mark, as Response.text() does',
    valued((value) => value.replace(/^\uFEFF/, '')),
    'a value comes back as it was put: a byte order mark in front',
  ],
  [
    'decodes values as a URL',
    valued((value) => (/%[0-9A-F]/.test(value) ? decodeURIComponent(value) : value)),
    'a value comes back as it was put: what URLs and forms encode',
  ],
  [
    'decodes values as a form, where a plus is a blank',
    valued((value) => value.replaceAll('+', ' ')),
    'a value comes back as it was put: what URLs and forms encode',
  ],
  [
    'takes the value null for none',
    broken((sound) => ({ get: async (key) => [await sound.get(key)].find((entry) => entry?.value !== 'null') })),
    'a value comes back as it was put: the word null',
  ],
  [
    'takes the value undefined for none',
    broken((sound) => ({ get: async (key) => [await sound.get(key)].find((entry) => entry?.value !== 'undefined') })),
    'a value comes back as it was put: the word undefined',
  ],
  [
    'reads dates in JSON',
    valued((value) => value.replace(/^"(\d{4}-.*)\.000Z"$/, '"$1Z"')),
    'a value comes back as it was put: a date in JSON',
  ],
  [
    'keeps numbers as numbers',
    valued((value) => (/^[\d.]+$/.test(value) ? String(Number(value)) : value)),
    /^a value comes back as it was put: digits/,
  ],
  [
    'throws on a version of another form',
    putting((sound, key, value, expected, ttlMs) => {
      if (expected !== null && expected.length !== 36) throw new Error('invalid input syntax for type uuid')
      return sound.put(key, value, expected, ttlMs)
    }),
    'a version of another form is a miss and no error: the empty string',
  ],
  [
    'deletes whatever the version is',
    broken((sound) => ({ delete: async (key) => sound.delete(key, (await sound.get(key))?.version ?? '') })),
    'delete with a version that was replaced resolves to false and removes nothing',
  ],
  [
    'says that it deleted what was not there',
    broken((sound) => ({
      delete: async (key, expected) => (await sound.delete(key, expected)) || (await sound.get(key)) === undefined,
    })),
    'delete resolves to false when there is no entry, or no longer',
  ],
  [
    'deletes nothing',
    broken((sound) => ({ delete: async (key, expected) => (await sound.get(key))?.version === expected })),
    'delete with the stored version removes the entry and resolves to true',
  ],
  [
    'checks and creates in two steps',
    inTwoSteps('create'),
    'of many callers at once exactly one creates an entry by put',
  ],
  [
    'checks and replaces in two steps',
    inTwoSteps('replace'),
    'of many callers at once exactly one replaces an entry by put',
  ],
  [
    'checks and deletes in two steps',
    inTwoSteps('delete'),
    'of many callers at once exactly one deletes an entry by delete',
  ],
  [
    'rejects the losers of a race',
    putting(async (sound, ...args) => {
      const version = await sound.put(...args)
      if (version === null) throw new Error('conflict')
      return version
    }),
    NOT_FIRST,
  ],
  ['says that it is shared and is not', broken(() => ({ shared: true })), ONE_STORE],
  ['keeps what it has read', remembering((entry) => entry !== undefined), SINCE_THEN],
  ['keeps that there was nothing', remembering((entry) => entry === undefined), SINCE_THEN],
  [
    'resolves to null for nothing',
    broken((sound) => ({ get: async (key) => (await sound.get(key)) ?? (null as never) })),
    'get resolves to undefined for a key that was never written',
  ],
  [
    'lists keys in the order of a language',
    listing((keys) => keys.sort((a, b) => a.localeCompare(b, 'en'))),
    /in the order of their bytes/,
  ],
  [
    'lists the key that it was to begin behind',
    listing((_keys, { after, limit }, sorted) => sorted.filter((key) => key >= (after ?? '')).slice(0, limit)),
    /begins behind `after`/,
  ],
  ['lists more than it was asked for', listing((_keys, _page, sorted) => sorted), /`limit` keys at most/],
  [
    'lists one key less on each further page',
    listing((keys, { after, limit }) => keys.slice(0, after === undefined ? limit : limit - 1)),
    /every key once/,
  ],
  ['lists keys twice', listing((keys) => keys.flatMap((key) => [key, key])), /every key once/],
  ['lists what has expired', () => listingExpired(), /no key of an entry that has expired/],
  ['lists a page, and then leaves out what has expired', () => listingExpired(true), /a whole page of others/],
  [
    'refuses to list more than 1,000 keys',
    listing((keys, { limit }) => {
      if (limit > 1_000) throw new RangeError('MaxKeys')
      return keys
    }),
    /however large the pages are/,
  ],
  ['lists an iterator', listing((keys) => keys.values() as never), /in the order of their bytes/],
  [
    'does not say whether it is shared',
    broken(() => ({ shared: undefined as never })),
    'says with `shared` whether other processes see the same data',
  ],
]

/** Of some of them, what the test says that finds it. */
const MESSAGES: [name: string, message: RegExp][] = [
  ['ignores the ttl', /still there after the end of its ttl, and so it was a second later \(rule 5\)$/],
  [
    'rounds the ttl up to whole seconds',
    /still there .* a second later it was gone: a ttl counts in milliseconds \(rule 5\)$/,
  ],
  ['lists keys in the order of a language', /^list gave v1:\S+ in place \d+ of 15, where v1:\S+ belongs \(rule 8\)$/],
  ['lists more than it was asked for', /^list gave \d+ keys, and there are at least the 1 of its limit \(rule 8\)$/],
  [
    'checks and creates in two steps',
    /^16 callers at once, and put told \d+ and delete told 0 that they were first \(rule 1\)$/,
  ],
  [
    'checks and deletes in two steps',
    /^16 callers at once, and put told 0 and delete told \d+ that they were first \(rule 1\)$/,
  ],
  ['takes * for any version', /^put resolved to \S+ and not to null \(rule 4\)$/],
  ['deletes whatever entry there is for *', /^delete resolved to true and not to false \(rule 4\)$/],
  ['trims keys', /^get must resolve to undefined, it resolved to an entry \(rule 6\)$/],
  ['trims values', /^get gave another value than the one of \d+ characters that is stored \(rule 7\)$/],
  ['keeps what it has read', /^get gave another value than .* \(rule 9\)$/],
  ['repeats versions: a counter that starts again with each entry', /^a version came back: .* \(rule 3\)$/],
  [
    'repeats versions: a counter of each adapter',
    /^a version came back: 1, 1, .*; a counter in the adapter starts again with every adapter and every process \(rule 3\)$/,
  ],
  [
    'says that it is shared and is not',
    /^the second adapter of makeAdapter does not see what the first one wrote: if each call of makeAdapter opens a store of its own, open/,
  ],
  ['ignores expected null', /^put resolved to \S+ and not to null$/],
]

/** One whose list has the defect. `sorted`: all keys of the store. */
function listing(change: (keys: string[], page: KeyPage, sorted: string[]) => string[]): MakeAdapter {
  return () => {
    const sound = memory()
    return over(sound, {
      list: async (page) => change(await sound.list(page), page, await sound.list({ limit: Infinity })),
    })
  }
}

/** One that forgets the end of entries when it lists them, or thinks of it once it has a page. */
function listingExpired(isThoughtOf = false): StorageAdapter {
  const sound = memory()
  const all = new Set<string>()
  return over(sound, {
    put(key, ...rest) {
      all.add(key)
      return sound.put(key, ...rest)
    },
    async list({ after = '', limit }) {
      const behind = [...all].filter((key) => key > after).sort()
      const live = new Set(isThoughtOf ? await sound.list({ limit: Infinity }) : behind)
      return behind.slice(0, limit).filter((key) => live.has(key))
    },
  })
}

/** One whose versions count: the writes of the whole store, or of each key, also when the entry is gone. Or the calls of put of each adapter. */
function counters(of: 'store' | 'key' | 'adapter'): MakeAdapter {
  const entries = new Map<string, StoredEntry & { end: number }>()
  const counts = new Map<string, number>()
  const live = (key: string) => [entries.get(key)].find((entry) => entry && entry.end > clock.monotonic())
  let adapters = 0
  return () => {
    adapters += 1
    return counter(`adapter ${adapters}`)
  }
  function counter(name: string): StorageAdapter {
    return {
      shared: true,
      get: (key) => {
        const entry = live(key)
        return Promise.resolve(entry && { value: entry.value, version: entry.version })
      },
      put(key, value, expected, ttlMs) {
        const counted = { store: '', key, adapter: name }[of]
        const count = (counts.get(counted) ?? 0) + 1
        if (of === 'adapter') counts.set(counted, count)
        if ((live(key)?.version ?? null) !== expected) return Promise.resolve(null)
        counts.set(counted, count)
        entries.set(key, { value, version: String(count), end: clock.monotonic() + (ttlMs ?? Infinity) })
        return Promise.resolve(String(count))
      },
      delete: (key, expected) => Promise.resolve(live(key)?.version === expected && entries.delete(key)),
    }
  }
}

/** Versions that come back. */
function counting(how: 'per entry' | 'of value'): MakeAdapter {
  return () => {
    const entries = new Map<string, StoredEntry>()
    return {
      shared: false,
      get: (key) => Promise.resolve(entries.get(key)),
      put(key, value, expected) {
        const before = entries.get(key)?.version ?? null
        if (before !== expected) return Promise.resolve(null)
        const version = how === 'of value' ? `hash of ${value}` : String(Number(before) + 1)
        entries.set(key, { value, version })
        return Promise.resolve(version)
      },
      delete: (key, expected) => Promise.resolve(entries.get(key)?.version === expected && entries.delete(key)),
    }
  }
}

/** An end that is carried over from one write to the next. */
function ttlKeeping(how: 'kept' | 'first wins'): StorageAdapter {
  const sound = memory()
  const ends = new Map<string, number>()
  return over(sound, {
    async put(key, value, expected, ttlMs) {
      const end = expected === null ? undefined : ends.get(key)
      const left = end === undefined ? undefined : Math.max(1, end - clock.monotonic())
      const ttl = how === 'kept' ? (ttlMs ?? left) : (left ?? ttlMs)
      const version = await sound.put(key, value, expected, ttl)
      if (version !== null && ttl !== undefined) ends.set(key, clock.monotonic() + ttl)
      return version
    },
  })
}

/** One that looks at the end of an entry in all calls but those. */
function neverForgetting(blind: { get?: true; put?: true; delete?: true; create?: true }): StorageAdapter {
  const entries = new Map<string, StoredEntry & { end: number }>()
  const live = (key: string, regardless: true | undefined) => {
    const entry = entries.get(key)
    return entry && (regardless || entry.end > clock.monotonic()) ? entry : undefined
  }
  return {
    shared: false,
    get(key) {
      const entry = live(key, blind.get)
      return Promise.resolve(entry && { value: entry.value, version: entry.version })
    },
    put(key, value, expected, ttlMs) {
      const entry = live(key, expected === null ? blind.create : blind.put)
      if ((entry?.version ?? null) !== expected) return Promise.resolve(null)
      const version = randomUUID()
      entries.set(key, { value, version, end: clock.monotonic() + (ttlMs ?? Infinity) })
      return Promise.resolve(version)
    },
    delete: (key, expected) => Promise.resolve(live(key, blind.delete)?.version === expected && entries.delete(key)),
  }
}

/** One that reads other texts in an expected version than that version: any of them, or any at all. */
function reading(read: (expected: string) => readonly string[] | 'any'): MakeAdapter {
  return putting(async (sound, key, value, expected, ttlMs) => {
    const stored = await versionOf(sound, key)
    if (expected === null || stored === null) return sound.put(key, value, expected, ttlMs)
    const found = read(expected)
    return sound.put(key, value, found === 'any' || found.includes(stored) ? stored : expected, ttlMs)
  })
}

/** One that counts a ttl in seconds. */
function inSeconds(): MakeAdapter {
  return putting((sound, key, value, expected, ttlMs) =>
    sound.put(key, value, expected, ttlMs && Math.ceil(ttlMs / 1_000) * 1_000),
  )
}

/** Adapters on one store, each of which keeps some of what it has read and forgets it with a write of its own. */
function remembering(isKept: (entry: StoredEntry | undefined) => boolean): MakeAdapter {
  const sound = memory()
  return () => {
    const kept = new Map<string, StoredEntry | undefined>()
    return over(sound, {
      shared: true,
      async get(key) {
        if (kept.has(key)) return kept.get(key)
        const entry = await sound.get(key)
        if (isKept(entry)) kept.set(key, entry)
        return entry
      },
      put(key, ...rest) {
        kept.delete(key)
        return sound.put(key, ...rest)
      },
      delete(key, expected) {
        kept.delete(key)
        return sound.delete(key, expected)
      },
    })
  }
}

/** One that changes keys on their way in. */
function keyed(change: (key: string) => string): MakeAdapter {
  return broken((sound) => ({
    get: (key) => sound.get(change(key)),
    put: (key, ...rest) => sound.put(change(key), ...rest),
    delete: (key, expected) => sound.delete(change(key), expected),
  }))
}

/** One that changes values on their way in. */
function valued(change: (value: string) => string): MakeAdapter {
  return putting((sound, key, value, ...rest) => sound.put(key, change(value), ...rest))
}

/** One that reads, lets others go on, and then writes whatever has become of it. */
function inTwoSteps(step: 'create' | 'replace' | 'delete'): MakeAdapter {
  return broken((sound) => ({
    async put(key, value, expected, ttlMs) {
      if (step !== (expected === null ? 'create' : 'replace')) return sound.put(key, value, expected, ttlMs)
      if ((await versionOf(sound, key)) !== expected) return null
      await turn()
      return sound.put(key, value, await versionOf(sound, key), ttlMs)
    },
    async delete(key, expected) {
      if (step !== 'delete') return sound.delete(key, expected)
      if ((await versionOf(sound, key)) !== expected) return false
      await turn()
      await sound.delete(key, expected)
      return true
    },
  }))
}

let emitWarning: MockInstance<(message: string) => void>
beforeAll(() => {
  emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})
afterAll(() => emitWarning.mockRestore())

describe('the storage contract', () => {
  it('is kept by a sound adapter, in every test', async () => {
    const { passed, failed } = await recordedSuite(memory, options)
    expect(failed).toEqual([])
    expect(passed.length).toBeGreaterThan(60)
    expect(new Set(passed).size).toBe(passed.length)
  })

  it.each(['store', 'key'] as const)('is kept by an adapter whose versions count the writes of each %s', async (of) => {
    expect((await recordedSuite(counters(of), options)).failed).toEqual([])
  })

  const LEFT_OUT = [
    'two adapters on one store, because the adapter says that it is not `shared`',
    'list, which the adapter does not have',
    'whether calls reject. Give options.unavailable, which makes an adapter over a store that is gone',
  ]

  it('is kept by an adapter that is not shared and has no list, and says once what is left out', async () => {
    emitWarning.mockClear()
    const { failed } = await recordedSuite(() => over(memory()), options)
    expect(failed).toEqual([])
    expect(emitWarning.mock.calls).toEqual(LEFT_OUT.map((what) => [`LEFT OUT of the storage contract: ${what}`]))
  })

  it('skips what is left out where the runner can skip a test that runs, without a warning', async () => {
    emitWarning.mockClear()
    const { passed, failed, skipped } = await recordedSuite(() => over(memory()), options, { canSkip: true })
    expect(failed).toEqual([])
    const groups = [/^gives two adapters/, /^two adapters/, /^list/, /^the store: gone/]
    expect(groups.map((group) => skipped.filter((title) => group.test(title)).length)).toEqual([1, 5, 8, 1])
    expect(passed.filter((title) => groups.some((group) => group.test(title)))).toEqual([])
    expect(emitWarning).not.toHaveBeenCalled()
  })

  it.each(MESSAGES)('says what an adapter does wrong that %s', async (name, message) => {
    const [, makeAdapter] = DEFECTS.find(([title]) => title === name)!
    const { messages } = await recordedSuite(makeAdapter, options)
    expect(messages).toContainEqual(expect.stringMatching(message))
    // Words, to which a runner's assert adds nothing.
    expect(messages.filter((text) => /expected .* to (?:be|equal)|===|!==/.test(text))).toEqual([])
  })

  it.each(DEFECTS)('finds an adapter that %s', async (_name, makeAdapter, found) => {
    const { failed } = await recordedSuite(makeAdapter, options)
    expect(failed).toContainEqual(typeof found === 'string' ? found : expect.stringMatching(found))
  })

  it('closes each adapter that it asked for, once', async () => {
    const closed: StorageAdapter[] = []
    const made: StorageAdapter[] = []
    const sound = memory()
    const { failed } = await recordedSuite(() => {
      const adapter: StorageAdapter = Object.assign(over(sound, { shared: true }), {
        close: () => Promise.resolve(void closed.push(adapter)),
      })
      made.push(adapter)
      return adapter
    }, options)
    expect(failed).toEqual([])
    expect(closed).toHaveLength(made.length)
    expect(new Set(closed)).toEqual(new Set(made))
  })

  it('waits in real time when it is given no other way', async () => {
    const { failed } = await recordedSuite(() => new MemoryStorage())
    expect(failed).toEqual([])
  })

  it('waits for no longer ttl where the store is fast and the adapter wrong', async () => {
    const now = vi.spyOn(performance, 'now').mockImplementation(clock.monotonic)
    const waits: number[] = []
    const wait = (ms: number) => {
      waits.push(ms)
      return options.wait(ms)
    }
    const { failed } = await recordedSuite(() => ttlKeeping('kept'), { wait }).finally(() => now.mockRestore())
    expect(failed).toContain('an entry with a ttl never expires when it is replaced without a ttl')
    expect(Math.max(...waits)).toBeLessThanOrEqual(1_000)
  })

  it('gives a slow store a longer ttl before it judges', async () => {
    const now = vi.spyOn(performance, 'now').mockImplementation(clock.monotonic)
    // Each write takes longer than the first ttl that is tried.
    const slow = putting(async (sound, ...args) => {
      const version = await sound.put(...args)
      if (args[3] === 300) clock.advance(310)
      return version
    })
    const { passed } = await recordedSuite(slow, options).finally(() => now.mockRestore())
    expect(passed).toContain('an entry with a ttl lives on when it is replaced with a longer ttl')
    expect(passed).toContain('an entry with a ttl never expires when it is replaced without a ttl')
  })
})

describe('the group of the storage contract for a store that is gone', () => {
  const gone = () => Promise.reject(new Error('connection refused'))
  const thrown = () => {
    throw new Error('connection refused')
  }
  const failing =
    (change: Partial<Calls> = {}) =>
    (): StorageAdapter => ({ shared: true, get: gone, put: gone, delete: gone, ...change })
  const group = /^the store: gone/
  const failedOf = async (makeGone: () => StorageAdapter) =>
    (await recordedSuite(memory, { ...options, unavailable: makeGone })).failed

  it('is left out of list where the adapter has none, and found in the other calls', async () => {
    const unavailable = () => over(failing()())
    const { passed, failed, skipped } = await recordedSuite(memory, { ...options, unavailable }, { canSkip: true })
    expect(failed).toEqual([])
    expect(skipped.filter((title) => group.test(title))).toEqual([
      'the store: gone list, where the adapter has it, rejects',
    ])
    expect(passed).toContainEqual('the store: gone get rejects')
  })

  it('is left out, and says so, without options.unavailable', async () => {
    const { passed, failed } = await recordedSuite(memory, options)
    expect([...passed, ...failed].filter((title) => group.test(title))).toEqual([
      'the store: gone LEFT OUT: whether calls reject. Give options.unavailable, which makes an adapter over a store that is gone',
    ])
  })

  it('is passed by an adapter that rejects every call', async () => {
    const { passed, failed } = await recordedSuite(memory, { ...options, unavailable: failing() })
    expect(failed).toEqual([])
    expect(passed.filter((title) => group.test(title))).toHaveLength(8)
  })

  const swallowing: [name: string, change: Partial<Calls>, found: string][] = [
    ['get resolves to undefined', { get: () => Promise.resolve(undefined) }, 'get rejects'],
    ['put resolves to null', { put: () => Promise.resolve(null) }, 'put with a version rejects'],
    ['put resolves to a version', { put: () => Promise.resolve('version') }, 'put with null rejects'],
    ['delete resolves to false', { delete: () => Promise.resolve(false) }, 'delete rejects'],
    [
      'a foreign version is a miss without a look at the store',
      { put: (_key, _value, expected) => (expected === 'foreign' ? Promise.resolve(null) : gone()) },
      'put with a foreign version rejects',
    ],
    ['get throws instead of rejecting', { get: thrown }, 'get rejects'],
  ]
  it.each(swallowing)('finds that %s', async (_name, change, found) => {
    expect(await failedOf(failing(change))).toContain(`the store: gone ${found}`)
  })

  it('has a group for each way that is named, which finds what is swallowed in that way alone', async () => {
    const ways = { 'refuses connections': failing(), 'answers 503': failing({ put: () => Promise.resolve(null) }) }
    const { passed, failed } = await recordedSuite(memory, { ...options, unavailable: ways })
    expect(passed.filter((title) => title.startsWith('the store: refuses connections '))).toHaveLength(8)
    expect(failed).toHaveLength(4)
    expect(failed.filter((title) => !title.startsWith('the store: answers 503 put '))).toEqual([])
  })

  it('is left out when no way is named', async () => {
    const { passed } = await recordedSuite(memory, { ...options, unavailable: {} })
    expect(passed).toContainEqual(expect.stringMatching(/^the store: gone LEFT OUT/))
  })

  it('does not wait for a call that hangs longer than the package would', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const silent = failing({ get: () => new Promise(() => undefined) })
    const recorded = recordedSuite(memory, { ...options, unavailable: { hangs: silent } })
    const timer = setInterval(() => vi.advanceTimersByTime(1_000), 1)
    const { failed, messages } = await recorded.finally(() => clearInterval(timer))
    expect(failed).toEqual(['the store: hangs get rejects'])
    expect(messages).toEqual(['the first call of get did not end within 5000 ms, the store: hangs (rule 2)'])
  })

  it('finds an adapter that rejects the first call only', async () => {
    const found = await failedOf(() => {
      let calls = 0
      return failing({ get: () => (calls++ === 0 ? gone() : Promise.resolve(undefined)) })()
    })
    expect(found).toEqual(['the store: gone get rejects'])
  })
})
