import type { GrantsConfig } from '../config/config.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { change } from './change.js'
import { adopt, formerGrant, readStored, type AdoptionRooms } from './adoption.js'
import {
  agreedAt,
  ANY_CLIENT,
  asSeenBy,
  disconnectedGrant,
  isLiving,
  credentialIn,
  isOfKind,
  retiredBy,
  secretIn,
  ttlOf,
  type Credential,
  type Grant,
  type Identity,
  type Retired,
  type SentCode,
  type StoredGrant,
} from './grant.js'
import { readGrantPage, type GrantPage } from './grant-pages.js'
import { formerKey, recordKey } from './record-key.js'
import type { KeyPage, StoredEntry } from '../storage-adapter.js'
import type { Records } from './records.js'
import { forgetUses } from './uses.js'

export type { StoredGrant } from './grant.js'

/** The parts of a grant that a new connection brings. */
export type Connection = Pick<
  Grant,
  'fingerprint' | 'refreshEndsAt' | 'scopes' | 'accessToken' | 'refreshToken' | 'appPassword'
> & {
  /** The MCP client that the user agreed to. */
  readonly clientId: string
}

/** The outcome of a disconnection. */
export interface Disconnected {
  /** The grant as it was. */
  readonly grant: Grant
  /** Whether the grant is left, because other MCP clients still have the user's consent. */
  readonly remains: boolean
}

/**
 * The grants of all users of one configuration. Every call rejects with {@link StorageError} when the store fails, and with
 * {@link SealedValueError} where a grant has to be opened and cannot be.
 */
export interface GrantStore {
  readonly keyOf: (identity: Identity) => string
  /** Returns the grant of a user. One of a version before 0.4 is moved under the key that it has today. */
  readonly find: (identity: Identity) => Promise<StoredGrant | undefined>
  /** The same, without any change to the store. */
  readonly look: (identity: Identity) => Promise<StoredGrant | undefined>
  /** Returns the grant under a key, for grants that were found before. */
  readonly read: (key: string) => Promise<StoredGrant | undefined>
  /** Whether the stored grant of a user has this credential, dead or alive, in whichever mode. */
  readonly holds: (identity: Identity, credential: Credential | SentCode) => Promise<boolean>
  /** The version of the stored grant, which is not opened. */
  readonly version: (key: string) => Promise<string | undefined>
  /** The new version, or null when another writer has changed the grant since `expected` (null: there was none). */
  readonly write: (key: string, grant: Grant, expected: string | null) => Promise<string | null>
  /** The same in two steps: seals the grant at once, while the caller does something else, and writes it when told to. */
  readonly prepare: (key: string, grant: Grant) => (expected: string) => Promise<string | null>
  /**
   * Replaces the stored grant, even one that cannot be opened, by a new connection. Returns the credential of the old one that must end
   * elsewhere, which is noted.
   */
  readonly connect: (identity: Identity, connection: Connection) => Promise<Retired | undefined>
  /** Adds the consent to one MCP client more. False if there is no grant that could serve it. */
  readonly agree: (identity: Identity, clientId: string) => Promise<boolean>
  /**
   * Takes away the consent of one MCP client, with what the operator gave to all, and the grant with the last; without a client, the
   * grant at once. A grant that cannot be opened is deleted. Undefined if there was nothing to take away, or the grant could not be opened.
   */
  readonly disconnect: (identity: Identity, clientId: string | undefined) => Promise<Disconnected | undefined>
  /**
   * Reads the grants of all configurations in the store, page by page: `limit` of those that are wanted at most. Rejects with
   * {@link ConfigurationError} where the adapter has no `list`.
   */
  readonly all: (page: KeyPage, accepts?: (grant: Grant) => boolean) => Promise<GrantPage>
}

/** The rooms that the store of grants needs. */
export interface GrantStoreRooms extends AdoptionRooms, Pick<GrantsConfig, 'credential' | 'endsAlone'> {
  /** Notes a credential before a grant loses it, so that it ends elsewhere although the process may end first. */
  readonly note: (identity: Identity, credential: Credential) => Promise<unknown>
}

export function createGrantStore(rooms: GrantStoreRooms): GrantStore {
  const { records, owner, credential } = rooms
  const keyOf: GrantStore['keyOf'] = ({ issuer, subject }) => recordKey('grant', owner, issuer, subject)
  const seen = (stored: StoredGrant | undefined): StoredGrant | undefined =>
    stored && { ...stored, grant: asSeenBy(credential, stored.grant) }
  const isOwn = (grant: Grant): boolean => !isLiving(grant) || isOfKind(credential, grant)
  return {
    keyOf,
    find: async (identity) =>
      seen(
        await change('the grant', async () => {
          return (await readStored(records, keyOf(identity))) ?? adopt(rooms, identity, isOwn)
        }),
      ),
    look: async (identity) =>
      seen((await readStored(records, keyOf(identity))) ?? (await formerGrant(rooms, identity, isOwn))),
    read: async (key) => seen(await readStored(records, key)),
    async holds(identity, credential) {
      const stored = await readStored(records, keyOf(identity))
      const held = stored && credentialIn(stored.grant)
      return held !== undefined && secretIn(held) === secretIn(credential)
    },
    version: async (key) => (await records.peek(key))?.version,
    write: (key, grant, expected) => records.write(key, grant, expected, ttlOf(grant)),
    prepare(key, grant) {
      const sealing = records.seal(key, grant)
      // It may fail, and never be written after all.
      sealing.catch(() => undefined)
      return async (expected) => records.writeSealed(key, await sealing, expected, ttlOf(grant))
    },
    connect: (identity, connection) => change('the grant', () => attemptConnection(rooms, identity, connection)),
    agree: (identity, clientId) => change('the grant', () => attemptAgreement(rooms, identity, clientId)),
    async disconnect(identity, clientId) {
      const outcome = await change('the grant', () => attemptDisconnection(rooms, identity, clientId))
      const ended = outcome?.remains === true ? clientId : undefined
      // The connection has ended, whatever becomes of this.
      await forgetUses(records, owner, identity, ended).catch(() => undefined)
      if (outcome?.remains !== true) await endFormer(rooms, identity, outcome?.grant).catch(() => undefined)
      return outcome
    },
    all: (page, accepts) => readGrantPage(records, page, accepts),
  }
}

async function attemptConnection(
  rooms: GrantStoreRooms,
  identity: Identity,
  { clientId, ...connection }: Connection,
): Promise<Retired | undefined | 'late'> {
  const { records, owner, credential, endsAlone, clock } = rooms
  const before = await readReplaceable(rooms, identity)
  if (before === 'late') return 'late'
  // A user who ended the grant at the authorization server may have meant a client of it: each is asked for again.
  const present = before.grant && asSeenBy(credential, before.grant)
  const agreed = present !== undefined && isLiving(present) ? present.clients : []
  const clients = [...new Set([...agreed, ...(clientId === ANY_CLIENT ? [] : [clientId])])]
  const connectedAt = clock.now()
  const since = (id: string): number => (present === undefined || id === clientId ? connectedAt : agreedAt(present, id))
  const grant: Grant = {
    ...connection,
    format: 1,
    identity: { issuer: identity.issuer, subject: identity.subject },
    owner,
    state: 'active',
    generation: (before.grant?.generation ?? 0) + 1,
    clients,
    agreed: Object.fromEntries(clients.map((id) => [id, since(id)])),
    connectedAt,
  }
  const retired = retiredBy(grant, before.grant, endsAlone)
  if (retired !== undefined) await rooms.note(identity, retired.credential)
  const version = await records.write(before.key, grant, before.version)
  if (version === null) return 'late'
  await before.discard()
  return retired
}

async function attemptAgreement(
  { records, owner, clock }: GrantStoreRooms,
  { issuer, subject }: Identity,
  clientId: string,
): Promise<boolean | 'late'> {
  const key = recordKey('grant', owner, issuer, subject)
  const stored = await readStored(records, key)
  if (stored === undefined || !isLiving(stored.grant)) return false
  const { grant, version } = stored
  if (grant.clients.includes(clientId)) return true
  const since = Object.fromEntries(grant.clients.map((id) => [id, agreedAt(grant, id)]))
  const agreed = { ...since, [clientId]: clock.now() }
  const next = { ...grant, clients: [...grant.clients, clientId], agreed }
  return (await records.write(key, next, version)) === null ? 'late' : true
}

async function attemptDisconnection(
  rooms: GrantStoreRooms,
  identity: Identity,
  clientId: string | undefined,
): Promise<Disconnected | undefined | 'late'> {
  const { records, clock } = rooms
  const before = await readReplaceable(rooms, identity)
  if (before === 'late') return 'late'
  const { key, version, grant } = before
  if (version === null) return (await before.discard()) ? undefined : 'late'
  if (grant?.state === 'disconnected') return undefined
  if (grant === undefined) return (await records.remove(key, version)) ? undefined : 'late'
  const clients = clientId === undefined ? [] : grant.clients.filter((id) => id !== clientId && id !== ANY_CLIENT)
  const remains = clients.length > 0
  // A client that had no consent takes none away.
  if (remains && clients.length === grant.clients.length) return { grant, remains }
  const left = remains ? { ...grant, clients } : disconnectedGrant(grant, clock.now())
  const retired = remains ? undefined : credentialIn(grant)
  if (retired !== undefined) await rooms.note(identity, retired)
  return (await records.write(key, left, version, ttlOf(left))) === null ? 'late' : { grant, remains }
}

/**
 * Deletes what an instance of a version before 0.4 has stored beside the grant: it would come back once the tombstone has expired. Its
 * credential is ended with the deletions that are tried again.
 */
async function endFormer(rooms: GrantStoreRooms, identity: Identity, ended: Grant | undefined): Promise<void> {
  const former = await formerGrant(rooms, identity, () => true)
  if (former === undefined) return
  const credential = credentialIn(former.grant)
  if (credential !== undefined && former.grant.fingerprint !== ended?.fingerprint)
    await rooms.note(identity, credential)
  await rooms.records.remove(formerKey('grant', rooms.owner, identity.issuer, identity.subject), former.version)
}

/** The record that is there to be replaced, and its content as far as it opens. */
interface Replaceable {
  readonly key: string
  /** Null if there is none. */
  readonly version: string | null
  readonly grant: Grant | undefined
  /** Deletes a record of a version before 0.4 that does not open, if there is one. False when another writer was first. */
  readonly discard: () => Promise<boolean>
}

async function readReplaceable(rooms: GrantStoreRooms, identity: Identity): Promise<Replaceable | 'late'> {
  const { records, owner } = rooms
  const { issuer, subject } = identity
  const key = recordKey('grant', owner, issuer, subject)
  const nothing = { key, version: null, grant: undefined, discard: () => Promise.resolve(true) }
  const stored = await readOrPeek(records, key, () => readStored(records, key))
  if (stored !== undefined) return { ...nothing, version: stored.version, grant: grantOf(stored) }
  const former = formerKey('grant', owner, issuer, subject)
  const adopted = await readOrPeek(records, former, () => adopt(rooms, identity, () => true))
  if (adopted === undefined || adopted === 'late') return adopted ?? nothing
  if ('grant' in adopted) return { ...nothing, ...adopted }
  return { ...nothing, discard: () => records.remove(former, adopted.version) }
}

const readOrPeek = <T>(records: Records, key: string, read: () => Promise<T>): Promise<T | StoredEntry | undefined> =>
  read().catch(ifError(SealedValueError, () => records.peek(key)))

const grantOf = (stored: StoredGrant | StoredEntry): Grant | undefined => ('grant' in stored ? stored.grant : undefined)
