import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ROOT } from '../support/command.js'
import { serveSetUp } from './support/serve-set-up.js'

const LOST = 'connections.db has nothing in it, although this is not a first start'
const FILES = ['connections.db', 'encryption.key']

/** A server that has run, the ways to copy its folder, and a second server that starts from the copy. */
async function backedUp() {
  const set = await serveSetUp()
  const first = await set.started()
  const [data, copy] = ['data', 'copy'].map((name) => path.join(set.folder, name)) as [string, string]
  const keys = async () => (await fetch(`${set.origin}/oauth/jwks`)).text()
  return {
    ...set,
    first,
    data,
    copy,
    before: await keys(),
    copyTwo: () => {
      mkdirSync(copy)
      for (const name of FILES) copyFileSync(path.join(data, name), path.join(copy, name))
    },
    restored: async (other: Readonly<Record<string, string>> = {}) => {
      const { output } = await set.started({ MCP_DATA: copy, ...other })
      return { output, keys: await keys() }
    },
  }
}

describe('a copy of the folder of serve', () => {
  it('of two files is whole after a stop, which leaves no other', async () => {
    const { first, data, copyTwo, restored, before } = await backedUp()
    expect(readdirSync(data)).toContain('connections.db-wal')
    await first.stop()
    expect(readdirSync(data).sort()).toEqual(FILES)
    copyTwo()
    const { output, keys } = await restored()
    expect([keys, output]).toEqual([before, expect.not.stringContaining(LOST)])
  })

  it('by .backup of SQLite is whole while the server runs', async () => {
    const { first, data, copy, restored, before } = await backedUp()
    mkdirSync(copy)
    copyFileSync(path.join(data, 'encryption.key'), path.join(copy, 'encryption.key'))
    await promisify(execFile)('sqlite3', [path.join(data, 'connections.db'), `.backup ${copy}/connections.db`])
    await first.stop()
    const { output, keys } = await restored()
    expect([keys, output]).toEqual([before, expect.not.stringContaining(LOST)])
  })

  it('of two files that was made while the server ran is told at its first start, and once', async () => {
    const { first, copyTwo, started, copy, before, restored } = await backedUp()
    copyTwo()
    await first.stop()
    const { output, keys } = await restored()
    expect(output).toContain(`${copy}/${LOST}`)
    expect(keys).not.toEqual(before)
    await expect(started({ MCP_DATA: copy, PORT: '0' })).resolves.toMatchObject({
      output: expect.not.stringContaining(LOST) as string,
    })
  })

  it('that has the key and no database is told', async () => {
    const { first, copyTwo, copy, restored } = await backedUp()
    copyTwo()
    rmSync(path.join(copy, 'connections.db'))
    await first.stop()
    const { output } = await restored()
    expect([output, existsSync(path.join(copy, 'connections.db'))]).toEqual([expect.stringContaining(LOST), true])
  })

  it('whose key is in the environment is told like others, and a first start with such a key is not', async () => {
    const { first, copyTwo, copy, data, restored } = await backedUp()
    expect(first.output).not.toContain(LOST)
    copyTwo()
    rmSync(path.join(copy, 'encryption.key'))
    await first.stop()
    const TOKEN_ENCRYPTION_KEY = 'k'.repeat(43)
    expect((await restored({ TOKEN_ENCRYPTION_KEY })).output).toContain(LOST)
    const fresh = path.join(data, 'fresh')
    expect((await restored({ TOKEN_ENCRYPTION_KEY, MCP_DATA: fresh, PORT: '0' })).output).not.toContain(LOST)
  })
})

describe('the folder of a process of serve', () => {
  it.each<[NodeJS.Signals, readonly string[]]>([
    ['SIGTERM', FILES],
    ['SIGINT', FILES],
    ['SIGKILL', ['connections.db', 'connections.db-shm', 'connections.db-wal', 'encryption.key']],
  ])('has after %s the files %j, which are whole', async (signal, files) => {
    const { folder, origin, nextcloud, clientId, secret, started } = await serveSetUp()
    const child = spawn(process.execPath, [path.join(ROOT, 'dist/cli/main.js'), 'serve'], {
      cwd: folder,
      env: {
        PATH: process.env['PATH'],
        NEXTCLOUD_MCP_SERVER_URL: `${origin}/mcp`,
        NEXTCLOUD_HOST: nextcloud.url,
        NEXTCLOUD_OIDC_CLIENT_ID: clientId,
        NEXTCLOUD_OIDC_CLIENT_SECRET: secret,
        PORT: new URL(origin).port,
      },
    })
    const ended = once(child, 'exit')
    onTestFinished(() => void child.kill('SIGKILL'))
    const keys = () => fetch(`${origin}/oauth/jwks`).then((answer) => answer.text())
    await expect.poll(() => keys().catch(() => ''), { timeout: 60_000 }).toContain('"kty"')
    const before = await keys()
    child.kill(signal)
    await ended
    expect(readdirSync(path.join(folder, 'data')).sort()).toEqual(files)
    cpSync(path.join(folder, 'data'), path.join(folder, 'copy'), { recursive: true })
    const { output } = await started({ MCP_DATA: path.join(folder, 'copy') })
    expect([await keys(), output]).toEqual([before, expect.not.stringContaining(LOST)])
  })
})
