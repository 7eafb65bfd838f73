import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { encryptionKeys } from '../../src/config/encryption-keys.js'

const main = path.resolve(import.meta.dirname, '../../dist/cli/main.js')
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

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

describe('keygen', () => {
  it('prints one key and a newline, and nothing else', () => {
    expect(run('keygen')).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^[A-Za-z0-9_-]{43}\n$/) as string,
      stderr: '',
    })
  })

  it('prints a key that encryptionKey takes as it is, and another one each time', () => {
    const keys = [run('keygen'), run('keygen')].map(({ stdout }) => stdout)
    const read = encryptionKeys.check({ value: keys, name: 'encryptionKey', option: 'encryptionKey' })()

    expect(read.map(({ length }) => length)).toEqual([32, 32])
    expect(keys[0]).not.toBe(keys[1])
  })
})

describe('the command line', () => {
  it('prints the version of the package', () => {
    const { version } = JSON.parse(readFileSync(path.resolve(import.meta.dirname, '../../package.json'), 'utf8')) as {
      version: string
    }
    expect(run('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' })
  })

  it.each([[['--help']], [['-h']], [['keygen', '--help']], [['keygen', '-h']]])(
    'prints its usage, and no key, when asked for help: %j',
    (args) => {
      expect(run(...args)).toEqual({ status: 0, stdout: USAGE, stderr: '' })
    },
  )

  it.each([
    [[]],
    [['']],
    [['unknown']],
    [['constructor']],
    [['--keygen']],
    [['keygen', 'more']],
    [['keygen', '--bytes', '16']],
    [['keygen', '--help=yes']],
  ])('exits with 2 and prints its usage on stderr, and no key, for %j', (args) => {
    expect(run(...args)).toEqual({ status: 2, stdout: '', stderr: USAGE })
  })
})
