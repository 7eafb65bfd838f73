import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { execFile } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { StorageError } from '../../src/errors/errors.js'
import { SqliteStorage } from '../../src/storage/sqlite.js'
import { has, leaveOut } from '../support/left-out.js'
import { built } from './ten-processes.js'

function freshFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'sqlite-file-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

function open(file: string) {
  const database = new Database!(file)
  onTestFinished(() => void database.close())
  return database
}

/** An adapter with an entry, in a file of its own. */
async function setUp() {
  const file = path.join(freshFolder(), 'grants.db')
  const storage = new SqliteStorage(open(file))
  const version = (await storage.put('key', 'value', null))!
  return { file, storage, version }
}

const callsOf = (storage: SqliteStorage) => [
  () => storage.get('key'),
  () => storage.put('other', 'value', null),
  () => storage.delete('key', 'version'),
  () => storage.list({ limit: 9 }),
]

describe.runIf(has('better-sqlite3'))('the file of SqliteStorage', () => {
  it.each<[name: string, befall: (file: string) => void]>([
    ['was removed', (file) => rmSync(file)],
    [
      'was replaced by a copy',
      (file) => {
        copyFileSync(file, `${file}.copy`)
        renameSync(`${file}.copy`, file)
      },
    ],
    ['was moved away', (file) => renameSync(file, `${file}.old`)],
    [
      'was overwritten with a backup, and its -wal removed',
      (file) => {
        writeFileSync(file, '')
        rmSync(`${file}-wal`)
      },
    ],
  ])('fails every call after it %s', async (_name, befall) => {
    const { file, storage } = await setUp()
    befall(file)
    for (const call of callsOf(storage)) {
      await expect(call()).rejects.toBeInstanceOf(StorageError)
      await expect(call()).rejects.toMatchObject({
        ...{ code: 'ERR_STORAGE', status: 503 },
        detail: `The SQLite file ${file} was replaced or removed while this process had it open: restart this process (SQLITE_READONLY_DBMOVED)`,
      })
    }
  })

  it('is good again when it comes back to its place', async () => {
    const { file, storage, version } = await setUp()
    renameSync(file, `${file}.old`)
    await expect(storage.get('key')).rejects.toBeInstanceOf(StorageError)
    renameSync(`${file}.old`, file)
    expect(await storage.get('key')).toEqual({ value: 'value', version })
  })

  it('stays good when others open it, empty its -wal, make it smaller and close it', async () => {
    const { file, storage, version } = await setUp()
    const other = new Database!(file)
    await new SqliteStorage(other).put('other', 'value', null)
    other.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    other.exec('VACUUM')
    other.close()
    expect(existsSync(`${file}-wal`)).toBe(true)
    expect(await storage.put('key', 'next', version)).toEqual(expect.any(String))
  })

  const isRoot = process.getuid?.() === 0
  if (!isRoot) leaveOut('a SQLite file of another user', 'only root can take part as another user')
  it.runIf(isRoot)(
    'is a warning where this process may write it and does not own it, and keeps its rights',
    async () => {
      const { file } = await setUp()
      chmodSync(path.dirname(file), 0o777)
      for (const one of [file, `${file}-wal`, `${file}-shm`]) chmodSync(one, 0o666)
      const script = path.join(path.dirname(file), 'script.mjs')
      writeFileSync(
        script,
        `import { Database } from ${JSON.stringify(import.meta.resolve('@mcp-nextcloud-auth/sqlite-driver'))}
      import { SqliteStorage } from ${built('sqlite')}
      process.setgid(65534)
      process.setuid(65534)
      const warnings = []
      process.on('warning', ({ code, message }) => warnings.push({ code, message }))
      const storage = new SqliteStorage(new Database(${JSON.stringify(file)}))
      const written = await storage.put('other', 'value', null)
      await storage.get('other')
      await new Promise(setImmediate)
      console.log(JSON.stringify({ written: typeof written, warnings }))`,
      )
      const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', script])
      expect(JSON.parse(stdout)).toEqual({
        written: 'string',
        warnings: [
          {
            code: 'ERR_SQLITE_OWNER',
            message: `The SQLite file ${file} is open to other users, and only its owner may change that: make the user of this process its owner`,
          },
        ],
      })
      expect((statSync(file).mode & 0o777).toString(8)).toBe('666')
    },
  )
})
