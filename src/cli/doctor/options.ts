import type { ParseArgsConfig } from 'node:util'
import { DECLARATIONS, variableOf } from '../../config/declarations.js'
import type { Kind } from '../../config/kinds.js'

interface Flag {
  readonly name: string
  /** Path of the option of `mcpAuth()` that it stands for. */
  readonly option: string
  /** The flag with its placeholder: `--clock-tolerance <seconds>`. */
  readonly usage: string
  readonly variable: string | undefined
  readonly kind: Kind<unknown>
}

/** Flags that stand for options of `mcpAuth()`. A list is separated by commas, or the flag is given several times. */
const FLAGS: readonly Flag[] = [...DECLARATIONS].flatMap(([option, { flag, kind, environment }]) => {
  const [name] = flag?.split(' ') ?? []
  return name === undefined ? [] : { name, option, usage: `--${flag ?? ''}`, variable: environment, kind }
})

/** Flags of the doctor's own for options whose values must not stand on a command line. */
const OWN_FLAGS: Readonly<Record<string, string>> = { clientSecret: '--client-secret-file', storage: '--storage' }

/** The variable with the URL of the store, in place of `--storage`: the URL may hold a password. */
export const STORAGE_VARIABLE = 'DOCTOR_STORAGE'

export const DOCTOR_OPTIONS: NonNullable<ParseArgsConfig['options']> = {
  ...Object.fromEntries(
    FLAGS.map(({ name, kind }) => [name, { type: 'string' as const, multiple: kind.fromTexts !== undefined }]),
  ),
  token: { type: 'string' },
  'token-file': { type: 'string' },
  'client-secret-file': { type: 'string' },
  subject: { type: 'string' },
  storage: { type: 'string' },
  'storage-table': { type: 'string' },
  'storage-prefix': { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
}

/** The command line, by the names of its options. */
export type Values = Readonly<Record<string, unknown>>

/** The options of `mcpAuth()` that the command line gives, which `readConfig` has yet to judge. */
export function configOptions(values: Values): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const { name, option, kind } of FLAGS) {
    const given = values[name]
    if (given === undefined) continue
    const [first = '', second] = option.split('.')
    const value = valueOf(kind, [given].flat().map(String))
    if (second === undefined) options[first] = value
    else options[first] = { ...(options[first] as object | undefined), [second]: value }
  }
  return options
}

function valueOf({ fromText, fromTexts }: Kind<unknown>, texts: readonly string[]): unknown {
  if (fromTexts !== undefined) return fromTexts(texts)
  const [text = ''] = texts
  return fromText === undefined ? text : fromText(text)
}

/** The ways to give an option of `mcpAuth()`: `--issuer, OIDC_ISSUER or the option issuer`. */
export function waysToGive(option: string): string {
  const flag = FLAGS.find((known) => known.option === option)
  const ways = [
    flag === undefined ? OWN_FLAGS[option] : `--${flag.name}`,
    DECLARATIONS.get(option)?.environment,
    `the option ${option}`,
  ].filter((way) => way !== undefined)
  return ways.length === 1 ? ways.join() : `${ways.slice(0, -1).join(', ')} or ${ways.at(-1) ?? ''}`
}

const line = (left: string, right = ''): string => `  ${left.padEnd(44)}${right}`.trimEnd()

export const DOCTOR_HELP = `Usage: mcp-nextcloud-auth doctor [options]

Checks a set-up from end to end and says what to change. Options that are not given come from the environment,
as they do for mcpAuth(). Exit status: 0 all is well, 1 something is wrong, 2 misuse.

Secrets:
${line(`${variableOf('clientSecret')} (environment)`, "this server's client secret")}
${line(`${variableOf('encryptionKey')} (environment)`, 'the keys that the storage is sealed with')}
${line('--client-secret-file <file>', 'the client secret from a file, or - for standard input')}
${line('--token-file <file>', 'an MCP token to try, from a file, or - for standard input')}
${line('--token <token>', 'the same; but every user of this machine can see a')}
${line('', 'command line, and the shell keeps it: use --token-file')}

Storage:
${line('--storage <url>', 'sqlite:./file.db, redis://… or postgres://…; a password in it')}
${line('', `can be seen too: use ${STORAGE_VARIABLE} (environment) then`)}
${line('--storage-table <name>', 'table of SQLite and PostgreSQL, where it is another')}
${line('--storage-prefix <text>', 'prefix of Redis, where it is another')}
${line('--subject <sub>', 'the user whose grant is tried; an MCP token does as well')}

Set-up, as for mcpAuth():
${FLAGS.map(({ usage, option, variable }) =>
  line(usage, `${option}${variable === undefined ? '' : ` (${variable})`}`),
).join('\n')}

Output:
${line('--json', 'a JSON document in place of lines')}
${line('-h, --help', 'print this text')}
`
