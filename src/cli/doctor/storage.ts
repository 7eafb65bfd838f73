import { randomBytes, randomUUID } from 'node:crypto'
import { McpAuthError, SealedValueError } from '../../errors/errors.js'
import { createRecords, type Records } from '../../grants/records.js'
import { createSealer } from '../../grants/seal.js'
import type { Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { StorageAdvice } from './storage-client.js'
import { waysToGive } from './options.js'

/** Whether the store can be written and read, and opened with the keys given. */
export const storageChecks: readonly Check<Examination>[] = [
  { id: 'storage.access', run: checkAccess },
  { id: 'storage.seal', needs: ['storage.access'], run: checkSeal },
  { id: 'storage.records', needs: ['storage.access'], run: checkRecords },
]

/** No record of the package begins so. */
const ownKey = (): string => `doctor:${randomUUID()}`
/** Milliseconds for which it stays, should the doctor die. */
const TTL = 60_000
/** Records looked at. */
const SAMPLE = 20

/** The records; or, as text, why there is no store. */
function recordsOf({ config, storage, clock, events }: Examination): Records | string {
  const { grants } = config
  if (grants === undefined) return `${config.nextcloud?.mode ?? 'this'} mode stores nothing`
  if (grants.storage === undefined || storage === undefined) {
    return 'grants are kept in memory: name the store of the app by --storage'
  }
  return createRecords(grants.storage, createSealer(grants.encryptionKeys), clock, events)
}

async function checkAccess(context: Examination): Promise<Verdict> {
  const records = recordsOf(context)
  if (typeof records === 'string') return leftOut(records)
  const { storage } = context
  const name = storage?.name ?? ''
  const key = ownKey()
  const value = randomBytes(16).toString('hex')
  try {
    await context.openStorage()
    const version = await records.writeSealed(key, value, null, TTL)
    const found = await records.peek(key)
    const removed = version !== null && (await records.remove(key, version))
    if (found?.value === value && found.version === version && removed && (await records.peek(key)) === undefined) {
      return passed(`${name}: written, read and deleted`)
    }
    return failed(`${name} does not give back what was written`, 'let it be a primary, not a replica that lags behind')
  } catch (error) {
    if (error instanceof StorageAdvice) return failed(`${name}: ${error.message}`, error.fix)
    return failed(
      `${name} cannot be used (${codeOf(error)})`,
      `check that it runs and can be reached from here, user, password and rights to write; it comes from ${waysToGive('storage')}`,
    )
  }
}

/** `ECONNREFUSED`, `28P01`, `SQLITE_READONLY`: a message may quote the connection string. */
function codeOf(error: unknown): string {
  if (error instanceof McpAuthError) return /\(([A-Z0-9_]{1,32})\)$/.exec(error.message)?.[1] ?? error.code
  const { code, errors } = error as { code?: unknown; errors?: readonly unknown[] }
  if (typeof code === 'string' && /^[A-Z0-9_]{1,32}$/.test(code)) return code
  if (Array.isArray(errors) && errors.length > 0) return codeOf(errors[0])
  return error instanceof Error && /^\w{1,40}$/.test(error.name) ? error.name : 'unknown failure'
}

async function checkSeal(context: Examination): Promise<Verdict> {
  const records = recordsOf(context)
  if (typeof records === 'string') return leftOut(records)
  const key = ownKey()
  const value = { made: randomUUID() }
  const version = await records.write(key, value, null, TTL)
  try {
    const opened = (await records.read(key))?.value as typeof value | undefined
    if (opened?.made === value.made) return passed('what the first key seals opens again')
  } catch (error) {
    if (!(error instanceof SealedValueError)) throw error
  } finally {
    if (version !== null) await records.remove(key, version)
  }
  return failed('what the first key seals does not open again', 'the store changes values: it has to keep any text')
}

/** Somebody's records: how many the keys open is all that is told of them. */
async function checkRecords(context: Examination): Promise<Verdict> {
  const records = recordsOf(context)
  if (typeof records === 'string') return leftOut(records)
  const keys = await (await context.openStorage()).someKeys(SAMPLE)
  const opened = { first: 0, older: 0, none: 0 }
  const first = createSealer((context.config.grants?.encryptionKeys ?? []).slice(0, 1))
  const all = createSealer(context.config.grants?.encryptionKeys ?? [])
  for (const key of keys) {
    const entry = await records.peek(key)
    if (entry === undefined) continue
    const opens = (sealer: typeof all): Promise<boolean> =>
      sealer.open(key, entry.value).then(
        () => true,
        () => false,
      )
    if (await opens(first)) opened.first += 1
    else if (await opens(all)) opened.older += 1
    else opened.none += 1
  }
  const looked = opened.first + opened.older + opened.none
  if (looked === 0) return leftOut('there are no records yet')
  if (opened.none === 0) {
    return passed(
      `${looked} of the records were looked at, and all open${opened.older === 0 ? '' : `, ${opened.older} of them with an older key, which has to stay in the list`}`,
    )
  }
  return failed(
    `${opened.none} of ${looked} records that were looked at open with none of the keys given`,
    `put the key that they were sealed with back into ${waysToGive('encryptionKey')}, behind the new one, separated by a comma; if it is lost, these users have to connect again`,
  )
}
