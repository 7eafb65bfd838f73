import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { systemClock } from '../../src/clock.js'
import type { StorageAdapter } from '../../src/index.js'
import type { Grant } from '../../src/grants/grant.js'
import { recordKey } from '../../src/grants/record-key.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from './grant-constants.js'
import type { InstanceOptions } from './instance-messages.js'
import type { Instance, InstanceProcess } from './instances.js'
import { has } from './left-out.js'
import { createRefreshTokens, type RefreshTokens } from './refresh-tokens.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'
import { freshDatabase, freshMariaDb, sharedRedis } from './shared-servers.js'
import { openStore, type StoreAddress, type StoreKind } from './stores.js'
import { NEXTCLOUD, openGrants } from './world.js'

/** An authorization server and a store, for instances in other processes to share. */
export interface Scene {
  readonly as: ScriptedAuthorizationServer
  readonly refreshTokens: RefreshTokens
  readonly open: (process: InstanceProcess, options?: Partial<InstanceOptions>) => Promise<Instance>
  /** A grant as the connect pages would store it; its first refresh token. */
  readonly connect: (subject?: string) => Promise<string>
  /** The scene's own way to the store. */
  readonly adapter: StorageAdapter
  /** The key of a user's grant. */
  readonly keyOf: (subject: string) => string
  readonly stored: (subject?: string) => Promise<Grant | undefined>
  /** Whether somebody's lease is in the store. */
  readonly isLeased: (subject?: string) => Promise<boolean>
  readonly close: () => Promise<void>
}

export interface SceneOptions {
  /** How the instances get to the store. */
  readonly store: StoreAddress
  /** How the scene itself does, where that is another way. */
  readonly ownStore?: StoreAddress
  /** Whether the authorization server takes the last used refresh token once more. */
  readonly grace?: boolean
}

export async function startScene({ store, ownStore = store, grace = false }: SceneOptions): Promise<Scene> {
  const refreshTokens = createRefreshTokens({ grace })
  const as = await startAuthorizationServer()
  as.script('/token', refreshTokens.answer)
  const { adapter, close } = await openStore(ownStore)
  const { issuer } = as
  const options = {
    ...{ issuer, resource: RESOURCE, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET },
    ...{ storage: adapter, encryptionKey: ENCRYPTION_KEY, nextcloud: { url: NEXTCLOUD } },
  }
  const grants = openGrants(options, adapter, systemClock)
  const keyOf = (subject: string): string => grants.store.keyOf({ issuer, subject })

  return {
    as,
    refreshTokens,
    open: (process, options) => process.open({ issuer, store, ...options }),
    async connect(subject = 'alice') {
      const refreshToken = refreshTokens.issue()
      const fingerprint = grants.fingerprint(refreshToken)
      const connection = { refreshToken, fingerprint, clientId: MCP_CLIENT, scopes: ['openid'] }
      await grants.store.connect({ issuer, subject }, connection)
      return refreshToken
    },
    adapter,
    keyOf,
    stored: async (subject = 'alice') => (await grants.store.read(keyOf(subject)))?.grant,
    isLeased: async (subject = 'alice') =>
      (await grants.records.peek(recordKey('lease', grants.owner, keyOf(subject)))) !== undefined,
    async close() {
      await as.close()
      await close()
    },
  }
}

/** The kinds of real stores that this machine has; the closing lines of the run name the others. */
export function storeKinds(): StoreKind[] {
  const kinds: StoreKind[] = []
  if (has('Redis')) kinds.push('Redis')
  if (has('PostgreSQL')) kinds.push('PostgreSQL')
  if (has('MariaDB')) kinds.push('MariaDB')
  if (has('better-sqlite3')) kinds.push('SQLite')
  return kinds
}

/** Real stores for one test file. */
export interface RealStores {
  /** SQLite: a file of its own each time. */
  readonly address: (kind: StoreKind) => Promise<StoreAddress>
  readonly remove: () => void
}

export function createRealStores(): RealStores {
  const directory = mkdtempSync(path.join(tmpdir(), 'stores-'))
  let files = 0
  let database: Promise<string> | undefined
  let mariaDb: Promise<string> | undefined
  return {
    async address(kind) {
      if (kind === 'Redis') return { kind, url: await sharedRedis() }
      if (kind === 'PostgreSQL') return { kind, url: await (database ??= freshDatabase()) }
      if (kind === 'MariaDB') return { kind, url: await (mariaDb ??= freshMariaDb()) }
      files += 1
      return { kind, file: path.join(directory, `${files}.db`) }
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
