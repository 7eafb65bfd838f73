import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { randomUUID } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, assert, beforeAll, describe, expect, it } from 'vitest'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { type SqliteDatabase, SqliteStorage } from '../../src/storage/sqlite.js'
import { storageContract } from '../../src/testing/storage-contract.js'
import { has, leaveOut } from '../support/left-out.js'
import { built, inTenProcesses } from './ten-processes.js'

type OpenDatabase = SqliteDatabase & { close: () => unknown }
type Open = (file: string) => OpenDatabase

const drivers: [name: string, open: Open, module: string][] = []
if (has('better-sqlite3') && Database) {
  const BetterSqlite3 = Database
  // The types of better-sqlite3 fit without a cast.
  drivers.push(['better-sqlite3', (file) => new BetterSqlite3(file), '@mcp-nextcloud-auth/sqlite-driver'])
}
// Not literal, since the types of Node 20 know of none.
const NODE_SQLITE: string = 'node:sqlite'
const nodeSqlite = await import(NODE_SQLITE).then(
  (module: { DatabaseSync: new (file: string) => OpenDatabase }) => module,
  () => undefined,
)
if (nodeSqlite) drivers.push(['node:sqlite', (file) => new nodeSqlite.DatabaseSync(file), 'node:sqlite'])
else leaveOut('node:sqlite', `Node ${process.versions.node} has none`)

let folder: string
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sqlite-'))
})
afterAll(() => {
  rmSync(folder, { recursive: true })
})
const freshFile = () => path.join(folder, `${randomUUID()}.db`)

describe.each(drivers)('SqliteStorage over %s', (_name, open, module) => {
  const opened: OpenDatabase[] = []
  afterAll(() => {
    for (const database of opened) database.close()
  })
  const freshDatabase = (file = freshFile()) => {
    const database = open(file)
    opened.push(database)
    return database
  }
  /** An adapter that closes the connection that was opened for it. */
  const closing = (file: string): StorageAdapter => {
    const database = open(file)
    return Object.assign(new SqliteStorage(database), { close: () => Promise.resolve(void database.close()) })
  }
  const rows = (database: SqliteDatabase) =>
    database.prepare('SELECT key FROM mcp_nextcloud_auth ORDER BY key').all().length
  const pragma = (database: SqliteDatabase, name: string) =>
    Object.values(database.prepare(`PRAGMA ${name}`).get() as Record<string, unknown>)[0]
  const mode = (file: string) => (statSync(file).mode & 0o777).toString(8)

  describe('with a file', () => {
    let file: string
    beforeAll(() => {
      file = freshFile()
    })
    storageContract({ describe, it, assert }, () => closing(file), {
      unavailable: {
        'was closed'() {
          const database = open(freshFile())
          database.close()
          return new SqliteStorage(database)
        },
        'is a file of something else'() {
          const other = freshFile()
          writeFileSync(other, 'Not a database. '.repeat(1_000))
          return closing(other)
        },
      },
    })
  })

  describe('with a database in memory', () => {
    const database = freshDatabase(':memory:')
    storageContract({ describe, it, assert }, () => new SqliteStorage(database))
  })

  it('makes the file readable by its owner only, with its -wal and -shm', async () => {
    const file = freshFile()
    await new SqliteStorage(freshDatabase(file)).put('key', 'value', null)
    expect([file, `${file}-wal`, `${file}-shm`].map(mode)).toEqual(['600', '600', '600'])
  })

  it('takes the rights of others from files that are there already', async () => {
    const file = freshFile()
    await new SqliteStorage(freshDatabase(file)).put('key', 'value', null)
    for (const one of [file, `${file}-wal`, `${file}-shm`]) chmodSync(one, 0o644)
    await new SqliteStorage(freshDatabase(file)).get('key')
    expect([file, `${file}-wal`, `${file}-shm`].map(mode)).toEqual(['600', '600', '600'])
  })

  it('uses WAL, syncs every write and waits for other writers', async () => {
    const database = freshDatabase()
    database.exec('PRAGMA synchronous = OFF')
    database.exec('PRAGMA busy_timeout = 0')
    await new SqliteStorage(database).get('key')
    expect(pragma(database, 'journal_mode')).toBe('wal')
    // 2 is FULL.
    expect(pragma(database, 'synchronous')).toBe(2)
    expect(pragma(database, 'busy_timeout')).toBe(5_000)
  })

  it('works when ten processes start at once on a file that is not there yet', async () => {
    const file = freshFile()
    const resolved = module.startsWith('node:') ? module : import.meta.resolve(module)
    const outcomes = await inTenProcesses(
      `import * as driver from ${JSON.stringify(resolved)}
      import { SqliteStorage } from ${built('sqlite')}
      const storage = new SqliteStorage(new (driver.Database ?? driver.DatabaseSync)(${JSON.stringify(file)}))
      const created = await storage.put('one', String(process.pid), null)
      for (let count = 0; count < 20; ) {
        const entry = await storage.get('count')
        const next = String(Number(entry?.value ?? 0) + 1)
        if ((await storage.put('count', next, entry?.version ?? null)) !== null) count += 1
      }
      console.log(created !== null)`,
    )
    expect(outcomes.filter((created) => created === 'true')).toHaveLength(1)
    expect((await new SqliteStorage(freshDatabase(file)).get('count'))?.value).toBe('200')
  })

  it('waits for a lock that another connection holds for a moment while it sets itself up', async () => {
    const file = freshFile()
    const other = freshDatabase(file)
    const database = freshDatabase(file)
    // Not waited for by SQLite, since this process is the one that would have to let go meanwhile.
    const impatient = {
      ...bound(database),
      exec: (sql: string) => database.exec(sql.replace(/busy_timeout = \d+/, 'busy_timeout = 0')),
    }
    other.exec('CREATE TABLE x (a)')
    other.exec('BEGIN EXCLUSIVE')
    const pending = new SqliteStorage(impatient).put('key', 'value', null)
    await new Promise((resolve) => setImmediate(resolve))
    other.exec('COMMIT')
    expect(await pending).toEqual(expect.any(String))
  })

  it('rejects while the file cannot be opened for writing, and works once it can', async () => {
    const database = freshDatabase()
    let broken = true
    const failing: SqliteDatabase = {
      exec: (sql) => {
        if (broken) throw new Error('disk I/O error')
        return database.exec(sql)
      },
      prepare: (sql) => database.prepare(sql),
    }
    const storage = new SqliteStorage(failing)
    await expect(storage.get('key')).rejects.toThrow('disk I/O error')
    broken = false
    expect(await storage.get('key')).toBeUndefined()
  })

  it('removes expired rows in passing, some at a time', async () => {
    const database = freshDatabase()
    const storage = new SqliteStorage(database)
    await storage.put('lives', 'value', null, 60_000)
    const insert = database.prepare(
      'INSERT INTO mcp_nextcloud_auth (key, value, version, expires_at) VALUES (?, ?, ?, 1)',
    )
    for (let index = 0; index < 150; index += 1) insert.run(`expired ${index}`, 'value', randomUUID())
    const counts: number[] = []
    for (let write = 0; write < 128; write += 1) {
      await storage.put('often', 'value', (await storage.get('often'))?.version ?? null)
      counts.push(rows(database))
    }
    expect([...new Set(counts)]).toEqual([152, 52, 2])
    expect(await storage.get('lives')).toBeDefined()
  })

  it('keeps a write that was made when removing expired rows fails', async () => {
    const database = freshDatabase()
    const storage = new SqliteStorage({
      ...bound(database),
      prepare: (sql) => {
        const statement = database.prepare(sql)
        if (!/DELETE.*LIMIT/s.test(sql)) return statement
        return {
          ...statement,
          get: () => undefined,
          all: () => [],
          run: () => {
            throw new Error('interrupted')
          },
        }
      },
    })
    const version = await storage.put('key', 'value', null)
    expect(await storage.get('key')).toEqual({ value: 'value', version })
  })

  it('says what to do when there is no table and it may not make one; setup() makes it, also twice', async () => {
    const storage = new SqliteStorage(freshDatabase(), { autoCreate: false })
    await expect(storage.put('key', 'value', null)).rejects.toThrow(
      'The table mcp_nextcloud_auth is missing and autoCreate is false: call setup() once, as a user who may create tables',
    )
    await storage.setup()
    const version = await storage.put('key', 'value', null)
    await storage.setup()
    expect(await storage.get('key')).toEqual({ value: 'value', version })
  })

  it('uses the table that it is told to', async () => {
    const database = freshDatabase()
    const version = await new SqliteStorage(database, { table: 'Grants_2' }).put('key', 'value', null)
    expect(database.prepare('SELECT version FROM Grants_2').get()).toEqual({ version })
    expect(await new SqliteStorage(database).get('key')).toBeUndefined()
  })
})

const bound = (database: SqliteDatabase): SqliteDatabase => ({
  exec: (sql) => database.exec(sql),
  prepare: (sql) => database.prepare(sql),
})
