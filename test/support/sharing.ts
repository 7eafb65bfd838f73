import type { McpAuth, McpAuthOptions, StorageAdapter } from '../../src/index.js'
import type { NextcloudMode } from '../../src/modes.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock, type ManualClock } from './clock.js'
import { ENCRYPTION_KEY } from './grant-constants.js'
import { world } from './world.js'

/** A clock that stands still while somebody waits for another instance, which has all the time that it needs. */
export function patientClock(): ManualClock {
  return { ...manualClock(), sleep: () => new Promise((resolve) => setTimeout(resolve, 1)) }
}

/** Changes of calls on their way to a store and back. */
export interface Tampering {
  get?: (key: string, get: StorageAdapter['get']) => ReturnType<StorageAdapter['get']>
  put?: (...args: [...Parameters<StorageAdapter['put']>, StorageAdapter['put']]) => ReturnType<StorageAdapter['put']>
  delete?: (key: string, expected: string, remove: StorageAdapter['delete']) => Promise<boolean>
}

/** A store that several instances see, and what is done to it meanwhile. */
export function tamperedStorage(clock: ManualClock, tampering: Tampering = {}) {
  const memory = new MemoryStorage({ maxEntries: 1_000_000 }, clock)
  const calls: {
    readonly call: 'get' | 'put' | 'delete'
    readonly key: string
    readonly ttlMs?: number | undefined
  }[] = []
  const get: StorageAdapter['get'] = memory.get.bind(memory)
  const put: StorageAdapter['put'] = memory.put.bind(memory)
  const remove: StorageAdapter['delete'] = memory.delete.bind(memory)
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => {
      calls.push({ call: 'get', key })
      return tampering.get?.(key, get) ?? get(key)
    },
    put: (key, value, expected, ttlMs) => {
      calls.push({ call: 'put', key, ttlMs })
      return tampering.put?.(key, value, expected, ttlMs, put) ?? put(key, value, expected, ttlMs)
    },
    delete: (key, expected) => {
      calls.push({ call: 'delete', key })
      return tampering.delete?.(key, expected, remove) ?? remove(key, expected)
    },
  }
  return { storage, memory, calls, tampering }
}

export type ExchangeMode = Extract<NextcloudMode, 'token-exchange' | 'jwt-bearer'>

interface SharingParts {
  readonly mode?: ExchangeMode
  readonly clock?: ManualClock
  readonly options?: McpAuthOptions
}

/** Instances in a mode that exchanges, on one store. */
export async function sharingWorld({ mode = 'token-exchange', clock = patientClock(), options }: SharingParts = {}) {
  const store = tamperedStorage(clock)
  const setUp = await world({
    mode,
    clock,
    nextcloud: true,
    options: { storage: store.storage, encryptionKey: ENCRYPTION_KEY, http: { retries: 0 }, ...options },
  })
  const { as } = setUp
  const exp = Math.floor(clock.now() / 1_000) + 24 * 3_600
  return {
    ...setUp,
    ...store,
    /** An MCP token that lives for a day. */
    mint: (claims: Record<string, unknown> = {}) => as.mint({ exp, ...claims }),
    exchanged: () => as.received('/token').length,
  }
}

/** What a caller with an MCP token gets of an instance. */
export async function tokenOf(
  auth: McpAuth,
  mcpToken: string,
  options?: Parameters<McpAuth['getNextcloudToken']>[1],
): Promise<string> {
  return auth.getNextcloudToken(await auth.verify(mcpToken), options)
}
