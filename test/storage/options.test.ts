import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors/errors.js'
import { MemoryStorage, type MemoryStorageOptions } from '../../src/storage/memory.js'
import { MySqlStorage } from '../../src/storage/mysql.js'
import { PostgresStorage } from '../../src/storage/postgres.js'
import { RedisStorage } from '../../src/storage/redis.js'
import { SqliteStorage } from '../../src/storage/sqlite.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'

const nothing = (): undefined => undefined

/** Each adapter: how it is made, a client of the right shape, others, and options that are wrong or unknown, with their names. */
const adapters: [
  name: string,
  make: (client: never, options?: object) => StorageAdapter,
  good: object,
  bad: unknown[],
  needs: string,
  wrong: [option: string, options: object][],
][] = [
  [
    'SqliteStorage',
    (client, options) => new SqliteStorage(client, options),
    { exec: nothing, prepare: nothing },
    [undefined, null, 'file.db', {}, { query: nothing }],
    'SqliteStorage needs a database of better-sqlite3 (new Database(path)) or node:sqlite (new DatabaseSync(path))',
    [
      ['tables', { tables: 'x' }],
      ['autoCreate', { autoCreate: 'no' }],
      ['table', { table: '' }],
      ['table', { table: 'a"b' }],
      ['table', { table: 'main.grants' }],
      ['table', { table: '1st' }],
      ['table', { table: 'sqlite_x' }],
      ['table', { table: 'x'.repeat(51) }],
    ],
  ],
  [
    'PostgresStorage',
    (client, options) => new PostgresStorage(client, options),
    { query: nothing },
    [undefined, null, 'postgres://localhost', {}],
    'PostgresStorage needs a Pool of pg (new pg.Pool(…)), or an object with its query()',
    [
      ['tables', { tables: 'x' }],
      ['autoCreate', { autoCreate: 1 }],
      ['table', { table: 'a.b.c' }],
      ['table', { table: 'a.' }],
      ['table', { table: 'x; DROP TABLE y' }],
      ['table', { table: 'a"b' }],
    ],
  ],
  [
    'MySqlStorage',
    (client, options) => new MySqlStorage(client, options),
    { query: nothing },
    [undefined, null, 'mysql://localhost', {}, { promise: nothing }],
    'MySqlStorage needs a pool of mysql2 (createPool(…)), or an object with its query()',
    [
      ['tables', { tables: 'x' }],
      ['autoCreate', { autoCreate: 1 }],
      ['table', { table: 'a.b.c' }],
      ['table', { table: 'a.' }],
      ['table', { table: 'x; DROP TABLE y' }],
      ['table', { table: 'a`b' }],
    ],
  ],
  [
    'RedisStorage',
    (client, options) => new RedisStorage(client, options),
    { eval: nothing, evalSha: nothing },
    [undefined, null, 'redis://localhost', {}, { eval: nothing }, { evalSha: nothing }],
    'RedisStorage needs a client of redis (createClient(), connected) or ioredis (new Redis())',
    [
      ['keyPrefix', { keyPrefix: 'x' }],
      ['prefix', { prefix: 1 }],
      ['prefix', { prefix: '' }],
    ],
  ],
]

describe.each(adapters)('%s', (_name, make, good, bad, needs, wrong) => {
  it('is shared with other processes', () => {
    expect(make(good as never).shared).toBe(true)
  })

  it.each(bad)('says what it needs when it is given %o', (client) => {
    expect(() => make(client as never)).toThrow(new ConfigurationError(needs))
  })

  it.each(wrong)('refuses a wrong or unknown option by its name: %s', (option, options) => {
    expect(() => make(good as never, options)).toThrow(
      expect.objectContaining({ constructor: ConfigurationError, option }),
    )
  })
})

it.each([
  ['maxEntries', { maxEntries: 0 }],
  ['maxEntries', { maxEntries: 1.5 }],
  ['max', { max: 5 }],
])('MemoryStorage refuses a wrong or unknown option by its name: %s', (option, options) => {
  expect(() => new MemoryStorage(options as MemoryStorageOptions)).toThrow(
    expect.objectContaining({ constructor: ConfigurationError, option }),
  )
})
