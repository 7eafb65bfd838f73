import type { Clock } from '../clock.js'
import type { GrantsConfig } from '../config/config.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { change } from './change.js'
import { asSeenBy, DEAD_GRANT_TTL, disconnectedGrant, isLiving, readGrant, type Grant, type Identity } from './grant.js'
import { recordKey, type RecordOwner } from './record-key.js'
import type { Records } from './records.js'

/** A grant, and the version to name when it is changed. */
export interface StoredGrant {
  readonly grant: Grant
  readonly version: string
}

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
 * The grants of all users in one store. Every call rejects with {@link StorageError} when the store fails, and with
 * {@link SealedValueError} where a grant has to be opened and cannot be.
 */
export interface GrantStore {
  readonly keyOf: (identity: Identity) => string
  readonly read: (key: string) => Promise<StoredGrant | undefined>
  /** The version of the stored grant, which is not opened. */
  readonly version: (key: string) => Promise<string | undefined>
  /** The new version, or null when another writer has changed the grant since `expected`. */
  readonly write: (key: string, grant: Grant, expected: string) => Promise<string | null>
  /** The same in two steps: seals the grant at once, while the caller does something else, and writes it when told to. */
  readonly prepare: (key: string, grant: Grant) => (expected: string) => Promise<string | null>
  /** Replaces the stored grant, even one that cannot be opened, by a new connection. Returns the old grant as far as it opens. */
  readonly connect: (identity: Identity, connection: Connection) => Promise<Grant | undefined>
  /**
   * Takes away the consent of one MCP client, and the grant with the last; without a client, the grant at once. A grant that
   * cannot be opened is deleted. Undefined if there was nothing to take away, or the grant could not be opened.
   */
  readonly disconnect: (identity: Identity, clientId: string | undefined) => Promise<Disconnected | undefined>
}

/** The rooms that the store of grants needs. */
export interface GrantStoreRooms extends Pick<GrantsConfig, 'credential' | 'nextcloud'> {
  readonly records: Records
  readonly owner: RecordOwner
  readonly clock: Clock
}

export function createGrantStore(rooms: GrantStoreRooms): GrantStore {
  const { records, owner, credential, nextcloud } = rooms
  const keyOf: GrantStore['keyOf'] = ({ issuer, subject }) => recordKey('grant', owner, issuer, subject)
  return {
    keyOf,
    async read(key) {
      const stored = await readStored(records, key)
      return stored && { ...stored, grant: asSeenBy(credential, nextcloud, stored.grant) }
    },
    version: async (key) => (await records.peek(key))?.version,
    write: (key, grant, expected) => records.write(key, grant, expected, ttlOf(grant)),
    prepare(key, grant) {
      const sealing = records.seal(key, grant)
      // It may fail, and never be written after all.
      sealing.catch(() => undefined)
      return async (expected) => records.writeSealed(key, await sealing, expected, ttlOf(grant))
    },
    connect: (identity, connection) => change('the grant', () => attemptConnection(rooms, keyOf(identity), connection)),
    disconnect: (identity, clientId) =>
      change('the grant', () => attemptDisconnection(rooms, keyOf(identity), clientId)),
  }
}

async function attemptConnection(
  { records, credential, nextcloud, clock }: GrantStoreRooms,
  key: string,
  { clientId, ...connection }: Connection,
): Promise<Grant | undefined | 'late'> {
  const before = await readReplaceable(records, key)
  // A user who ended the grant at the authorization server may have meant a client of it: each is asked for again.
  const present = before.grant && asSeenBy(credential, nextcloud, before.grant)
  const agreed = present !== undefined && isLiving(present) ? present.clients : []
  const grant: Grant = {
    ...connection,
    format: 1,
    state: 'active',
    generation: (before.grant?.generation ?? 0) + 1,
    clients: [...new Set([...agreed, clientId])],
    connectedAt: clock.now(),
  }
  return (await records.write(key, grant, before.version)) === null ? 'late' : before.grant
}

async function attemptDisconnection(
  { records, clock }: GrantStoreRooms,
  key: string,
  clientId: string | undefined,
): Promise<Disconnected | undefined | 'late'> {
  const { version, grant } = await readReplaceable(records, key)
  if (version === null || grant?.state === 'disconnected') return undefined
  if (grant === undefined) return (await records.remove(key, version)) ? undefined : 'late'
  const clients = clientId === undefined ? [] : grant.clients.filter((id) => id !== clientId)
  const remains = clients.length > 0
  const left = remains ? { ...grant, clients } : disconnectedGrant(grant, clock.now())
  return (await records.write(key, left, version, ttlOf(left))) === null ? 'late' : { grant, remains }
}

async function readStored(records: Records, key: string): Promise<StoredGrant | undefined> {
  const record = await records.read(key)
  return record && { grant: readGrant(record.value), version: record.version }
}

/** The version of what is there to be replaced, and its content as far as it opens. */
async function readReplaceable(
  records: Records,
  key: string,
): Promise<{ readonly version: string | null; readonly grant: Grant | undefined }> {
  const stored = await readStored(records, key).catch(ifError(SealedValueError, () => records.peek(key)))
  return { version: stored?.version ?? null, grant: stored && 'grant' in stored ? stored.grant : undefined }
}

function ttlOf(grant: Grant): number | undefined {
  return isLiving(grant) ? undefined : DEAD_GRANT_TTL
}
