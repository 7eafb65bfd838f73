#!/usr/bin/env node
import { randomBytes } from 'node:crypto'
import { parseArgs, type ParseArgsConfig } from 'node:util'

type Values = ReturnType<typeof parseArgs>['values']

interface Command {
  readonly summary: string
  readonly options: NonNullable<ParseArgsConfig['options']>
  /** Resolves to the exit status. */
  readonly run: (values: Values) => Promise<number>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  keygen: {
    summary: 'print a new encryption key, for TOKEN_ENCRYPTION_KEY',
    options: {},
    run: () => {
      process.stdout.write(`${randomBytes(32).toString('base64url')}\n`)
      return Promise.resolve(0)
    },
  },
}

const USAGE = `Usage: mcp-nextcloud-auth <command>

Commands:
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(8)}  ${summary}\n`)
  .join('')}
Options:
  -h, --help  print this text
`

async function main([name = '', ...args]: readonly string[]): Promise<number> {
  if (name === '--help' || name === '-h') return help()
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) return misused()
  const values = parsed(command, args)
  if (values === undefined) return misused()
  return values['help'] === true ? help() : command.run(values)
}

/** Undefined when the command has no such options. */
function parsed({ options }: Command, args: string[]): Values | undefined {
  try {
    return parseArgs({ args, options: { ...options, help: { type: 'boolean', short: 'h' } } }).values
  } catch {
    return undefined
  }
}

function help(): number {
  process.stdout.write(USAGE)
  return 0
}

function misused(): number {
  process.stderr.write(USAGE)
  return 2
}

process.exitCode = await main(process.argv.slice(2))
