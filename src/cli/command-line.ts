import type { Reader } from './doctor/words.js'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { parseArgs, styleText, type ParseArgsConfig } from 'node:util'
import { systemClock, type Clock } from '../clock.js'
import { variableOf, variablesOf } from '../config/declarations.js'
import { processEnvironment, type Environment } from '../options.js'
import { configOptions, STORAGE_VARIABLE, type Values } from './options.js'
import type { Secrets } from './secrets.js'
import { storeAt, unquoted, type StorageOptions, type Store } from './stores.js'

export type Paint = (colour: 'green' | 'red' | 'yellow', text: string) => string

/** The place that a command is called in. */
export interface Surroundings {
  readonly environment: Environment
  readonly clock: Clock
  readonly directory: string
  readonly readStandardInput: () => Promise<string>
  readonly print: (text: string) => void
  readonly complain: (text: string) => void
  /** Returns a text for `print` in a colour, or as it is where the output is no terminal (`NO_COLOR` and `FORCE_COLOR` overrule). */
  readonly paint: Paint
  /** Shows what a command waits for, on a line of the terminal that the next call takes over. No text clears it. In a pipe, nothing. */
  readonly progress: (text?: string) => void
  /** From now on, Ctrl-C ends nothing by itself, until `end` is called. */
  readonly stoppable: () => Stoppable
  /** Ends the process at once. */
  readonly exit: (status: number) => void
}

interface Stoppable {
  readonly isStopped: () => boolean
  /** Resolves when Ctrl-C is pressed, or another process asks for the end. */
  readonly stopped: Promise<void>
  readonly end: () => void
}

/** The process that a command runs in. */
export type Host = Pick<NodeJS.Process, 'stdin' | 'stdout' | 'stderr' | 'once' | 'off' | 'exit'>

/** The set-up that the command line describes. */
export interface SetUp {
  /** The options of `mcpAuth()`. */
  readonly options: Readonly<Record<string, unknown>>
  /** The MCP token to try. */
  readonly token: string | undefined
  /** The subject of the user whose grant to try. */
  readonly subject: string | undefined
  readonly store: Store | undefined
  /** Default: somebody with an app of their own. */
  readonly reader?: Reader | undefined
}

/** A command line that cannot be followed. No message holds a value, which may be a secret. */
export class Misuse extends Error {}

/**
 * Reads a command line by the options of a command.
 *
 * @param places arguments at most that are no options
 * @throws {Misuse} it cannot be followed
 */
export function readArguments(
  args: readonly string[],
  options: NonNullable<ParseArgsConfig['options']>,
  places = 0,
): { readonly values: Values; readonly given: readonly string[] } {
  const config = { args: [...args], options, allowPositionals: true, tokens: true } as const
  const { tokens } = parseArgs({ ...config, strict: false })
  let left = places
  const unknown = tokens.find(
    (token) =>
      (token.kind === 'positional' && (left -= 1) < 0) ||
      (token.kind === 'option' && !Object.hasOwn(options, token.name)),
  )
  // parseArgs quotes what it does not know, which may be a token that went astray.
  if (unknown !== undefined) throw new Misuse(`argument ${unknown.index + 1} is not an option of it`)
  try {
    const { values, positionals } = parseArgs(config)
    return { values, given: positionals }
  } catch {
    throw new Misuse('an option lacks its value')
  }
}

/** Runs a command, and tells what it cannot follow. Resolves to the exit status. */
export async function runCommand(
  name: string,
  { complain }: Surroundings,
  run: () => Promise<number>,
): Promise<number> {
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof Misuse)) throw error
    complain(`mcp-nextcloud-auth ${name}: ${error.message}; --help tells the options\n`)
    return 2
  }
}

/** Returns the surroundings of a process. */
export const processSurroundings = (host: Host = process, environment = processEnvironment()): Surroundings => ({
  environment,
  clock: systemClock,
  directory: process.cwd(),
  async readStandardInput() {
    let text = ''
    for await (const chunk of host.stdin.setEncoding('utf8')) text += String(chunk)
    return text
  },
  print: (text) => void host.stdout.write(text),
  complain: (text) => void host.stderr.write(text),
  paint: (colour, text) => styleText(colour, text, { stream: host.stdout }),
  progress(text = '') {
    const { isTTY, columns } = host.stderr
    // A line that wraps could not be taken back.
    if (isTTY && environment['TERM'] !== 'dumb') host.stderr.write(`\r\u001b[2K${text.slice(0, columns - 1)}`)
  },
  stoppable: () => stoppable(host),
  exit: (status) => host.exit(status),
})

function stoppable(host: Pick<Host, 'once' | 'off'>): Stoppable {
  let isStopped = false
  let stop = (): void => undefined
  const stopped = new Promise<void>((resolve) => {
    stop = () => {
      isStopped = true
      resolve()
    }
  })
  host.once('SIGINT', stop).once('SIGTERM', stop)
  return { isStopped: () => isStopped, stopped, end: () => void host.off('SIGINT', stop).off('SIGTERM', stop) }
}

/** Reads the files and variables that the command line names, and tells `secrets` of every secret in them. */
export async function readSetUp(
  values: Values,
  secrets: Secrets,
  surroundings: Surroundings,
  missingFile: StorageOptions['missingFile'] = 'refuse',
): Promise<SetUp> {
  if (values['token'] !== undefined && values['token-file'] !== undefined) {
    throw new Misuse('--token and --token-file are two ways to say the same')
  }
  if (values['token-file'] === '-' && values['client-secret-file'] === '-') {
    throw new Misuse('only one of --token-file and --client-secret-file can be standard input')
  }
  const { environment } = surroundings
  const token = textOf(values['token'])?.trim() ?? (await readSecret(values['token-file'], surroundings))
  const clientSecret = await readSecret(values['client-secret-file'], surroundings)
  const keys = environment[variableOf('encryptionKey')]?.split(',') ?? []
  const given = [token, clientSecret, ...variablesOf('clientSecret').map((name) => environment[name]), ...keys]
  for (const secret of given) secrets.add(secret?.trim())
  const options = { ...configOptions(values), ...(clientSecret !== undefined && { clientSecret }) }
  const store = storeOf(values, options, secrets, { ...surroundings, missingFile })
  return { options, token, subject: textOf(values['subject']), store }
}

export const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

/** Returns the text of a file, or of standard input, without the newline that an editor puts at its end. */
export async function readSecret(file: unknown, surroundings: Surroundings): Promise<string | undefined> {
  if (typeof file !== 'string') return undefined
  if (file === '-') return (await surroundings.readStandardInput()).trim()
  try {
    return (await readFile(path.resolve(surroundings.directory, file), 'utf8')).trim()
  } catch {
    throw new Misuse('the file of --token-file, --client-secret-file or --key-file cannot be read')
  }
}

/** Milliseconds for a connection to the store. */
const STORAGE_TIMEOUT = 5_000

function storeOf(
  values: Values,
  { http }: SetUp['options'],
  secrets: Secrets,
  { environment, directory, missingFile }: Surroundings & Pick<StorageOptions, 'missingFile'>,
): Store | undefined {
  const url = unquoted(textOf(values['storage']) ?? environment[STORAGE_VARIABLE]?.trim() ?? '')
  if (url === '') return undefined
  hidePassword(url, secrets)
  const { timeout } = (http ?? {}) as { timeout?: unknown }
  const store = storeAt(url, {
    directory,
    timeout: typeof timeout === 'number' && timeout > 0 ? timeout : STORAGE_TIMEOUT,
    table: textOf(values['storage-table']),
    prefix: textOf(values['storage-prefix']),
    missingFile,
  })
  if (store === undefined) throw new Misuse('--storage must be sqlite:./file.db, redis://…, postgres://… or mysql://…')
  return store
}

/** Tells `secrets` of the password in a URL. */
export function hidePassword(url: string, secrets: Secrets): void {
  if (!URL.canParse(url)) return
  const { password } = new URL(url)
  secrets.add(password)
  secrets.add(decodable(password))
}

function decodable(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
