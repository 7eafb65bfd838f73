#!/usr/bin/env node
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { variableOf } from '../config/declarations.js'
import { doctor, processSurroundings } from './doctor/doctor.js'

interface Command {
  readonly summary: string
  /** Resolves to the exit status, 2 for misuse; undefined where the usage of all commands is to be shown for that. */
  readonly run: (args: string[]) => Promise<number | undefined>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  doctor: {
    summary: 'check a set-up from end to end, and say what to change (doctor --help)',
    run: (args) => doctor(args, processSurroundings()),
  },
  keygen: {
    summary: `print a new encryption key, for ${variableOf('encryptionKey')}`,
    run: withoutOptions(() => process.stdout.write(`${randomBytes(32).toString('base64url')}\n`)),
  },
}

const USAGE = `Usage: mcp-nextcloud-auth <command>

Commands:
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(8)}  ${summary}\n`)
  .join('')}
Options:
  -h, --help  print this text
  --version   print the version
`

async function main([name = '', ...args]: readonly string[]): Promise<number> {
  if (name === '--help' || name === '-h') return help()
  if (name === '--version') return version()
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  return (await command?.run(args)) ?? misused()
}

/** A command that takes nothing but `--help`. */
function withoutOptions(work: () => unknown): Command['run'] {
  return (args) => {
    let asksForHelp: boolean | undefined
    try {
      asksForHelp = parseArgs({ args, options: { help: { type: 'boolean', short: 'h' } } }).values.help
    } catch {
      return Promise.resolve(undefined)
    }
    if (asksForHelp === true) return Promise.resolve(help())
    work()
    return Promise.resolve(0)
  }
}

function help(): number {
  process.stdout.write(USAGE)
  return 0
}

function version(): number {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  process.stdout.write(`${(JSON.parse(manifest) as { version: string }).version}\n`)
  return 0
}

function misused(): number {
  process.stderr.write(USAGE)
  return 2
}

process.exitCode = await main(process.argv.slice(2))
