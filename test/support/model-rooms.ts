import { errors } from 'oidc-provider'
import { createEvents } from '../../src/events.js'
import type { RecordOwner } from '../../src/grants/record-key.js'
import { createRecords } from '../../src/grants/records.js'
import { createSealer } from '../../src/grants/seal.js'
import type { ModelRooms } from '../../src/nextcloud-sign-in/model-records.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import type { ManualClock } from './clock.js'

const OWNER = { clientId: 'client', resource: 'https://mcp.example.com/mcp', nextcloud: 'https://cloud.example.com/' }

/**
 * The rooms of one instance of the sign-in on a store.
 *
 * @param byte each byte of its key
 */
export function modelRooms(
  storage: StorageAdapter,
  clock: ManualClock,
  { owner = OWNER, byte = 7 }: { readonly owner?: RecordOwner; readonly byte?: number } = {},
): ModelRooms {
  const events = createEvents(() => undefined, clock)
  return {
    records: createRecords(storage, createSealer([new Uint8Array(32).fill(byte)]), clock, events),
    owner,
    clock,
    errors,
  }
}
