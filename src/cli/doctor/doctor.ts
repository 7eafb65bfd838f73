import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock, type Clock } from '../../clock.js'
import { variableOf } from '../../config/declarations.js'
import { processEnvironment, type Environment } from '../../options.js'
import { examineConfiguration } from './configuration.js'
import { createExamination } from './examination.js'
import { CHECK_IDS, leftOut, type Finding } from './finding.js'
import { configOptions, DOCTOR_HELP, DOCTOR_OPTIONS, STORAGE_VARIABLE, type Values } from './options.js'
import { asJson, asLines } from './print.js'
import { runChecks } from './run.js'
import { createSecrets, type Secrets } from './secrets.js'
import { lazyAdapter, readStorageAddress, type OpenStorage, type StorageAddress } from './storage-client.js'

/** Where the doctor is called. */
export interface Surroundings {
  readonly environment: Environment
  readonly clock: Clock
  /** The folder that it is called in. */
  readonly directory: string
  readonly readStandardInput: () => Promise<string>
  readonly print: (text: string) => void
  readonly complain: (text: string) => void
}

export const processSurroundings = (): Surroundings => ({
  environment: processEnvironment(),
  clock: systemClock,
  directory: process.cwd(),
  async readStandardInput() {
    let text = ''
    for await (const chunk of process.stdin.setEncoding('utf8')) text += String(chunk)
    return text
  },
  print: (text) => void process.stdout.write(text),
  complain: (text) => void process.stderr.write(text),
})

/** What the person at the keyboard has to say differently. No message holds a value, which may be a secret. */
class Misuse extends Error {}

/**
 * Checks a set-up and prints what it finds.
 *
 * @returns the exit status: 0 all is well, 1 something is wrong, 2 misuse
 */
export async function doctor(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { print, complain } = surroundings
  try {
    const values = readArguments(args)
    if (values['help'] === true) {
      print(DOCTOR_HELP)
      return 0
    }
    const secrets = createSecrets()
    const findings = (await examine(values, secrets, surroundings)).map((finding) => masked(finding, secrets))
    print(values['json'] === true ? asJson(findings) : asLines(findings))
    return findings.some(({ status }) => status === 'failed') ? 1 : 0
  } catch (error) {
    if (!(error instanceof Misuse)) throw error
    complain(`mcp-nextcloud-auth doctor: ${error.message}; --help tells the options\n`)
    return 2
  }
}

function readArguments(args: readonly string[]): Values {
  const options = { ...DOCTOR_OPTIONS, help: { type: 'boolean' as const, short: 'h' } }
  try {
    return parseArgs({ args: [...args], options }).values
  } catch {
    // parseArgs quotes what it does not know, which may be a token that went astray.
    const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true })
    const at = tokens.find((token) => token.kind === 'positional' || !isKnown(token))?.index
    throw new Misuse(at === undefined ? 'an option lacks its value' : `argument ${at + 1} is not an option of it`)
  }

  function isKnown(token: { readonly kind: string; readonly name?: string }): boolean {
    return token.kind !== 'option' || Object.hasOwn(options, token.name ?? '')
  }
}

async function examine(values: Values, secrets: Secrets, surroundings: Surroundings): Promise<readonly Finding[]> {
  const { environment, clock } = surroundings
  if (values['token'] !== undefined && values['token-file'] !== undefined) {
    throw new Misuse('--token and --token-file are two ways to say the same')
  }
  if (values['token-file'] === '-' && values['client-secret-file'] === '-') {
    throw new Misuse('only one of --token-file and --client-secret-file can be standard input')
  }
  const token = textOf(values['token'])?.trim() ?? (await readSecret(values['token-file'], surroundings))
  const clientSecret = await readSecret(values['client-secret-file'], surroundings)
  const secretsGiven = [token, clientSecret, environment[variableOf('clientSecret')]?.trim()]
  for (const secret of [...secretsGiven, ...(environment[variableOf('encryptionKey')] ?? '').split(',')]) {
    secrets.add(secret?.trim())
  }
  const options = configOptions(values)
  if (clientSecret !== undefined) options['clientSecret'] = clientSecret
  const storage = storageOf(values, options, secrets, surroundings)
  let opened: Promise<OpenStorage> | undefined
  const openStorage = (): Promise<OpenStorage> => {
    if (storage === undefined) throw new Misuse('there is no storage')
    return (opened ??= storage.open())
  }
  if (storage !== undefined) options['storage'] = lazyAdapter(openStorage)
  const { config, finding } = examineConfiguration(options, environment)
  if (config === undefined) {
    return CHECK_IDS.map((id) => (id === 'config' ? finding : { id, ...leftOut('mend config first') }))
  }
  const context = createExamination({ config, clock, secrets, token, storage, openStorage })
  try {
    return [finding, ...(await runChecks(context))]
  } finally {
    context.transport.close()
    await opened?.then(({ close }) => close()).catch(() => undefined)
  }
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

/** The text of a file, or of standard input, without the newline that an editor puts at its end. */
async function readSecret(file: unknown, surroundings: Surroundings): Promise<string | undefined> {
  if (typeof file !== 'string') return undefined
  if (file === '-') return (await surroundings.readStandardInput()).trim()
  try {
    return (await readFile(path.resolve(surroundings.directory, file), 'utf8')).trim()
  } catch {
    throw new Misuse('the file of --token-file or --client-secret-file cannot be read')
  }
}

/** Milliseconds for a connection to the store. */
const STORAGE_TIMEOUT = 5_000

function storageOf(
  values: Values,
  options: Readonly<Record<string, unknown>>,
  secrets: Secrets,
  { environment, directory }: Surroundings,
): StorageAddress | undefined {
  const url = textOf(values['storage']) ?? environment[STORAGE_VARIABLE]?.trim()
  if (url === undefined || url === '') return undefined
  if (URL.canParse(url)) {
    const { password } = new URL(url)
    secrets.add(password)
    secrets.add(decodable(password))
  }
  const timeout = (options['http'] as { timeout?: unknown } | undefined)?.timeout
  const address = readStorageAddress(url, {
    directory,
    timeout: typeof timeout === 'number' && timeout > 0 ? timeout : STORAGE_TIMEOUT,
    table: textOf(values['storage-table']),
    prefix: textOf(values['storage-prefix']),
  })
  if (address === undefined) throw new Misuse('--storage has to be sqlite:./file.db, redis://… or postgres://…')
  return address
}

function decodable(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The last line of defence: whatever a check says, no secret that is known gets through. */
function masked(finding: Finding, { mask }: Secrets): Finding {
  const { found, fix } = finding
  return { ...finding, found: mask(found), ...(fix !== undefined && { fix: mask(fix) }) }
}
