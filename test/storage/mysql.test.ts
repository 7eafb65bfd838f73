import { createPool as createCallbackPool } from 'mysql2'
import { createPool, type Pool, type PoolOptions } from 'mysql2/promise'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, assert, beforeAll, describe, expect, it, vi } from 'vitest'
import { ConfigurationError } from '../../src/errors/errors.js'
import { nameOfFailure } from '../../src/errors/failure-name.js'
import { type MySqlPromisePool, MySqlStorage } from '../../src/storage/mysql.js'
import { storageContract } from '../../src/testing/storage-contract.js'
import { has } from '../support/left-out.js'
import { startMariaDbServer } from '../support/mariadb-server.js'
import { failureOf } from '../support/promises.js'
import { freshMariaDb } from '../support/shared-servers.js'
import { startTcpGate } from '../support/tcp-gate.js'
import { closedPort, silentPort } from '../support/unusable-ports.js'
import { built, inTenProcesses } from './ten-processes.js'

const pools: Pool[] = []
function poolOf(uri: string, options: PoolOptions = {}): Pool {
  const pool = createPool({ uri, connectionLimit: 4, connectTimeout: 2_000, ...options })
  pools.push(pool)
  return pool
}
const poolAt = (port: number) => poolOf(`mysql://127.0.0.1:${port}/x`, { connectTimeout: 200 })
/** Each connection of it begins with a statement. */
function poolThatBegins(uri: string, statement: string, options?: PoolOptions): Pool {
  const pool = poolOf(uri, options)
  pool.pool.on('connection', (connection) => connection.query(statement))
  return pool
}
afterAll(() => Promise.all(pools.map((pool) => pool.end().catch(() => undefined))))

async function rowsOf<T>(pool: Pool, sql: string): Promise<T[]> {
  const [rows] = await pool.query(sql)
  return rows as T[]
}
const counted = async (pool: Pool): Promise<number> =>
  (await rowsOf<{ count: number }>(pool, 'SELECT count(*) AS count FROM mcp_nextcloud_auth'))[0]!.count

/** What a server and a pool may be set to, and the adapter must not depend on. */
const settings: [name: string, statement: string, options: PoolOptions][] = [
  [
    'that is lax, in another character set and time zone, whose pool counts the rows that were changed',
    `SET SESSION sql_mode = '', NAMES latin1 COLLATE latin1_german1_ci, SESSION time_zone = '-11:00',
      SESSION tx_isolation = 'READ-COMMITTED'`,
    { flags: ['-FOUND_ROWS'] },
  ],
  [
    'that is strict, knows no backslash and serializes, whose pool gives rows in another form',
    `SET SESSION sql_mode = 'ANSI,TRADITIONAL,NO_BACKSLASH_ESCAPES', SESSION tx_isolation = 'SERIALIZABLE'`,
    { rowsAsArray: true, nestTables: '_', typeCast: false, namedPlaceholders: true, charset: 'latin1_swedish_ci' },
  ],
]

if (has('MariaDB')) {
  describe('MySqlStorage', () => {
    let url: string
    let pool: Pool
    beforeAll(async () => {
      url = await freshMariaDb()
      pool = poolOf(url)
    })
    const freshPool = async () => poolOf(await freshMariaDb())

    storageContract({ describe, it, assert }, () => new MySqlStorage(pool), {
      unavailable: {
        async 'is over a pool that has ended'() {
          const gone = poolOf(url)
          await gone.end()
          return new MySqlStorage(gone)
        },
        'refuses connections': async () => new MySqlStorage(poolAt(await closedPort())),
        hangs: async () => new MySqlStorage(poolAt(await silentPort())),
      },
    })

    describe('over a pool with callbacks', () => {
      let callbacks: ReturnType<typeof createCallbackPool>
      beforeAll(async () => {
        callbacks = createCallbackPool({ uri: await freshMariaDb(), connectionLimit: 8 })
        pools.push(callbacks.promise())
      })
      storageContract({ describe, it, assert }, () => new MySqlStorage(callbacks))
    })

    describe.each(settings)('at a server %s', (_name, statement, options) => {
      let other: Pool
      beforeAll(async () => {
        other = poolThatBegins(await freshMariaDb(), statement, { connectionLimit: 8, ...options })
      })
      storageContract({ describe, it, assert }, () => new MySqlStorage(other))
    })

    it('works when ten processes start at once on a database without the table', async () => {
      const created = await inTenProcesses(
        `import { createPool } from ${JSON.stringify(import.meta.resolve('mysql2/promise'))}
        import { MySqlStorage } from ${built('mysql')}
        const pool = createPool({ uri: ${JSON.stringify(await freshMariaDb())} })
        // Connected before, so that they really start at once.
        await pool.query('SELECT 1')
        const versions = await Promise.all([1, 2, 3].map(() => new MySqlStorage(pool).put('key', 'value', null)))
        console.log(versions.filter((version) => version !== null).length)
        await pool.end()`,
      )
      expect(created.sort()).toEqual(['0', '0', '0', '0', '0', '0', '0', '0', '0', '1'])
    })

    it('says what to do when there is no table and it may not make one', async () => {
      const storage = new MySqlStorage(await freshPool(), { autoCreate: false })
      const refused = expect.objectContaining({
        constructor: ConfigurationError,
        option: 'autoCreate',
        message:
          'The table mcp_nextcloud_auth is missing and autoCreate is false: call setup() once, as a user who may create tables',
      }) as unknown
      await expect(storage.get('key')).rejects.toEqual(refused)
      await expect(storage.put('key', 'value', null)).rejects.toEqual(refused)
      await expect(storage.delete('key', randomUUID())).rejects.toEqual(refused)
      await storage.setup()
      expect(await storage.put('key', 'value', null)).toEqual(expect.any(String))
    })

    it('works for a user who may create no tables, once the table is there', async () => {
      const fresh = await freshMariaDb()
      const owner = poolOf(fresh)
      await new MySqlStorage(owner).setup()
      const user = `user_${randomUUID().slice(0, 8)}`
      await owner.query(`CREATE USER ${user}@'127.0.0.1'`)
      await owner.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON mcp_nextcloud_auth TO ${user}@'127.0.0.1'`)
      const limited = new MySqlStorage(poolOf(fresh.replace('root@', `${user}@`)))
      const version = (await limited.put('key', 'value', null))!
      expect(await limited.get('key')).toEqual({ value: 'value', version })
      expect(await limited.delete('key', version)).toBe(true)
    })

    it('uses the database and the table that it is told to', async () => {
      const fresh = await freshPool()
      const name = new URL(await freshMariaDb()).pathname.slice(1)
      const version = await new MySqlStorage(fresh, { table: `${name}.Order` }).put('key', 'value', null)
      const rows = await rowsOf<{ version: Buffer }>(fresh, `SELECT version FROM ${name}.\`Order\``)
      expect(rows.map((row) => String(row.version))).toEqual([version])
    })

    it('makes the table and its index again when they were dropped under it', async () => {
      const fresh = await freshPool()
      const storage = new MySqlStorage(fresh)
      await storage.put('key', 'value', null)
      await fresh.query('DROP TABLE mcp_nextcloud_auth')
      expect(await storage.get('key')).toBeUndefined()
      const indexes = await rowsOf<{ Key_name: string }>(fresh, 'SHOW INDEX FROM mcp_nextcloud_auth')
      expect(indexes.map((row) => row.Key_name)).toEqual(['PRIMARY', 'mcp_nextcloud_auth_expires_at'])
    })

    it('makes a table of InnoDB, whatever the default is, since others forget in a crash', async () => {
      const fresh = poolThatBegins(await freshMariaDb(), 'SET SESSION default_storage_engine = MyISAM')
      await new MySqlStorage(fresh).setup()
      const [status] = await rowsOf<{ Engine: string }>(fresh, `SHOW TABLE STATUS LIKE 'mcp_nextcloud_auth'`)
      expect(status!.Engine).toBe('InnoDB')
    })

    it('tells keys apart by their bytes: case, accents and spaces at the end', async () => {
      const storage = new MySqlStorage(pool)
      const base = randomUUID()
      const keys = [`${base}a`, `${base}A`, `${base}ä`, `${base}a `, `${base}a\0`]
      for (const key of keys) expect(await storage.put(key, key, null)).toEqual(expect.any(String))
      for (const key of keys) expect(await storage.get(key)).toMatchObject({ value: key })
    })

    it('refuses a key that the server would cut short, where it is not strict', async () => {
      const loose = new MySqlStorage(poolThatBegins(url, `SET SESSION sql_mode = ''`))
      const longest = 'é'.repeat(128)
      expect(await loose.put(longest, 'value', null)).toEqual(expect.any(String))
      await expect(loose.put(`${longest}x`, 'value', null)).rejects.toThrow(RangeError)
      expect(await loose.get(`${longest}x`)).toBeUndefined()
    })

    it('removes expired rows in passing, some at a time', async () => {
      const fresh = await freshPool()
      const storage = new MySqlStorage(fresh)
      await storage.setup()
      await fresh.query(`INSERT INTO mcp_nextcloud_auth VALUES ('0', 'value', '0', 1)`)
      await storage.put('lives', 'value', null, 60_000)
      // The first write removes as well, beside what comes after it.
      await vi.waitFor(async () => expect(await counted(fresh)).toBe(1))
      await fresh.query(`INSERT INTO mcp_nextcloud_auth SELECT seq, 'value', seq, 1 FROM seq_1_to_150`)
      const write = async () => storage.put('often', 'value', (await storage.get('often'))?.version ?? null)
      for (let count = 0; count < 64; count += 1) await write()
      await vi.waitFor(async () => expect(await counted(fresh)).toBe(52))
      for (let count = 0; count < 64; count += 1) await write()
      await vi.waitFor(async () => expect(await counted(fresh)).toBe(2))
      expect(await storage.get('lives')).toBeDefined()
    })

    it('keeps a write that was made when removing expired rows fails', async () => {
      const fresh = await freshPool()
      const storage = new MySqlStorage({
        query: (statement) =>
          statement.sql.includes('LIMIT 100') ? Promise.reject(new Error('timeout')) : fresh.query(statement),
      })
      const version = await storage.put('key', 'value', null)
      expect(await storage.get('key')).toEqual({ value: 'value', version })
    })

    it('is one statement a call once the table is there; three where a key that is to be absent is there', async () => {
      const fresh = await freshPool()
      const query = vi.fn((statement: Parameters<MySqlPromisePool['query']>[0]) => fresh.query(statement))
      const storage = new MySqlStorage({ query })
      await storage.put('other', 'value', null)
      query.mockClear()
      const version = (await storage.put('key', 'value', null))!
      await storage.get('key')
      await storage.put('key', 'value', version)
      await storage.delete('key', version)
      expect(query).toHaveBeenCalledTimes(4)
      query.mockClear()
      expect(await storage.put('key', 'value', null)).toBeNull()
      expect(query).toHaveBeenCalledTimes(3)
    })

    it('refuses connections without autocommit, which would lose what it wrote', async () => {
      const fresh = await freshMariaDb()
      const version = (await new MySqlStorage(poolOf(fresh)).put('key', 'value', null))!
      const storage = new MySqlStorage(poolThatBegins(fresh, 'SET SESSION autocommit = 0'))
      await expect(storage.put('other', 'value', null)).rejects.toThrow(ConfigurationError)
      await expect(storage.put('key', 'other', version)).rejects.toThrow('needs autocommit')
    })

    it('tries again when another writer keeps the row for longer than a statement may wait', async () => {
      const fresh = await freshMariaDb()
      const waiting = poolThatBegins(fresh, 'SET SESSION innodb_lock_wait_timeout = 1')
      const refused: unknown[] = []
      const storage = new MySqlStorage({
        query: (statement) =>
          waiting.query(statement).catch((error: unknown) => {
            refused.push((error as { errno?: unknown }).errno)
            throw error
          }),
      })
      await storage.setup()
      const version = (await storage.put('key', 'value', null))!
      const holder = await poolOf(fresh).getConnection()
      await holder.beginTransaction()
      await holder.query(`SELECT 1 FROM mcp_nextcloud_auth WHERE \`key\` = 'key' FOR UPDATE`)
      refused.length = 0
      const written = storage.put('key', 'second', version)
      written.catch(() => undefined)
      await vi.waitFor(() => expect(refused).toContain(1205), { timeout: 20_000 })
      await holder.rollback()
      holder.release()
      expect(await written).toEqual(expect.any(String))
    })

    it('comes through the deadlocks of twenty writers who make, replace and delete the same few keys', async () => {
      const fresh = await freshMariaDb()
      const storages = Array.from({ length: 20 }, () => new MySqlStorage(poolOf(fresh, { connectionLimit: 1 })))
      const rounds = storages.map(async (storage, number) => {
        for (let round = 0; round < 30; round += 1) {
          const key = `key${(number + round) % 3}`
          const found = await storage.get(key)
          const version = await storage.put(key, 'value', found?.version ?? null, round % 2 === 0 ? 1 : undefined)
          if (version !== null && round % 3 === 0) await storage.delete(key, version)
        }
      })
      await Promise.all(rounds)
      expect(await storages[0]!.list({ limit: 10 })).toEqual(expect.any(Array))
    })

    it('says the code of the server when it refuses, as one that only reads', async () => {
      const fresh = await freshMariaDb()
      const storage = new MySqlStorage(poolOf(fresh))
      await storage.setup()
      const reader = new MySqlStorage(poolThatBegins(fresh, 'SET SESSION TRANSACTION READ ONLY'))
      await expect(reader.put('key', 'value', null)).rejects.toMatchObject({ errno: 1792, sqlState: '25006' })
    })

    it('says the number of an error that mysql2 has no name for', async () => {
      const fresh = await freshPool()
      const storage = new MySqlStorage(fresh)
      await storage.setup()
      await fresh.query(`CREATE TRIGGER full BEFORE INSERT ON mcp_nextcloud_auth FOR EACH ROW
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31001, MESSAGE_TEXT = 'It is full'`)
      const failure = await failureOf(storage.put('key', 'value', null))
      expect(nameOfFailure(failure)).toBe('errno 31001')
    })
  })

  it('MySqlStorage works again after the server was silent or slow, and loses nothing of what it reported', async () => {
    const server = await startMariaDbServer()
    const gate = await startTcpGate(server.port)
    try {
      const storage = new MySqlStorage(poolOf(`mysql://root@127.0.0.1:${gate.port}/test`))
      const version = (await storage.put('key', 'value', null))!
      server.pause()
      const silent = storage.put('key', 'second', version)
      expect(await Promise.race([silent, sleep(300, 'no answer')])).toBe('no answer')
      server.resume()
      const second = await silent
      expect(await storage.get('key')).toEqual({ value: 'second', version: second })
      gate.slow(300)
      const third = await storage.put('key', 'third', second)
      expect(await storage.put('key', 'other', second)).toBeNull()
      expect(await storage.get('key')).toEqual({ value: 'third', version: third })
      gate.close()
      await expect(storage.put('key', 'lost', third)).rejects.toThrow()
      await gate.open()
      expect(await storage.get('key')).toEqual({ value: 'third', version: third })
    } finally {
      gate.close()
      await server.stop()
    }
  })

  it('MySqlStorage rejects while the server is down, and works again after a restart', async () => {
    const server = await startMariaDbServer()
    try {
      const pool = poolOf(server.url, { connectTimeout: 500 })
      const storage = new MySqlStorage(pool)
      const version = (await storage.put('key', 'value', null))!
      // Its connections are ended by the server while nobody uses them.
      await pool
        .query(`KILL CONNECTION ${(await rowsOf<{ id: number }>(pool, 'SELECT connection_id() AS id'))[0]!.id}`)
        .catch(() => undefined)
      await vi.waitFor(async () => expect(await storage.get('key')).toEqual({ value: 'value', version }))
      await server.kill()
      await expect(storage.get('key')).rejects.toThrow()
      await expect(storage.put('key', 'other', version)).rejects.toThrow()
      await expect(storage.delete('key', version)).rejects.toThrow()
      await server.restart()
      expect(await storage.get('key')).toEqual({ value: 'value', version })
      const large = new MySqlStorage(poolOf(server.url))
      await expect(large.put('large', 'x'.repeat(20_000_000), null)).rejects.toThrow()
      expect(await storage.get('large')).toBeUndefined()
    } finally {
      await server.stop()
    }
  })
}

describe('MySqlStorage', () => {
  const answering = (result: unknown): MySqlPromisePool => ({ query: () => Promise.resolve(result as never) })

  it.each([undefined, {}, [], [undefined], [{ affectedRows: null }], [{ affectedRows: 2 }], { rows: [], rowCount: 0 }])(
    'takes the answer %o for a failure and not for a miss',
    async (result) => {
      const storage = new MySqlStorage(answering(result))
      await expect(storage.get('key')).rejects.toThrow()
      await expect(storage.put('key', 'value', null)).rejects.toThrow()
      await expect(storage.delete('key', randomUUID())).rejects.toThrow()
    },
  )

  it('looks again when another process made the table first', async () => {
    const failures = [1146, 1050]
    const query = vi.fn(() => {
      const errno = failures.shift()
      if (errno !== undefined) return Promise.reject(Object.assign(new Error('refused'), { errno }))
      return Promise.resolve([[], []] as const)
    })
    expect(await new MySqlStorage({ query }).get('key')).toBeUndefined()
    expect(query).toHaveBeenCalledTimes(4)
  })

  it.each([
    ['the table is always made by another', 1146, 1050],
    ['the table is never there, though it was made', 1146, undefined],
    ['every statement waits too long for a lock', 1205, undefined],
    ['every statement is a deadlock', 1213, undefined],
  ])('gives up after ten attempts when %s', async (_what, statement, setup) => {
    const query = vi.fn(({ sql }: { sql: string }) => {
      if (query.mock.calls.length > 50) throw new Error('It never gives up')
      const errno = sql.startsWith('CREATE') ? setup : statement
      if (errno === undefined) return Promise.resolve([[], []] as const)
      return Promise.reject(Object.assign(new Error('refused'), { errno }))
    })
    await expect(new MySqlStorage({ query }).get('key')).rejects.toThrow('refused')
    const asked = query.mock.calls.filter(([{ sql }]) => sql.startsWith('CREATE') === (setup !== undefined))
    expect(asked).toHaveLength(10)
  })
})
