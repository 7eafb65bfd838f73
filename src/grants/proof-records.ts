import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import type { Events } from '../events.js'
import { sealingKeys } from './open-grants.js'
import { recordKey } from './record-key.js'
import { createRecords } from './records.js'
import { createSealer } from './seal.js'

/**
 * Returns a function that notes in the store that a DPoP proof was used, and resolves to false if it was noted before. It rejects with
 * {@link StorageError} when the store fails. Undefined: instances share no store for that.
 *
 * @param ttlMs milliseconds for which it is known
 */
export function createProofRecords(
  { client, resource, nextcloud, usedProofs }: Pick<Config, 'client' | 'resource' | 'nextcloud' | 'usedProofs'>,
  clock: Clock,
  events: Events,
): ((key: string, jti: string, ttlMs: number) => Promise<boolean>) | undefined {
  if (usedProofs === undefined) return undefined
  const { storage, encryptionKeys } = usedProofs
  const records = createRecords(storage, createSealer(sealingKeys(encryptionKeys, storage)), clock, events)
  const owner = { clientId: client?.id ?? '', resource, nextcloud: nextcloud?.base ?? '' }
  return async (key, jti, ttlMs) =>
    (await records.writeUncounted(recordKey('proof', owner, key, jti), { used: true }, null, ttlMs)) !== null
}
