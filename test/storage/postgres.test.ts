import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, assert, beforeAll, describe, expect, it, vi } from 'vitest'
import { ConfigurationError } from '../../src/errors/errors.js'
import { type PostgresPool, PostgresStorage } from '../../src/storage/postgres.js'
import { storageContract } from '../../src/testing/storage-contract.js'
import { has } from '../support/left-out.js'
import { startPgbouncer } from '../support/pgbouncer.js'
import { startPostgresServer } from '../support/postgres-server.js'
import { freshDatabase } from '../support/shared-servers.js'
import { closedPort, silentPort } from '../support/unusable-ports.js'
import { built, inTenProcesses } from './ten-processes.js'

const pools: pg.Pool[] = []
function poolOf(connectionString: string, config: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 4, connectionTimeoutMillis: 2_000, ...config })
  pool.on('error', () => undefined)
  pools.push(pool)
  return pool
}
const poolAt = (port: number) => poolOf(`postgres://127.0.0.1:${port}/x`, { connectionTimeoutMillis: 200 })
afterAll(() => Promise.all(pools.filter((pool) => !pool.ended).map((pool) => pool.end())))

if (has('PostgreSQL')) {
  describe('PostgresStorage', () => {
    let url: string
    let pool: pg.Pool
    beforeAll(async () => {
      url = await freshDatabase()
      pool = poolOf(url)
    })
    const freshPool = async () => poolOf(await freshDatabase())
    const counted = async (of: pg.Pool): Promise<number> =>
      Number((await of.query<{ count: string }>('SELECT count(*) FROM mcp_nextcloud_auth')).rows[0]!.count)

    storageContract({ describe, it, assert }, () => new PostgresStorage(pool), {
      unavailable: {
        async 'is over a pool that has ended'() {
          const gone = poolOf(url)
          await gone.end()
          return new PostgresStorage(gone)
        },
        'refuses connections': async () => new PostgresStorage(poolAt(await closedPort())),
        hangs: async () => new PostgresStorage(poolAt(await silentPort())),
      },
    })

    describe('in a database whose transactions are serializable by default', () => {
      let strict: pg.Pool
      beforeAll(async () => {
        strict = poolOf(await freshDatabase(), { options: '-c default_transaction_isolation=serializable', max: 8 })
      })
      storageContract({ describe, it, assert }, () => new PostgresStorage(strict))
    })

    it('warns once of a pool without an error listener, whose idle connection would end the process', async () => {
      const emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
      const unheard = poolOf(url)
      unheard.removeAllListeners('error')
      const storage = new PostgresStorage(unheard)
      expect(emitWarning).not.toHaveBeenCalled()
      await storage.get('key')
      await storage.get('key')
      await new PostgresStorage(pool).get('key')
      const calls = [...emitWarning.mock.calls]
      emitWarning.mockRestore()
      await unheard.end()

      const message =
        "The pool given to PostgresStorage has no listener for 'error', so that this process ends when a connection breaks: give it one with on('error', …)"
      expect(calls).toEqual([[message, { type: 'McpAuthWarning', code: 'ERR_STORAGE_LISTENER' }]])
    })

    it('works when ten processes start at once on a database without the table', async () => {
      const created = await inTenProcesses(
        `import pg from ${JSON.stringify(import.meta.resolve('pg'))}
        import { PostgresStorage } from ${built('postgres')}
        const pool = new pg.Pool({ connectionString: ${JSON.stringify(await freshDatabase())} })
        // Connected before, so that they really start at once.
        await pool.query('SELECT 1')
        const versions = await Promise.all([1, 2, 3].map(() => new PostgresStorage(pool).put('key', 'value', null)))
        console.log(versions.filter((version) => version !== null).length)
        await pool.end()`,
      )
      expect(created.sort()).toEqual(['0', '0', '0', '0', '0', '0', '0', '0', '0', '1'])
    })

    it('says what to do when there is no table and it may not make one', async () => {
      const fresh = await freshPool()
      const storage = new PostgresStorage(fresh, { autoCreate: false })
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

    it('works for a role that may create no tables, once the table is there', async () => {
      const fresh = await freshDatabase()
      const owner = poolOf(fresh)
      await new PostgresStorage(owner).setup()
      const role = `role_${randomUUID().slice(0, 8)}`
      await owner.query(`CREATE ROLE ${role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON mcp_nextcloud_auth TO ${role};
        REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
      const limited = new PostgresStorage(poolOf(fresh.replace('postgres@', `${role}@`)))
      const version = (await limited.put('key', 'value', null))!
      expect(await limited.get('key')).toEqual({ value: 'value', version })
      expect(await limited.delete('key', version)).toBe(true)
    })

    it('uses the schema and the table that it is told to', async () => {
      const fresh = await freshPool()
      await fresh.query('CREATE SCHEMA "Auth"')
      const version = await new PostgresStorage(fresh, { table: 'Auth.Grants' }).put('key', 'value', null)
      expect((await fresh.query('SELECT version FROM "Auth"."Grants"')).rows).toEqual([{ version }])
    })

    it('makes the table and its index again when they were dropped under it', async () => {
      const fresh = await freshPool()
      const storage = new PostgresStorage(fresh)
      await storage.put('key', 'value', null)
      await fresh.query('DROP TABLE mcp_nextcloud_auth')
      expect(await storage.get('key')).toBeUndefined()
      const indexes = await fresh.query(
        `SELECT indexname FROM pg_indexes WHERE tablename = 'mcp_nextcloud_auth' ORDER BY 1`,
      )
      expect(indexes.rows.map(({ indexname }: { indexname: string }) => indexname)).toEqual([
        'mcp_nextcloud_auth_expires_at',
        'mcp_nextcloud_auth_pkey',
      ])
    })

    it('compares keys and versions byte by byte, whatever the collation of the database', async () => {
      await new PostgresStorage(pool).setup()
      const columns = await pool.query(
        `SELECT column_name, collation_name FROM information_schema.columns
         WHERE table_name = 'mcp_nextcloud_auth' AND column_name IN ('key', 'version') ORDER BY 1`,
      )
      expect(columns.rows).toEqual([
        { column_name: 'key', collation_name: 'C' },
        { column_name: 'version', collation_name: 'C' },
      ])
    })

    it('removes expired rows in passing, some at a time', async () => {
      const fresh = await freshPool()
      const storage = new PostgresStorage(fresh)
      await storage.put('lives', 'value', null, 60_000)
      // The first write removes as well, beside what comes after it.
      await vi.waitFor(() => expect(fresh.idleCount).toBe(fresh.totalCount))
      await fresh.query(
        `INSERT INTO mcp_nextcloud_auth SELECT n, 'value', n, now() - interval '1 s' FROM generate_series(1, 150) n`,
      )
      const write = async () => storage.put('often', 'value', (await storage.get('often'))?.version ?? null)
      for (let count = 0; count < 64; count += 1) await write()
      await vi.waitFor(async () => expect(await counted(fresh)).toBe(52))
      for (let count = 0; count < 64; count += 1) await write()
      await vi.waitFor(async () => expect(await counted(fresh)).toBe(2))
      expect(await storage.get('lives')).toBeDefined()
    })

    it('keeps a write that was made when removing expired rows fails', async () => {
      const fresh = await freshPool()
      const storage = new PostgresStorage({
        query: (text, values) =>
          text.includes('SKIP LOCKED') ? Promise.reject(new Error('timeout')) : fresh.query(text, values),
      })
      const version = await storage.put('key', 'value', null)
      expect(await storage.get('key')).toEqual({ value: 'value', version })
    })

    it('is one statement a call once the table is there, without a name', async () => {
      const fresh = await freshPool()
      const query = vi.fn((text: string, values?: unknown[]) => fresh.query(text, values))
      const storage = new PostgresStorage({ query })
      const version = (await storage.put('key', 'value', null))!
      query.mockClear()
      await storage.get('key')
      await storage.put('key', 'value', version)
      await storage.delete('key', version)
      expect(query).toHaveBeenCalledTimes(3)
      for (const [text] of query.mock.calls) expect(text).toEqual(expect.any(String))
    })
  })

  it('PostgresStorage rejects while the server is down or silent, and works again after a restart', async () => {
    const server = await startPostgresServer()
    try {
      const pool = poolOf(server.url, { query_timeout: 500, connectionTimeoutMillis: 500 })
      const storage = new PostgresStorage(pool)
      const version = (await storage.put('key', 'value', null))!
      server.pause()
      await expect(storage.get('key')).rejects.toThrow('timeout')
      server.resume()
      await server.kill()
      await expect(storage.get('key')).rejects.toThrow()
      await expect(storage.put('key', 'other', version)).rejects.toThrow()
      await expect(storage.delete('key', version)).rejects.toThrow()
      await server.restart()
      expect(await storage.get('key')).toEqual({ value: 'value', version })
      await pool.end()
    } finally {
      await server.stop()
    }
  })

  if (has('pgbouncer')) {
    describe('PostgresStorage through pgbouncer in transaction mode', () => {
      let bouncer: Awaited<ReturnType<typeof startPgbouncer>>
      let pool: pg.Pool
      beforeAll(async () => {
        bouncer = await startPgbouncer(await freshDatabase())
        pool = poolOf(bouncer.url, { max: 8 })
      })
      afterAll(async () => {
        await pool.end()
        await bouncer.stop()
      })
      storageContract({ describe, it, assert }, () => new PostgresStorage(pool))
    })
  }
}

describe('PostgresStorage', () => {
  const answering = (result: unknown): PostgresPool => ({ query: () => Promise.resolve(result as never) })

  it.each([undefined, {}, { rows: null, rowCount: null }])(
    'takes the answer %o for a failure and not for a miss',
    async (result) => {
      const storage = new PostgresStorage(answering(result))
      await expect(storage.get('key')).rejects.toThrow()
      await expect(storage.put('key', 'value', null)).rejects.toThrow()
      await expect(storage.delete('key', randomUUID())).rejects.toThrow()
    },
  )

  it.each([
    ['its name in the catalogue', '23505'],
    ['the table', '42P07'],
    ['its type', '42710'],
  ])('looks again when another process made it first: %s', async (_what, code) => {
    const failures = ['42P01', code]
    const query = vi.fn(() => {
      const failure = failures.shift()
      if (failure !== undefined) return Promise.reject(Object.assign(new Error('refused'), { code: failure }))
      return Promise.resolve({ rows: [], rowCount: 0 })
    })
    expect(await new PostgresStorage({ query }).get('key')).toBeUndefined()
    expect(query).toHaveBeenCalledTimes(4)
  })

  it.each([
    ['its name in the catalogue is always taken', '42P01', '23505'],
    ['the table is never there, though it was made', '42P01', undefined],
    ['every statement is rolled back for another writer', '40001', undefined],
    ['every statement is a deadlock', '40P01', undefined],
  ])('gives up after ten attempts when %s', async (_what, statement, setup) => {
    const query = vi.fn((text: string) => {
      if (query.mock.calls.length > 50) throw new Error('It never gives up')
      const code = text.startsWith('CREATE') ? setup : statement
      if (code === undefined) return Promise.resolve({ rows: [], rowCount: 0 })
      return Promise.reject(Object.assign(new Error('refused'), { code }))
    })
    await expect(new PostgresStorage({ query }).get('key')).rejects.toThrow('refused')
    const asked = query.mock.calls.filter(([text]) => text.startsWith('CREATE') === (setup !== undefined))
    expect(asked).toHaveLength(10)
  })
})
