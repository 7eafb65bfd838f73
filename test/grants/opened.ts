import { createEvents, type McpAuthEvent } from '../../src/events.js'
import type { Grant } from '../../src/grants/grant.js'
import { createGrantStore } from '../../src/grants/grant-store.js'
import { createRecords } from '../../src/grants/records.js'
import { createSealer } from '../../src/grants/seal.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { watchedStorage } from '../support/storages.js'

export const ALICE = { issuer: 'https://idp.example.com', subject: 'alice' }
export const OWNER = {
  clientId: 'client',
  resource: 'https://mcp.example.com/mcp',
  nextcloud: 'https://cloud.example.com/',
}

/** A grant without any credential. */
export const BARE: Grant = {
  format: 1,
  state: 'active',
  generation: 1,
  fingerprint: 'first',
  scopes: [],
  clients: [],
  connectedAt: 0,
}

/** Records and grants over memory whose calls are counted and can be made to fail: with a key of their own, or over another's memory. */
export function opened(keyByte = 7, clock = manualClock(), memory = new MemoryStorage({}, clock)) {
  const watched = watchedStorage(memory)
  const events: McpAuthEvent[] = []
  const records = createRecords(
    watched.storage,
    createSealer([new Uint8Array(32).fill(keyByte)]),
    clock,
    createEvents((event) => events.push(event), clock),
  )
  const store = createGrantStore({
    records,
    owner: OWNER,
    credential: 'refresh-token',
    endsAlone: false,
    note: () => Promise.resolve(true),
    clock,
  })
  const key = store.keyOf(ALICE)
  return {
    clock,
    memory,
    ...watched,
    events,
    records,
    store,
    key,
    /** What is stored for Alice. */
    stored: async () => (await store.read(key))?.grant,
    connect: (refreshToken = 'first', clientId = 'client-1') =>
      store.connect(ALICE, { refreshToken, fingerprint: refreshToken, clientId, scopes: [] }),
  }
}
