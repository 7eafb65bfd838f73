import { createClient, type ClientRooms } from './authorization-server/client.js'
import { createCodeGrant, createIdentityGrant } from './authorization-server/code-grant.js'
import { createDiscovery } from './authorization-server/discovery.js'
import { needsOf } from './authorization-server/needs.js'
import { createBroker, type Broker, type BrokerSession } from './broker/broker.js'
import { joinBrokers } from './broker/brokers.js'
import { createDeletions } from './broker/deletions.js'
import { createDisconnect, type Disconnect } from './broker/disconnect.js'
import type { ModeRooms } from './broker/modes/mode.js'
import { createTokenCache } from './broker/token-cache.js'
import { createCallers, createSessions, type CallerOf, type Callers } from './callers.js'
import type { Clock } from './clock.js'
import { createContact } from './contact.js'
import type { Config, ConnectConfig, GrantsConfig, NextcloudConfig } from './config/config.js'
import { perIssuer, type PerIssuer } from './config/per-issuer.js'
import { readConfig } from './config/read-config.js'
import { createConnect, type Connect } from './connect/connect.js'
import { createCodeShares } from './connect/code-shares.js'
import type { ConnectRooms, SignInServer } from './connect/connect-rooms.js'
import { noPages } from './connect/no-pages.js'
import { createConnectionList } from './connection-list.js'
import { createConnections, createServes, noGrants, type Connections } from './connections.js'
import { createEvents, type McpAuthStats } from './events.js'
import { createHealth, toNextcloud, toProvider, toStore, type McpAuthHealth } from './health.js'
import { createWaiting } from './grants/connection-watch.js'
import { createProofRecords } from './grants/proof-records.js'
import type { Identity } from './grants/grant.js'
import { createGrants } from './grants/open-grants.js'
import { createTokenRecords } from './grants/token-records.js'
import { clientNetwork } from './http/address-shares.js'
import type { HttpRooms } from './http/authentication.js'
import type { Published } from './http/resource-metadata.js'
import { followed } from './http/router.js'
import type { McpAuthOptions } from './options.js'
import { createAppPasswords } from './nextcloud/app-passwords.js'
import { createFreshCredentials } from './nextcloud/fresh-credentials.js'
import { createNextcloudFetch } from './nextcloud/nextcloud-fetch.js'
import { createSignIns, type SignIns } from './nextcloud/sign-ins.js'
import { createUsers } from './nextcloud/users.js'
import { MemoryStorage } from './storage/memory.js'
import { createNextcloudAccess, createSurface, noNextcloud, type NextcloudAccess } from './surface.js'
import { createPublicDocuments } from './transport/public-document.js'
import { createTransport } from './transport/transport.js'
import { createUnderWay } from './under-way.js'
import { createDpop } from './verify/dpop.js'
import { createIdTokenVerifier } from './verify/id-token.js'
import { createIssuerKeys } from './verify/keys.js'
import { createSpentProofs } from './verify/spent-proofs.js'
import { createVerifier } from './verify/verifier.js'

/** The rooms that the public interface asks. */
export interface Rooms {
  readonly config: Config
  readonly published: Published
  readonly http: HttpRooms
  readonly callers: Callers
  readonly access: NextcloudAccess
  readonly connections: Connections
  readonly pages: Connect
  readonly connected: (identity: Identity) => void
  readonly ready: () => Promise<void>
  readonly refreshKeys: () => Promise<void>
  readonly health: () => Promise<McpAuthHealth>
  readonly stats: () => McpAuthStats
  readonly close: () => Promise<void>
}

/** The rooms that stand in every configuration. */
type Ground = ReturnType<typeof createGround>

/** The rooms that depend on `nextcloud` and its mode. */
interface NextcloudRooms extends Pick<Rooms, 'access' | 'pages' | 'connected'> {
  readonly connections: (callerOf: CallerOf) => Connections
  readonly ready: () => Promise<void>
  readonly close: () => void
  /** Resolves when requests and writes under way have ended. */
  readonly settle: (until: number) => Promise<unknown>
}

/** @throws {ConfigurationError} an option is missing, unknown, of the wrong type or contradicts another */
export function createRooms(options: McpAuthOptions | undefined, clock: Clock): Rooms {
  const ground = createGround(readConfig(options), clock)
  const { config, events, providers, transport, surface, underWay } = ground
  const nextcloud = config.nextcloud === undefined ? withoutNextcloud(ground) : withNextcloud(ground, config.nextcloud)
  const sessions = createSessions(config, nextcloud.access.getToken)
  const verifier = createVerifier(providers, sessions.present, (from) =>
    clientNetwork(from as Parameters<typeof clientNetwork>[0]),
  )
  const { health, close: stopLooking } = createHealth(ground)
  const spent = createSpentProofs(clock, createProofRecords(config, clock, events))
  const dpop = createDpop({ config, clock, spent })
  const callers = createCallers({ config, providers, sessions, verifier, surface })
  return {
    config,
    published: {
      issuers: () => Promise.all(providers.all.map(async ({ discovery }) => discovery.issuer())),
      document: providers.all[0].discovery.document,
    },
    http: { config, events, verify: verifier.verify, dpop, reported: surface.reported },
    callers,
    access: nextcloud.access,
    connections: nextcloud.connections(callers.of),
    pages: nextcloud.pages,
    connected: nextcloud.connected,
    ready: async () => {
      await verifier.ready()
      const asked = providers.all.filter((provider) => needsOf(provider.config).tokenRequests)
      await Promise.all(asked.map(({ discovery }) => discovery.forTokenRequests()))
      await nextcloud.ready()
    },
    refreshKeys: async () => {
      verifier.forget()
      await Promise.all(providers.all.map(({ keys }) => keys.refresh()))
    },
    health,
    stats: () => ({
      ...structuredClone(events.counters),
      sizes: { verifiedTokens: verifier.size(), nextcloudTokens: nextcloud.access.size() },
    }),
    close: async () => {
      stopLooking()
      nextcloud.close()
      const { timeout } = config.http
      await underWay.close(timeout, nextcloud.settle(clock.monotonic() + timeout))
      transport.close()
    },
  }
}

function createGround(config: Config, clock: Clock) {
  const store = createContact(clock)
  const events = toStore(store, createEvents(config.onEvent, clock, config.ownSignIn?.watchers))
  for (const [option, message] of config.warnings) events.emit({ type: 'config.warning', option, message })
  const contact = createContact(clock)
  const transport = toNextcloud(contact, createTransport(config.http, clock, events))
  const several = config.others.length > 0
  const providers = perIssuer(config).map((of) => {
    const server = createContact(clock)
    const way = toProvider(server, transport, several ? of.issuer : undefined)
    return { ...createProvider({ config: of, transport: way, clock, events }), contact: server }
  })
  const tokens = createTokenCache(config.cache.nextcloudTokens, () => (events.counters.evictions += 1))
  const surface = createSurface(config, events)
  const codes = config.ownSignIn?.codes ?? createCodeShares(clock)
  const underWay = createUnderWay()
  return { config, events, transport, providers, tokens, codes, surface, clock, contact, store, underWay }
}

/** What is said to the authorization server of one issuer. */
function createProvider(rooms: Omit<ClientRooms, 'discovery'>) {
  const { config, transport, clock } = rooms
  const discovery = createDiscovery(config, transport, clock)
  const keys = createIssuerKeys({
    ...{ discovery, transport, clock, cache: config.cache },
    clockTolerance: config.clockTolerance,
  })
  return { ...rooms, discovery, keys, client: createClient({ ...rooms, discovery }) }
}

const NOTHING_STORED = {
  pages: noPages,
  connections: () => noGrants,
  connected: () => undefined,
  ready: () => Promise.resolve(),
  close: () => undefined,
  settle: () => Promise.resolve(),
}

function withoutNextcloud({ surface }: Ground): NextcloudRooms {
  return { ...NOTHING_STORED, access: noNextcloud(surface) }
}

function withNextcloud(ground: Ground, nextcloud: NextcloudConfig): NextcloudRooms {
  const { grants } = ground.config
  return grants === undefined ? withoutGrants(ground, nextcloud) : withGrants(ground, nextcloud, grants)
}

function withoutGrants(ground: Ground, nextcloud: NextcloudConfig): NextcloudRooms {
  const { config, transport, clock, events, underWay } = ground
  const appPasswords = createAppPasswords(nextcloud, transport)
  const tokenRecords = config.sharedTokens && createTokenRecords(config.sharedTokens, clock, events)
  const signIns = createSignIns(clock)
  const broker = createBrokerOf(ground, {
    ...{ nextcloud, appPasswords, signIns },
    ...(tokenRecords && { tokenRecords }),
  })
  return {
    ...NOTHING_STORED,
    access: createAccess(ground, { nextcloud, broker, signIns, pages: noPages }),
    ready: tokenRecords?.ready ?? NOTHING_STORED.ready,
    settle: underWay.quiet,
  }
}

function withGrants(ground: Ground, nextcloud: NextcloudConfig, stored: GrantsConfig): NextcloudRooms {
  const { config, providers, transport, codes, clock, events, underWay } = ground
  const storage = stored.storage ?? new MemoryStorage()
  const grants = createGrants({ config, grants: stored, storage, clock, events, underWay })
  const appPasswords = createAppPasswords(nextcloud, transport)
  const signIns = createSignIns(clock)
  const freshCredentials = createFreshCredentials({ nextcloud, transport })
  const broker = createBrokerOf(ground, { nextcloud, grants, appPasswords, signIns })
  const servers = stored.connect?.signIn === true ? createServers(ground, stored.connect) : undefined
  const ofGrants = providers.map(({ client, discovery: { issuer }, config: { issuer: name = '' } }) => ({
    client,
    issuer,
    codeGrant: servers?.of(name).connection,
  }))
  const deletions = createDeletions({
    grants,
    serverOf: ofGrants.find,
    endsAlone: stored.endsAlone,
    appPasswords,
    freshCredentials,
    codes,
    signIns,
    clock,
    events,
  })
  grants.whenUsed(deletions.look)
  grants.whenLate(deletions.takeOver)
  const end = createDisconnect({ grants, deletions, broker, events })
  const disconnect: Disconnect = (...whose) => underWay.track(end(...whose))
  const serves = createServes(grants, stored.consent, clock)
  const list = createConnectionList(grants, stored.credential)
  const waiting = createWaiting({ look: serves, clock })
  const rooms = {
    ...ground,
    nextcloud,
    servers,
    grants,
    appPasswords,
    freshCredentials,
    signIns,
    broker,
    deletions,
    disconnect,
    onConnected: waiting.connected,
  }
  const pages = stored.connect === undefined ? noPages : withPages(rooms, stored.connect)
  const access = createAccess(ground, { nextcloud, broker, signIns, pages })
  return {
    access,
    pages,
    connected: waiting.connected,
    connections: (callerOf) =>
      createConnections({ list, serves, grants, access, broker, disconnect, pages, waiting }, callerOf),
    ready: async () => {
      await grants.ready()
      deletions.start()
    },
    close: () => {
      waiting.close()
      pages.close()
      deletions.close()
    },
    async settle(until) {
      // What could not be stored is tried at once as well, because requests may take longer than there is time.
      await Promise.all([pages.settle(), deletions.settle(), grants.settle(until)])
      await Promise.all([pages.settle(), grants.settle(until)])
      await deletions.settle()
    },
  }
}

function withPages(
  rooms: Omit<ConnectRooms, 'connect' | 'fetchDocument'> & Pick<Ground, 'underWay'>,
  connect: ConnectConfig,
): Connect {
  const { config, clock, underWay } = rooms
  const pages = createConnect({ ...rooms, connect, fetchDocument: createPublicDocuments(config.http, clock) })
  return { ...pages, routes: (http) => followed(pages.routes(http), underWay) }
}

/** The authorization servers at which users sign in. */
function createServers({ providers, clock }: Ground, ofFirst: ConnectConfig): PerIssuer<SignInServer> {
  return providers.map((rooms) => {
    const connect = rooms.config.grants?.connect ?? ofFirst
    return {
      issuer: rooms.config.issuer,
      connection: createCodeGrant(connect, rooms),
      identity: createIdentityGrant(connect, rooms),
      client: rooms.client,
      verifyIdToken: createIdTokenVerifier(rooms.config, rooms.keys, clock),
      loadKeys: rooms.keys.load,
    }
  })
}

/** The broker of each issuer has what differs there: its server, its client, and the ways of that server. */
function createBrokerOf(
  { providers, tokens, codes, underWay }: Ground,
  rooms: Pick<ModeRooms, 'nextcloud' | 'grants' | 'tokenRecords' | 'appPasswords' | 'signIns'>,
): Broker {
  const brokers = providers.map((provider) =>
    createBroker({
      ...{ ...rooms, ...provider, tokens, codes, underWay },
      nextcloud: provider.config.nextcloud ?? rooms.nextcloud,
    }),
  )
  return joinBrokers(brokers)
}

function createAccess(
  ground: Ground,
  given: {
    readonly nextcloud: NextcloudConfig
    readonly broker: Broker
    readonly signIns: SignIns
    readonly pages: Connect
  },
): NextcloudAccess {
  const { nextcloud, broker, pages } = given
  const presetOf = ({ caller }: BrokerSession) =>
    (ground.providers.find(caller.identity.issuer)?.config.nextcloud ?? nextcloud).preset
  const whose = ({ caller }: BrokerSession) => caller.identity
  const rooms = { ...ground, ...given, presetOf, whose, tokens: broker }
  const fetch = createNextcloudFetch(rooms)
  const user = createUsers({ ...rooms, fetch })
  const signInConnects = ground.config.ownSignIn !== undefined
  return createNextcloudAccess({ ...ground, mode: nextcloud.mode, signInConnects, broker, fetch, user, pages })
}
