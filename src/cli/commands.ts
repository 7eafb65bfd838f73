import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { variableOf } from '../config/declarations.js'
import type { Host, Surroundings } from './command-line.js'

interface Command {
  readonly summary: string
  /** Resolves to the exit status, 2 for misuse, or to undefined if the usage of all commands is the answer to misuse. */
  readonly run: (args: string[], host: Host) => number | undefined | Promise<number>
}

type LoadedCommand = (args: readonly string[], surroundings: Surroundings) => Promise<number>

const COMMANDS: Readonly<Record<string, Command>> = {
  doctor: {
    summary: 'check a set-up from end to end, and say what to change (doctor --help)',
    run: (args, host) => loaded(host, args, async () => (await import('./doctor/doctor.js')).doctor),
  },
  serve: {
    summary: 'run an MCP server for one Nextcloud: files, notes and calendars (serve --help)',
    run: (args, host) => loaded(host, args, async () => (await import('./serve.js')).serve),
  },
  grants: {
    summary: 'list the connections in a store, or move them to another configuration (grants --help)',
    run: (args, host) => loaded(host, args, async () => (await import('./grants/grants.js')).grants),
  },
  'import-python': {
    summary: 'take over the connections of a Python nextcloud-mcp-server (import-python --help)',
    run: (args, host) =>
      loaded(host, args, async () => (await import('./import-python/import-python.js')).importPython),
  },
  keygen: {
    summary: `print a new encryption key, for ${variableOf('encryptionKey')}`,
    run: withoutOptions(() => `${randomBytes(32).toString('base64url')}\n`),
  },
}

const USAGE = `Usage: mcp-nextcloud-auth <command>

Commands:
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(13)}  ${summary}\n`)
  .join('')}
Options:
  -h, --help  print this text
  --version   print the version
`

/** Runs the command that the arguments name. Resolves to the exit status. */
export async function runCommands([name, ...args]: readonly string[], host: Host = process): Promise<number> {
  if (name === '--help' || name === '-h') return print(host, USAGE)
  if (name === '--version') return print(host, `${version()}\n`)
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  const status = await command?.run(args, host)
  if (status === undefined) host.stderr.write(USAGE)
  return status ?? 2
}

/** Runs a command that is loaded now, because keygen needs nothing of it. */
async function loaded(host: Host, args: string[], load: () => Promise<LoadedCommand>): Promise<number> {
  const { processSurroundings } = await import('./command-line.js')
  return (await load())(args, processSurroundings(host))
}

/** Returns a command that takes no option but `--help`. */
function withoutOptions(text: () => string): Command['run'] {
  return (args, host) => {
    try {
      const { help } = parseArgs({ args, options: { help: { type: 'boolean', short: 'h' } } }).values
      return print(host, help === true ? USAGE : text())
    } catch {
      return undefined
    }
  }
}

function print({ stdout }: Host, text: string): number {
  stdout.write(text)
  return 0
}

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
