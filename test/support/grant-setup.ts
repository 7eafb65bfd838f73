import { onTestFinished } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import type { Grant } from '../../src/grants/grant.js'
import { createGrants, type Grants } from '../../src/grants/open-grants.js'
import type { McpAuthEvent, McpAuthOptions, StorageAdapter } from '../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock, type ManualClock } from './clock.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from './grant-constants.js'
import { watchedStorage } from './watched-storage.js'
import { createRefreshTokens, type RefreshTokens } from './refresh-tokens.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'

export { ENCRYPTION_KEY, MCP_CLIENT }

/** Instances in refresh-token mode that share a store, and an authorization server with one-time refresh tokens. */
export interface GrantSetup {
  readonly as: ScriptedAuthorizationServer
  readonly clock: ManualClock
  readonly refreshTokens: RefreshTokens
  readonly storage: StorageAdapter
  readonly events: McpAuthEvent[]
  /** An instance of the middleware; `storage` is the shared one unless it is given. */
  readonly open: (options?: McpAuthOptions) => McpAuth
  /** A grant as the connect pages would store it; its first refresh token. */
  readonly connect: (
    subject?: string,
    more?: { readonly clientId?: string; readonly refreshToken?: string },
  ) => Promise<string>
  /** What is stored for a user. */
  readonly stored: (subject?: string) => Promise<Grant | undefined>
  /** What works on the store, as an instance has it. */
  readonly grants: Grants
}

interface Ways {
  readonly clock?: ManualClock
  readonly storage?: StorageAdapter
  readonly refreshTokens?: RefreshTokens
}

export async function setUpGrants(ways: Ways = {}): Promise<GrantSetup> {
  const clock = ways.clock ?? manualClock()
  const storage = ways.storage ?? new MemoryStorage()
  const refreshTokens = ways.refreshTokens ?? createRefreshTokens()
  const as = await startAuthorizationServer(clock.now)
  onTestFinished(() => as.close())
  as.script('/token', refreshTokens.answer)
  const events: McpAuthEvent[] = []
  const options = (given: McpAuthOptions = {}): McpAuthOptions => ({
    issuer: as.issuer,
    resource: RESOURCE,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    storage,
    encryptionKey: ENCRYPTION_KEY,
    onEvent: (event) => events.push(event),
    ...given,
    nextcloud: { url: 'https://cloud.example.com', ...given.nextcloud },
  })
  const config = readConfig(options(), {})
  if (config.grants === undefined) throw new Error('That is no refresh-token mode')
  const grants = createGrants({ config, grants: config.grants, storage, clock, events: createEvents(undefined, clock) })

  return {
    as,
    clock,
    refreshTokens,
    storage,
    events,
    open(given) {
      const auth = createMcpAuth(options(given), clock)
      onTestFinished(() => auth.close())
      return auth
    },
    async connect(subject = 'alice', { clientId = MCP_CLIENT, refreshToken = refreshTokens.issue() } = {}) {
      const fingerprint = grants.fingerprint(refreshToken)
      const identity = { issuer: as.issuer, subject }
      await grants.store.connect(identity, { refreshToken, fingerprint, clientId, scopes: ['openid'] })
      return refreshToken
    },
    async stored(subject = 'alice') {
      return (await grants.store.read(grants.store.keyOf({ issuer: as.issuer, subject })))?.grant
    },
    grants,
  }
}

/** The same with an instance and Alice's connection, on a store that can be watched and made to fail. */
export async function setUpConnected(ways: Ways & { readonly clientId?: string } = {}, options?: McpAuthOptions) {
  const watched = watchedStorage()
  const setup = await setUpGrants({ storage: watched.storage, ...ways })
  const auth = setup.open(options)
  const first = await setup.connect('alice', { ...(ways.clientId !== undefined && { clientId: ways.clientId }) })
  return { ...setup, ...watched, storage: setup.storage, auth, first }
}
