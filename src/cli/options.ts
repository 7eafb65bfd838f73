import type { ParseArgsConfig } from 'node:util'
import { DECLARATIONS, variablesOf } from '../config/declarations.js'
import type { Kind } from '../config/kinds.js'

interface Flag {
  readonly name: string
  /** Path of the option of `mcpAuth()` that it stands for. */
  readonly option: string
  /** The flag with its placeholder: `--clock-tolerance <seconds>`. */
  readonly usage: string
  readonly variables: readonly string[]
  readonly kind: Kind<unknown>
}

/** Flags that stand for options of `mcpAuth()`. A list is separated by commas, or the flag is given several times. */
const FLAGS: readonly Flag[] = [...DECLARATIONS].flatMap(([option, { flag, kind }]) => {
  if (flag === undefined) return []
  return { name: flag.replace(/ .*/, ''), option, usage: `--${flag}`, variables: variablesOf(option), kind }
})

/** Flags of the doctor's own, for options whose values must not stand on a command line, or that are no text. */
const OWN_FLAGS: Readonly<Record<string, string>> = {
  clientSecret: '--client-secret-file',
  storage: '--storage',
  issuers: '--issuer, once for each',
}

/** The variable with the URL of the store, in place of `--storage`: the URL may hold a password. */
export const STORAGE_VARIABLE = 'DOCTOR_STORAGE'

/** Options of every command that works on the set-up of `mcpAuth()`. */
export const SET_UP_OPTIONS: NonNullable<ParseArgsConfig['options']> = {
  ...Object.fromEntries(
    FLAGS.map(({ name, kind }) => [name, { type: 'string' as const, multiple: kind.fromTexts !== undefined }]),
  ),
  'client-secret-file': { type: 'string' },
  storage: { type: 'string' },
  'storage-table': { type: 'string' },
  'storage-prefix': { type: 'string' },
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
  const issuers = [values['issuer'] ?? []].flat()
  if (issuers.length < 2) return options
  return { ...options, issuer: undefined, issuers: issuers.map((issuer: unknown) => ({ issuer })) }
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
    ...variablesOf(option),
    `the option ${option}`,
  ].filter((way) => way !== undefined)
  return ways.length === 1 ? ways.join() : `${ways.slice(0, -1).join(', ')} or ${ways.slice(-1).join()}`
}

/** A line of a help text. */
export const helpLine = (left: string, right = ''): string => `  ${left.padEnd(44)}${right}`.trimEnd()

export const CLIENT_SECRET_HELP = helpLine(
  '--client-secret-file <file>',
  'the client secret from a file, or - for standard input',
)

export const STORAGE_HELP = `Storage:
${helpLine('--storage <url>', 'sqlite:./file.db, redis://…, postgres://… or mysql://…; a password')}
${helpLine('', `in it can be seen too: use ${STORAGE_VARIABLE} then`)}
${helpLine('--storage-table <name>', 'table of a database, where it is another')}
${helpLine('--storage-prefix <text>', 'prefix of Redis, where it is another')}`

export const SET_UP_HELP = `Set-up, as for mcpAuth():
${FLAGS.map(({ usage, option, variables }) =>
  helpLine(usage, `${option}${variables.length === 0 ? '' : ` (${variables.join(', ')})`}`),
).join('\n')}`
