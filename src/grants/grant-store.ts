import type { Clock } from '../clock.js'
import { SealedValueError } from '../errors/errors.js'
import { change } from './change.js'
import {
  asSeenBy,
  DEAD_GRANT_TTL,
  deadGrant,
  isLiving,
  readGrant,
  type Grant,
  type GrantCredential,
  type Identity,
} from './grant.js'
import { recordKey, type RecordOwner } from './record-key.js'
import type { Records } from './records.js'

/** A grant, and the version to name when it is changed. */
export interface StoredGrant {
  readonly grant: Grant
  readonly version: string
}

/** What a new connection brings. */
export type Connection = Pick<
  Grant,
  'fingerprint' | 'refreshEndsAt' | 'scopes' | 'accessToken' | 'refreshToken' | 'appPassword'
> & {
  /** The MCP client that the user agreed to. */
  readonly clientId: string
}

/** What a disconnection took away. */
export interface Disconnected {
  readonly grant: Grant
  /** Other MCP clients still have the user's consent, so the grant itself is left. */
  readonly remains: boolean
}

/**
 * The grants of all users in one store. Every call rejects with {@link StorageError} when the store fails, and with
 * {@link SealedValueError} where a grant has to be opened and cannot be.
 */
export interface GrantStore {
  readonly keyOf: (identity: Identity) => string
  readonly read: (key: string) => Promise<StoredGrant | undefined>
  /** The version of what is stored, without opening it. */
  readonly version: (key: string) => Promise<string | undefined>
  /** The new version, or null when somebody else has changed the grant since `expected`. */
  readonly write: (key: string, grant: Grant, expected: string) => Promise<string | null>
  /** The same in two steps: seals the grant at once, while the caller does something else, and writes it when told to. */
  readonly prepare: (key: string, grant: Grant) => (expected: string) => Promise<string | null>
  /** Puts a new connection in the place of whatever is there, also of what cannot be opened; what was there, as far as it can. */
  readonly connect: (identity: Identity, connection: Connection) => Promise<Grant | undefined>
  /**
   * Takes away the consent of one MCP client, and the grant with the last; without a client, the grant at once. What cannot be
   * opened is deleted. Undefined when there was nothing to take away.
   */
  readonly disconnect: (identity: Identity, clientId: string | undefined) => Promise<Disconnected | undefined>
}

/**
 * @param credential what this server's mode can use of a grant
 * @param nextcloud base URL of the Nextcloud that app passwords have to be of
 */
export function createGrantStore(
  records: Records,
  owner: RecordOwner,
  clock: Clock,
  credential: GrantCredential = 'refresh-token',
  nextcloud?: string,
): GrantStore {
  const keyOf = ({ issuer, subject }: Identity): string => recordKey('grant', owner, issuer, subject)

  async function readStored(key: string): Promise<StoredGrant | undefined> {
    const record = await records.read(key)
    return record && { grant: readGrant(record.value), version: record.version }
  }

  async function read(key: string): Promise<StoredGrant | undefined> {
    const stored = await readStored(key)
    return stored && { ...stored, grant: asSeenBy(credential, nextcloud, stored.grant) }
  }

  function write(key: string, grant: Grant, expected: string | null): Promise<string | null> {
    return records.write(key, grant, expected, ttlOf(grant))
  }

  function prepare(key: string, grant: Grant): (expected: string) => Promise<string | null> {
    const sealing = records.seal(key, grant)
    // Where it fails, and nobody writes it after all.
    sealing.catch(() => undefined)
    return async (expected) => records.writeSealed(key, await sealing, expected, ttlOf(grant))
  }

  /** What is there, to be replaced: its content, where it can be opened. */
  async function readReplaceable(key: string): Promise<{ version: string | null; grant: Grant | undefined }> {
    try {
      const stored = await readStored(key)
      return { version: stored?.version ?? null, grant: stored?.grant }
    } catch (error) {
      if (!(error instanceof SealedValueError)) throw error
      return { version: (await records.peek(key))?.version ?? null, grant: undefined }
    }
  }

  return {
    keyOf,
    read,
    version: async (key) => (await records.peek(key))?.version,
    write,
    prepare,
    connect(identity, { clientId, ...connection }) {
      const key = keyOf(identity)
      return change('the grant', async () => {
        const before = await readReplaceable(key)
        // A user who ended the grant at the authorization server may have meant a client of it: each is asked for anew.
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
        return (await write(key, grant, before.version)) === null ? 'late' : before.grant
      })
    },
    disconnect(identity, clientId) {
      const key = keyOf(identity)
      return change<Disconnected | undefined>('the grant', async () => {
        const { version, grant } = await readReplaceable(key)
        if (version === null || grant?.state === 'disconnected') return undefined
        if (grant === undefined) return (await records.remove(key, version)) ? undefined : 'late'
        const clients = clientId === undefined ? [] : grant.clients.filter((id) => id !== clientId)
        const remains = clients.length > 0
        const left = remains ? { ...grant, clients } : deadGrant(grant, 'disconnected', 'disconnected', clock.now())
        return (await write(key, left, version)) === null ? 'late' : { grant, remains }
      })
    },
  }
}

function ttlOf(grant: Grant): number | undefined {
  return isLiving(grant) ? undefined : DEAD_GRANT_TTL
}
