import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { createFernet } from '../../../src/cli/import-python/fernet.js'
import { openPythonStore, type PythonStore, type PythonTable } from '../../../src/cli/import-python/python-store.js'
import { ROOT } from '../../support/doctor-setup.js'
import { has } from '../../support/left-out.js'
import { makePythonDatabase, makePythonFile, PYTHON_CLIENT, PYTHON_KEY } from '../../support/python-server.js'

const folder = mkdtempSync(path.join(tmpdir(), 'python-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const OPTIONS = { directory: ROOT, timeout: 5_000 }
let files = 0
const newFile = (): string => path.join(folder, `${(files += 1)}.db`)

async function open(place: string, options = OPTIONS): Promise<PythonStore> {
  const store = await openPythonStore(place, options)
  onTestFinished(() => void store.close())
  return store
}

async function secrets(store: PythonStore, table: PythonTable, column: string): Promise<Record<string, unknown>> {
  const fernet = createFernet([Buffer.from(PYTHON_KEY, 'base64url')])
  const found: Record<string, unknown> = {}
  for await (const row of store.rows(table, '')) found[row.user_id] = fernet(row[column] as Uint8Array)
  return found
}

const KINDS = [
  ...(has('better-sqlite3') ? [['SQLite', () => Promise.resolve(makePythonFile(newFile()))] as const] : []),
  ...(has('PostgreSQL') ? [['PostgreSQL', () => makePythonDatabase()] as const] : []),
]

describe.each(KINDS)('a store of the Python server in %s', (kind, make) => {
  it('is read to its end, in order, and opens with its key', async () => {
    const store = await open(await make())

    expect(store.name).toMatch(new RegExp(`^${kind} (?:in|at) `))
    expect(await secrets(store, 'app_passwords', 'encrypted_password')).toEqual({
      alice: 'alice-app-password-canary',
      bob: 'bob-app-password-canary',
      carol: 'carol-app-password-canary',
      dora: 'dora-app-password-canary',
      ed: 'ed-app-password-canary',
      frank: undefined,
      greta: undefined,
      unknown: 'unknown-app-password-canary',
    })
    expect(await secrets(store, 'refresh_tokens', 'encrypted_token')).toEqual({
      alice: 'alice-refresh-token-canary',
      bob: 'bob-refresh-token-canary',
      gina: 'gina-refresh-token-canary',
      hugo: 'hugo-refresh-token-canary',
    })
    expect(await store.clientId()).toBe(PYTHON_CLIENT)
  })

  it('is read from behind a user on', async () => {
    const users: string[] = []
    for await (const row of (await open(await make())).rows('app_passwords', 'ed')) users.push(row.user_id)

    expect(users).toEqual(['frank', 'greta', 'unknown'])
  })
})

describe.runIf(has('PostgreSQL'))('a store of the Python server in PostgreSQL', () => {
  it.each(['postgresql', 'postgresql+psycopg', 'postgresql+asyncpg'])('has a URL of SQLAlchemy: %s', async (scheme) => {
    const url = await makePythonDatabase()
    const store = await open(url.replace(/^postgres/, scheme))

    expect(store.name).toBe(`PostgreSQL at ${new URL(url).host}`)
    expect(Object.keys(await secrets(store, 'refresh_tokens', 'encrypted_token'))).toHaveLength(4)
  })

  it('is read in pages by the order of the database, whatever its collation', async () => {
    const names = Array.from({ length: 1_200 }, (_, at) => `${'aAbBßzZ'[at % 7]!}-${at}`)
    const rows = names.map((name) => `('${name}', 'x', 1, 1)`).join()
    const sql = `ALTER TABLE app_passwords ALTER user_id TYPE text COLLATE "en-x-icu"; INSERT INTO app_passwords VALUES ${rows};`
    const store = await open(await makePythonDatabase(sql))
    const found = Object.keys(await secrets(store, 'app_passwords', 'encrypted_password'))

    expect(found).toHaveLength(names.length + 8)
  })
})

describe.runIf(has('better-sqlite3'))('a store of the Python server in a file', () => {
  it.each(['', 'sqlite:', 'sqlite:///', 'sqlite+aiosqlite:///'])(
    'has a URL of SQLAlchemy, or none: %s',
    async (scheme) => {
      const store = await open(scheme + makePythonFile(newFile()))

      expect(await store.clientId()).toBe(PYTHON_CLIENT)
    },
  )

  it('is read in pages', async () => {
    const rows = Array.from({ length: 1_500 }, (_, at) => `('more-${at}', x'00', 1, 1, NULL, NULL)`).join()
    const store = await open(makePythonFile(newFile(), `INSERT INTO app_passwords VALUES ${rows};`))

    expect(Object.keys(await secrets(store, 'app_passwords', 'encrypted_password'))).toHaveLength(1_508)
  })

  it('may be of a version without a table, or without columns', async () => {
    const file = newFile()
    const old = new Database!(file)
    old.exec(
      'CREATE TABLE refresh_tokens (user_id TEXT PRIMARY KEY, encrypted_token BLOB NOT NULL, created_at INTEGER)',
    )
    old.exec(`INSERT INTO refresh_tokens VALUES ('alice', x'00', 7)`)
    old.close()
    const store = await open(file)

    expect(await secrets(store, 'app_passwords', 'encrypted_password')).toEqual({})
    expect(Object.keys(await secrets(store, 'refresh_tokens', 'encrypted_token'))).toEqual(['alice'])
    expect(await store.clientId()).toBeUndefined()
  })

  it('is not changed, and may be read-only', async () => {
    const file = makePythonFile(newFile())
    const before = readFileSync(file)
    chmodSync(file, 0o400)
    const store = await open(file)
    await secrets(store, 'app_passwords', 'encrypted_password')

    expect(readFileSync(file).equals(before)).toBe(true)
  })

  it('is read with what is still in its -wal file', async () => {
    const file = makePythonFile(newFile(), 'PRAGMA journal_mode = WAL;')
    const writer = new Database!(file)
    onTestFinished(() => void writer.close())
    writer.pragma('wal_autocheckpoint = 0')
    writer.exec(`INSERT INTO app_passwords VALUES ('late', x'00', 1, 1, NULL, NULL)`)
    const store = await open(file)

    expect(Object.keys(await secrets(store, 'app_passwords', 'encrypted_password'))).toContain('late')
  })

  it('is not made where there is none', async () => {
    await expect(openPythonStore('./not/there.db', OPTIONS)).rejects.toThrow(/there is no file .*not\/there\.db$/)
    await expect(openPythonStore(folder, OPTIONS)).rejects.toThrow(/there is no file/)
  })

  it.each(['postgres//u:hush@db/x', 'postgresql:u:hush@db', 'mysql ://u:hush@db/x', '//u:hush@db/x'])(
    'is not sought in a file whose name is a misspelt URL: %s',
    async (place) => {
      await expect(openPythonStore(place, OPTIONS)).rejects.toThrow('that is not the place of a store')
    },
  )

  it('is told from another database, and from a file that is none', async () => {
    const other = newFile()
    new Database!(other).exec('CREATE TABLE app (id)').close()
    const text = newFile()
    writeFileSync(text, 'not a database, but long enough to look like one to somebody\n'.repeat(100))

    await expect(openPythonStore(other, OPTIONS)).rejects.toThrow(/is not a store of the Python server$/)
    await expect(openPythonStore(text, OPTIONS)).rejects.toMatchObject({ code: 'SQLITE_NOTADB' })
  })
})
