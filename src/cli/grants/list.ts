import { named, variableOf } from '../../config/declarations.js'
import { encryptionKeys } from '../../config/encryption-keys.js'
import { printableJson } from '../../errors/rejection-details.js'
import { inOneLine } from '../../errors/secrecy.js'
import { createEvents } from '../../events.js'
import type { Grant, Identity } from '../../grants/grant.js'
import { readGrantPage } from '../../grants/grant-pages.js'
import type { RecordOwner } from '../../grants/record-key.js'
import { createRecords, type Records } from '../../grants/records.js'
import { createSealer } from '../../grants/seal.js'
import { Misuse, type SetUp, type Surroundings } from '../command-line.js'
import { Failure } from '../failures.js'
import { waysToGive, type Values } from '../options.js'
import { lazyAdapter } from '../stores.js'

/** What a command on connections is called with. */
export interface Call {
  readonly setUp: SetUp
  readonly values: Values
}

/** Connections that are read at once. */
export const PAGE = 100

/** Where connections belong, and how many there are in each state. */
interface Configuration {
  readonly resource: string
  readonly clientId: string
  readonly nextcloud: string
  readonly issuer: string
  readonly states: Record<string, number>
  /** Credentials that are still to be ended elsewhere. */
  pending: number
}

/** Prints every connection in the store, and the number of each configuration. No secret is among it. */
export async function listGrants({ setUp, values }: Call, surroundings: Surroundings): Promise<number> {
  const { print } = surroundings
  const records = openRecords(setUp, surroundings)
  const configurations = new Map<string, Configuration>()
  const counts = { former: 0, sealed: 0, opened: 0 }
  const isJson = values['json'] === true
  let isFirst = true
  if (isJson) print('{"connections":[')
  for (let after: string | undefined, more = true; more;) {
    const { grants, deletions, others, sealed, next } = await readGrantPage(records, { after, limit: PAGE })
    counts.sealed += sealed
    counts.opened += others + grants.length
    for (const { owner, entries } of deletions) {
      for (const { identity } of entries) configurationOf(configurations, owner, identity).pending += 1
    }
    for (const { grant } of grants) {
      const { identity, owner, state } = grant
      if (identity === undefined || owner === undefined) {
        counts.former += 1
        continue
      }
      const { states } = configurationOf(configurations, owner, identity)
      states[state] = (states[state] ?? 0) + 1
      const named = { ...grant, identity, owner }
      const text = isJson ? jsonOf(named) : lineOf(named)
      print(isJson && !isFirst ? `,\n${text}` : text)
      isFirst = false
    }
    after = next
    more = next !== undefined
  }
  const all = [...configurations.values()]
  const { former, sealed } = counts
  print(
    isJson
      ? `],\n"configurations":${printableJson(all)},"former":${former},"sealed":${sealed}}\n`
      : summary(all, counts),
  )
  if (sealed > 0 && counts.opened === 0) {
    throw new Failure(`wrong key: ${named('encryptionKey')} opens none of the ${sealed} records`)
  }
  return 0
}

/** Opens the store with its keys. Nothing else of the configuration is needed. */
function openRecords({ store }: SetUp, { environment, clock }: Surroundings): Records {
  if (store === undefined) throw new Misuse(`the store is missing: name it by ${waysToGive('storage')}`)
  const value = environment[variableOf('encryptionKey')]
  if (value === undefined) throw new Misuse(`the keys of the store are missing: set ${variableOf('encryptionKey')}`)
  const keys = encryptionKeys.check({ value, name: variableOf('encryptionKey'), option: 'encryptionKey' })()
  return createRecords(
    lazyAdapter(store),
    createSealer(keys),
    clock,
    createEvents(() => undefined, clock),
  )
}

function configurationOf(
  known: Map<string, Configuration>,
  { resource, clientId, nextcloud }: RecordOwner,
  { issuer }: Identity,
): Configuration {
  const key = JSON.stringify([resource, clientId, nextcloud, issuer])
  const configuration = known.get(key) ?? { resource, clientId, nextcloud, issuer, states: {}, pending: 0 }
  known.set(key, configuration)
  return configuration
}

const kindOf = ({ appPassword, refreshToken }: Grant): string =>
  appPassword !== undefined ? 'app password' : refreshToken !== undefined ? 'refresh token' : 'nothing'

const dateOf = (ms: number): string => new Date(ms).toISOString()

/** A connection that says whose and where it is. */
interface NamedGrant extends Grant {
  readonly identity: Identity
  readonly owner: RecordOwner
}

function jsonOf(grant: NamedGrant): string {
  const { identity, owner, state, clients, connectedAt } = grant
  const since = dateOf(connectedAt)
  return printableJson({ ...identity, ...owner, state, holds: kindOf(grant), clients, since })
}

function lineOf(grant: NamedGrant): string {
  const { identity, owner, state, clients, connectedAt } = grant
  const fields = [
    identity.subject,
    state,
    kindOf(grant),
    dateOf(connectedAt).slice(0, 10),
    clients.join(',') || '-',
    identity.issuer,
    owner.resource,
    owner.clientId,
    owner.nextcloud,
  ]
  return `${fields.map(inOneLine).join('\t')}\n`
}

function summary(all: readonly Configuration[], { former, sealed }: { former: number; sealed: number }): string {
  return [
    ...all.map(({ resource, clientId, nextcloud, issuer, states, pending }) => {
      const counted = Object.entries(states).map(([state, count]) => `${count} ${state}`)
      if (pending > 0) counted.push(`${pending} to be ended elsewhere`)
      return `${counted.join(', ')}: resource ${resource}, client ${clientId}, Nextcloud ${nextcloud}, issuer ${issuer}`
    }),
    ...(all.length === 0 ? ['no connections'] : []),
    ...(former === 0 ? [] : [`${former} of a version before 0.4: ${FORMER}`]),
    ...(sealed === 0 ? [] : [`${sealed} records that the keys do not open`]),
    '',
  ].join('\n')
}

/** What becomes of grants that name neither their user nor their configuration. */
export const FORMER =
  'they name neither user nor configuration. Started with the configuration that they are of, this version moves each as its user comes'
