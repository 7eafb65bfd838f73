import type { Clock } from '../../clock.js'
import type { Grant, Identity } from '../../grants/grant.js'
import type { StoreSetUp } from '../store-set-up.js'
import type { Accounts } from './accounts.js'
import type { Fernet } from './fernet.js'
import type { PythonRow, PythonStore } from './python-store.js'
import {
  givenAt,
  restrictionOf,
  SECRETS,
  standing,
  subjectOf,
  type Brought,
  type Order,
  type Outcome,
  type Secrets,
  type Terms,
} from './rows.js'

/** What became of the rows of a table. */
export interface TableTally {
  readonly title: string
  readonly counts: Map<Outcome, number>
  rows: number
  /** Rows that the key opens. */
  opened: number
}

export interface Tally {
  readonly tables: readonly TableTally[]
  /** Users who restricted an app password to scopes, and the scopes. */
  readonly restricted: readonly (readonly [subject: string, scopes: string])[]
  /** The client that the Python server registered for itself. */
  readonly clientId: string | undefined
}

export const countOf = ({ tables }: Pick<Tally, 'tables'>, outcome: Outcome): number =>
  tables.reduce((sum, { counts }) => sum + (counts.get(outcome) ?? 0), 0)

/** The rooms that an import needs. */
export interface ImportRooms {
  readonly source: PythonStore
  readonly fernet: Fernet
  readonly target: StoreSetUp
  /** Undefined in a mode that keeps no app passwords. */
  readonly accounts: Accounts | undefined
  readonly order: Order
  readonly clock: Clock
}

/** Users named with their restriction. */
const MOST_NAMED = 1_000

/** Imports row by row, those of the mode's own kind, and counts all. What is there already stays as it is. */
export async function importRows(rooms: ImportRooms): Promise<Tally> {
  const { source, order, target, clock } = rooms
  const { config, settings } = target
  const clientId = await source.clientId()
  const terms: Terms = {
    takesRestricted: order.takesRestricted,
    nextcloud: settings.nextcloud,
    // In another mode it is the mode that they are left for.
    isOwnClient:
      clientId === undefined || SECRETS[settings.credential].table !== 'refresh_tokens'
        ? undefined
        : clientId === config.client?.id,
    now: clock.now(),
  }
  const tables: TableTally[] = []
  const restricted: [string, string][] = []
  for (const secrets of Object.values(SECRETS)) {
    const tally: TableTally = { title: secrets.title, counts: new Map(), rows: 0, opened: 0 }
    tables.push(tally)
    for await (const row of source.rows(secrets.table, order.after)) {
      tally.rows += 1
      const outcome = await importRow(rooms, secrets, row, { terms, onOpened: () => (tally.opened += 1) })
      tally.counts.set(outcome, (tally.counts.get(outcome) ?? 0) + 1)
      const scopes = outcome === 'restricted' || outcome === 'unrestricted' ? restrictionOf(row) : undefined
      if (scopes !== undefined && restricted.length < MOST_NAMED) {
        restricted.push([row.user_id, typeof scopes === 'string' ? scopes : scopes.join(' ') || 'none'])
      }
    }
  }
  return { tables, restricted, clientId }
}

async function importRow(
  rooms: ImportRooms,
  secrets: Secrets,
  row: PythonRow,
  { terms, onOpened }: { readonly terms: Terms; readonly onOpened: () => void },
): Promise<Outcome> {
  const { fernet, target, accounts, order } = rooms
  const sealed = row[secrets.column]
  const secret = typeof sealed === 'string' || sealed instanceof Uint8Array ? fernet(sealed) : undefined
  if (secret === undefined) return 'sealed'
  onOpened()
  const subject = subjectOf(row)
  if (subject === undefined) return 'nobody'
  const brought = secrets.read(row, secret, terms)
  if (typeof brought === 'string') return brought
  if (secrets !== SECRETS[target.settings.credential]) return 'ofMode'
  const { store } = target.grants
  const identity = { issuer: target.issuer, subject }
  const there = await standing(() => store.look(identity))
  if (there !== undefined) return there
  const { appPassword } = brought.credential
  const no = appPassword && (await accounts?.whyNotTheirs(identity, appPassword))
  if (no !== undefined) return no
  if (!order.isRehearsal) {
    const grant = grantOf(rooms, identity, brought, givenAt(row, terms))
    // Another writer was first: the user has just connected.
    if ((await store.write(store.keyOf(identity), grant, null)) === null) return 'kept'
  }
  return brought.isRestricted ? 'unrestricted' : 'imported'
}

function grantOf(
  { target, order, clock }: ImportRooms,
  identity: Identity,
  { credential }: Brought,
  connectedAt: number,
): Grant {
  const { owner, fingerprint } = target.grants
  const { clients } = order
  const agreedAt = clock.now()
  return {
    ...credential,
    format: 1,
    identity,
    owner,
    state: 'active',
    generation: 1,
    fingerprint: fingerprint(credential.appPassword?.password ?? credential.refreshToken ?? ''),
    clients,
    agreed: Object.fromEntries(clients.map((id) => [id, agreedAt])),
    connectedAt,
  }
}
