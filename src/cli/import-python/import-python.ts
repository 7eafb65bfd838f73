import { encryptionKeys } from '../../config/encryption-keys.js'
import { variableOf } from '../../config/declarations.js'
import { inOneLine } from '../../errors/secrecy.js'
import { ANY_CLIENT } from '../../grants/grant.js'
import {
  hidePassword,
  Misuse,
  readArguments,
  readSecret,
  readSetUp,
  textOf,
  type Surroundings,
} from '../command-line.js'
import { Failure, runOnStore } from '../failures.js'
import type { Values } from '../options.js'
import { createSecrets, type Secrets } from '../secrets.js'
import { openSetUp, type StoreSetUp } from '../store-set-up.js'
import { unquoted } from '../stores.js'
import { accountRule, createAccounts, listedAccounts, type AccountRule, type Accounts } from './accounts.js'
import { createFernet } from './fernet.js'
import { countOf, importRows, type ImportRooms, type Tally } from './import-rows.js'
import { IMPORT_HELP, IMPORT_OPTIONS } from './options.js'
import { openPythonStore } from './python-store.js'
import { report } from './report.js'
import { SECRETS, type Order } from './rows.js'

/** Milliseconds for a connection to the Python server's PostgreSQL. */
const TIMEOUT = 5_000

/**
 * Imports the connections of a Python nextcloud-mcp-server.
 *
 * @returns the exit status: 0 done, 1 something is wrong, 2 misuse
 */
export async function importPython(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const secrets = createSecrets()
  return runOnStore('import-python', secrets, surroundings, async () => {
    const { values, given } = readArguments(args, IMPORT_OPTIONS, 1)
    if (values['help'] === true) {
      surroundings.print(IMPORT_HELP)
      return 0
    }
    const place = unquoted(given[0] ?? '')
    if (place === '') throw new Misuse('the store of the Python server is missing: a file of SQLite, or postgres://…')
    hidePassword(place, secrets)
    const order = readOrder(values)
    const setUp = await readSetUp(values, secrets, surroundings, order.isRehearsal ? 'forget' : 'make')
    const fernet = createFernet(await readKeys(values, secrets, surroundings))
    const accountList = await readSecret(values['accounts'], surroundings)
    const list = accountList === undefined ? undefined : listedAccounts(accountList)
    const target = openSetUp(setUp, surroundings)
    try {
      const accounts = accountsOf(target, list, surroundings)
      const source = await openPythonStore(place, { directory: surroundings.directory, timeout: TIMEOUT })
      try {
        return await transfer({ source, fernet, target, accounts, order }, secrets, surroundings)
      } finally {
        accounts?.close()
        await source.close()
      }
    } finally {
      await target.store.close()
    }
  })
}

async function transfer(
  rooms: Omit<ImportRooms, 'clock'>,
  secrets: Secrets,
  { clock, print }: Surroundings,
): Promise<number> {
  const { source, target, accounts, order } = rooms
  await target.grants.ready()
  const tally = await importRows({ ...rooms, clock })
  print(secrets.mask(report(tally, { from: source.name, target, accounts, order })))
  if (isWrongKey(tally)) throw new Failure(`wrong key: it opens nothing in ${source.name}`)
  return countOf(tally, 'unasked') > 0 ? 1 : 0
}

/** Undefined in a mode that keeps no app passwords. */
function accountsOf(
  { config, settings }: StoreSetUp,
  list: AccountRule | undefined,
  { clock }: Surroundings,
): Accounts | undefined {
  if (SECRETS[settings.credential] !== SECRETS['app-password']) return undefined
  return createAccounts(list ?? accountRule(settings.connect?.identity), config, clock)
}

/** Whether there was something to open, and nothing was opened. */
function isWrongKey({ tables }: Tally): boolean {
  const of = (count: (table: Tally['tables'][number]) => number): number => tables.reduce((sum, t) => sum + count(t), 0)
  return of(({ rows }) => rows) > 0 && of(({ opened }) => opened) === 0
}

function readOrder(values: Values): Order {
  const clients = ((values['clients'] ?? []) as readonly string[]).flatMap((list) => list.split(','))
  const ids = clients.map((id) => id.trim()).filter((id) => id !== '')
  if (ids.length === 0) {
    throw new Misuse(
      '--clients is missing: the ids of the MCP clients that the imported connections serve, or any (each client that a user ever signs in with)',
    )
  }
  const isAny = ids.includes('any')
  if ((isAny && ids.length > 1) || ids.includes(ANY_CLIENT))
    throw new Misuse('--clients is a list of ids, or any alone')
  const restricted = textOf(values['restricted']) ?? 'skip'
  if (restricted !== 'skip' && restricted !== 'import') throw new Misuse('--restricted is skip or import')
  return {
    clients: isAny ? [ANY_CLIENT] : [...new Set(ids.map(inOneLine))],
    takesRestricted: restricted === 'import',
    isRehearsal: values['dry-run'] === true,
    after: textOf(values['after']) ?? '',
  }
}

/** Reads the keys of the Python server: of a file, or else those that the environment has for this package too. */
async function readKeys(values: Values, secrets: Secrets, surroundings: Surroundings): Promise<readonly Uint8Array[]> {
  const variable = variableOf('encryptionKey')
  const file = textOf(values['key-file'])
  const text = file === undefined ? surroundings.environment[variable] : await readSecret(file, surroundings)
  const name = file === undefined ? variable : 'the file of --key-file'
  const keys = (text ?? '').split(/[\s,]+/).filter((key) => key !== '')
  for (const key of keys) secrets.add(key)
  if (keys.length === 0)
    throw new Misuse(`the key of the Python server is missing: set ${variable}, or name a --key-file`)
  return encryptionKeys.check({ value: keys, name, option: 'encryptionKey' })()
}
