import { randomUUID } from 'node:crypto'
import type { GrantsConfig } from '../../config/config.js'
import { SealedValueError } from '../../errors/errors.js'
import { ifError } from '../../errors/if-error.js'
import { keepsEntries } from '../../grants/probe.js'
import { BEGINNING } from '../../grants/record-key.js'
import { plainCount } from '../../grants/plain-tombstone.js'
import { createRecords, type Records } from '../../grants/records.js'
import { createSealer, type Sealer } from '../../grants/seal.js'
import { MODES } from '../../modes.js'
import { forApp, waysToGive } from './words.js'
import { codeOf, StorageAdvice, type Store } from '../stores.js'
import { check, failed, leftOut, missing, passed, type Check, type Subject, type Verdict } from './check.js'
import type { Examination } from './examination.js'

interface SealedStore {
  readonly records: Records
  readonly keys: GrantsConfig['encryptionKeys']
  readonly store: Store
}

const sealedStore: Subject<SealedStore> = ({ config, store, clock, events }) => {
  const { grants, usedProofs, sharedTokens, nextcloud } = config
  const { storage, encryptionKeys: keys } = grants ?? sharedTokens ?? usedProofs ?? NO_STORE
  if (storage !== undefined && store !== undefined) {
    return { records: createRecords(storage, createSealer(keys), clock, events), keys, store }
  }
  if (grants !== undefined) {
    return missing(`grants are kept in memory: name the store of the app by ${forApp('--storage')}`)
  }
  const { credentialFrom } = MODES[nextcloud?.mode ?? 'pass-through']
  return missing(
    credentialFrom === 'exchange'
      ? `no store is given, which ${nextcloud?.mode} mode can do without: if the app has one, name it by ${forApp('--storage')}`
      : `${nextcloud?.mode ?? 'this'} mode stores nothing`,
  )
}

const NO_STORE = { storage: undefined, encryptionKeys: [] }

/** Checks of the store: it can be written and read, and the keys open it. */
export const storageChecks: readonly Check[] = [
  check({ id: 'storage.access', about: sealedStore, run: checkAccess }),
  check({ id: 'storage.seal', needs: ['storage.access'], about: sealedStore, run: checkSeal }),
  check({ id: 'storage.records', needs: ['storage.access'], about: sealedStore, run: checkRecords }),
]

/** Returns a key that no record of the package has. */
const ownKey = (): string => `doctor:${randomUUID()}`
/** Milliseconds that a value of the doctor's own stays, should the doctor die. */
const TTL = 60_000
/** Records looked at. */
const SAMPLE = 20

async function checkAccess(_context: Examination, { records, store }: SealedStore): Promise<Verdict> {
  const { name } = store
  try {
    await store.opened()
    if (await keepsEntries(records)) return passed(`${name}: written, read and deleted`)
    return failed(`${name} does not give back what was written`, 'let it be a primary, not a replica that lags behind')
  } catch (error) {
    if (error instanceof StorageAdvice) return failed(`${name}: ${error.message}`, error.fix)
    return failed(
      `${name} cannot be used (${codeOf(error)})`,
      `check that it runs and can be reached from here, user, password and rights to write; it comes from ${waysToGive('storage')}`,
    )
  }
}

async function checkSeal(_context: Examination, { records }: SealedStore): Promise<Verdict> {
  const key = ownKey()
  const made = randomUUID()
  const version = await records.write(key, made, null, TTL)
  const read = records.read(key).catch(ifError(SealedValueError, () => undefined))
  const found = await read.finally(() => version !== null && records.remove(key, version))
  if (found?.value === made) return passed('what the first key seals opens again')
  return failed('what the first key seals does not open again', 'the store changes values: it must keep any text')
}

/** The order in which several processes change the key. */
const ORDER = 'a new key goes to every process as old,new first, then as new,old, then alone'

/** Only the number of the records that the keys open is told of them. */
async function checkRecords({ config, clock }: Examination, { records, keys, store }: SealedStore): Promise<Verdict> {
  const opened = { first: 0, others: 0, none: 0 }
  const [first, all] = [createSealer(keys.slice(0, 1)), createSealer(keys)]
  const { adapter } = await store.opened()
  for (const key of await adapter.list({ after: BEGINNING, limit: SAMPLE })) {
    if (!key.startsWith(BEGINNING)) break
    const entry = await records.peek(key)
    if (entry === undefined || plainCount(entry.value, clock.now()) !== undefined) continue
    const opens = (sealer: Sealer): Promise<boolean> =>
      sealer
        .open(key, entry.value)
        .then(() => true)
        .catch(ifError(SealedValueError, () => false))
    opened[(await opens(first)) ? 'first' : (await opens(all)) ? 'others' : 'none'] += 1
  }
  const { others, none } = opened
  const looked = opened.first + others + none
  if (looked === 0) return leftOut('there are no records yet')
  if (none === 0) {
    const withOthers =
      others === 0 ? '' : `, ${others} of them with another key than the first, which must stay in the list`
    const next = keys.length < 2 ? '' : `; ${ORDER}`
    return passed(`${looked} of the records were looked at, and all open${withOthers}${next}`)
  }
  return failed(
    `${none} of ${looked} records that were looked at open with none of the keys given`,
    config.grants === undefined
      ? `let ${waysToGive('encryptionKey')} hold the same keys in every instance (${ORDER}); no user has to do anything`
      : `put the key that they were sealed with back into ${waysToGive('encryptionKey')}, behind the new one, separated by a comma (${ORDER}); if it is lost, these users must connect again`,
  )
}
