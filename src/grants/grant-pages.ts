import { ConfigurationError, SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { KeyPage } from '../storage-adapter.js'
import { wasNone, type Grant } from './grant.js'
import { deletionsIn, type DeletionsOfOwner } from './pending-deletions.js'
import { readGrant } from './read-grant.js'
import { BEGINNING } from './record-key.js'
import type { OpenRecord, Records } from './records.js'

/** A grant of any configuration, as it is stored. */
export interface ListedGrant {
  readonly key: string
  readonly version: string
  /** One of a version before 0.4 names neither its user nor its configuration. */
  readonly grant: Grant
}

/** A part of the grants in a store. */
export interface GrantPage {
  readonly grants: readonly ListedGrant[]
  /** Credentials that must end elsewhere. Their records are among the others. */
  readonly deletions: readonly DeletionsOfOwner[]
  /** Records that are no grants: links, leases and the like. */
  readonly others: number
  /** Records that cannot be opened with the keys given. */
  readonly sealed: number
  /** The key behind which the next page begins. Undefined: this was the last. A page may be short, or empty, and have a next. */
  readonly next?: string
}

/** Records that are read for one grant of a page, at most: the others are links and leases, mostly. */
const READ_FOR_ONE = 10
/** Records that are read at once. */
const AT_ONCE = 16

/**
 * Reads grants in the order of their keys, `limit` at most. No more than ten times as many records are read in one call.
 *
 * @param accepts chooses the grants that are wanted, which count
 * @throws {ConfigurationError} the storage has no `list`
 */
export async function readGrantPage(
  records: Pick<Records, 'list' | 'read'>,
  { after = BEGINNING, limit }: KeyPage,
  accepts: (grant: Grant) => boolean = () => true,
): Promise<GrantPage> {
  if (records.list === undefined) {
    throw new ConfigurationError('The storage cannot list its entries: its adapter has no list()', 'storage')
  }
  const most = READ_FOR_ONE * limit
  // One more, which tells whether there is a next page.
  const listed = await records.list({ after, limit: most + 1 })
  const keys = listed.filter((key) => key.startsWith(BEGINNING))
  const grants: ListedGrant[] = []
  const deletions: DeletionsOfOwner[] = []
  const counts = { others: 0, sealed: 0, gone: 0 }
  let read = 0
  while (read < Math.min(keys.length, most) && grants.length < limit) {
    const batch = await inBatches(keys.slice(read, Math.min(read + AT_ONCE, most)), (key) => readRecord(records, key))
    for (const found of batch) {
      if (grants.length === limit) break
      read += 1
      if (typeof found === 'string') counts[found] += 1
      else if ('entries' in found) {
        counts.others += 1
        deletions.push(found)
      } else if (accepts(found.grant)) grants.push(found)
    }
  }
  const { others, sealed } = counts
  const next = keys.length > read ? keys[read - 1] : undefined
  return { grants, deletions, others, sealed, ...(next !== undefined && { next }) }
}

/** `gone`: deleted since it was listed. */
type NoGrant = 'others' | 'sealed' | 'gone'

async function readRecord(
  { read }: Pick<Records, 'read'>,
  key: string,
): Promise<ListedGrant | DeletionsOfOwner | NoGrant> {
  const record = await read(key).catch(ifError(SealedValueError, () => 'sealed' as const))
  if (record === undefined || record === 'sealed') return record ?? 'gone'
  const grant = grantIn(record)
  return grant === undefined ? (deletionsIn(record) ?? 'others') : { key, version: record.version, grant }
}

/** The grant that a record holds. Every grant has these members, and no other record has all of them. */
function grantIn({ value }: OpenRecord): Grant | undefined {
  const { format, state, generation, clients } = Object(value) as Partial<Grant>
  const isGrant = format === 1 && typeof state === 'string' && typeof generation === 'number' && Array.isArray(clients)
  return isGrant && !wasNone(value as Grant) ? readGrant(value) : undefined
}

/** Does the work for each item, for a few at once, and returns the results in the order of the items. */
export async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let next = 0; next < items.length; next += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(next, next + AT_ONCE).map(work))))
  }
  return results
}
