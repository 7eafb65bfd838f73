import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { runCommands } from '../../src/cli/commands.js'
import { encryptionKeys } from '../../src/config/encryption-keys.js'
import { hostOf } from '../support/command.js'

const USAGE = `Usage: mcp-nextcloud-auth <command>

Commands:
  doctor         check a set-up from end to end, and say what to change (doctor --help)
  serve          run an MCP server for one Nextcloud: files, notes and calendars (serve --help)
  grants         list the connections in a store, or move them to another configuration (grants --help)
  import-python  take over the connections of a Python nextcloud-mcp-server (import-python --help)
  keygen         print a new encryption key, for TOKEN_ENCRYPTION_KEY

Options:
  -h, --help  print this text
  --version   print the version
`

async function run(...args: string[]) {
  const { host, told } = hostOf()
  const status = await runCommands(args, host)
  return { status, stdout: told.stdout, stderr: told.stderr }
}

describe('keygen', () => {
  it('prints one key and a newline, and nothing else, as built', () => {
    const main = path.resolve(import.meta.dirname, '../../dist/cli/main.js')
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'keygen'], { encoding: 'utf8' })
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^[A-Za-z0-9_-]{43}\n$/) as string,
      stderr: '',
    })
  })

  it('prints a key that encryptionKey takes as it is, and another one each time', async () => {
    const keys = [await run('keygen'), await run('keygen')].map(({ stdout }) => stdout)
    const read = encryptionKeys.check({ value: keys, name: 'encryptionKey', option: 'encryptionKey' })()

    expect(read.map(({ length }) => length)).toEqual([32, 32])
    expect(keys[0]).not.toBe(keys[1])
  })
})

describe('the command line', () => {
  it('prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(path.resolve(import.meta.dirname, '../../package.json'), 'utf8')) as {
      version: string
    }
    expect(await run('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' })
  })

  it.each([[['--help']], [['-h']], [['keygen', '--help']], [['keygen', '-h']]])(
    'prints its usage, and no key, when asked for help: %j',
    async (args) => {
      expect(await run(...args)).toEqual({ status: 0, stdout: USAGE, stderr: '' })
    },
  )

  it.each(['doctor', 'grants', 'import-python', 'serve'])('loads %s, which tells of itself', async (name) => {
    const { status, stdout, stderr } = await run(name, '--help')

    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(new RegExp(`^Usage: mcp-nextcloud-auth ${name}`))
    expect(await run(name, '--unknown')).toEqual({
      status: 2,
      stdout: '',
      stderr: `mcp-nextcloud-auth ${name}: argument 1 is not an option of it; --help tells the options\n`,
    })
  })

  it.each([
    [[]],
    [['']],
    [['unknown']],
    [['constructor']],
    [['--keygen']],
    [['keygen', 'more']],
    [['keygen', '--bytes', '16']],
    [['keygen', '--help=yes']],
  ])('exits with 2 and prints its usage on stderr, and no key, for %j', async (args) => {
    expect(await run(...args)).toEqual({ status: 2, stdout: '', stderr: USAGE })
  })
})
