import { randomUUID } from 'node:crypto'
import type { AuthorizationServerClient } from './authorization-server/client.js'
import type { Discovery } from './authorization-server/discovery.js'
import type { Clock } from './clock.js'
import type { Config } from './config/config.js'
import type { PerIssuer } from './config/per-issuer.js'
import type { Contact } from './contact.js'
import type { Events } from './events.js'
import { recordKey } from './grants/record-key.js'
import { reachStore } from './grants/records.js'
import { lookAtNextcloud } from './nextcloud/status.js'
import type { Transport } from './transport/transport.js'
import type { IssuerKeys } from './verify/keys.js'

/** The health of one instance, as far as it is known. Nothing in it is secret. */
export interface McpAuthHealth {
  /** Whether all of it is well. A storage in which there are exchanged tokens alone does not count, because no call fails for it. False from `close()` on. */
  ok: boolean
  /** The signing keys of the issuer. Of several (`issuers`), tokens of one are judged while those of another cannot be. */
  keys: {
    /** Seconds since they were fetched, the oldest of several. Undefined: some never were, and `introspection: 'always'` needs none. */
    ageSeconds: number | undefined
    /** Whether those of at least one issuer may be used: not older than `cache.keysMaxAge` and `cache.staleKeys` together. */
    ok: boolean
  }
  /** The authorization server. Of several (`issuers`) the worst: all must be well, and the times are those of the oldest. */
  authorizationServer: {
    /** Milliseconds since 1970. Undefined: it has not answered yet. */
    lastAnswerAt: number | undefined
    /** Whether the last request there had a usable answer. */
    ok: boolean
  }
  /** The `storage`. Undefined: there is none, or nothing uses it. */
  storage: { ok: boolean } | undefined
  /** Nextcloud. Undefined: none is configured. */
  nextcloud:
    | {
        /** Milliseconds since 1970. Undefined: it has not answered yet. */
        lastAnswerAt: number | undefined
        /** Whether the last request there was answered, and not with 502, 503 or 504. */
        ok: boolean
      }
    | undefined
}

/** A service whose health is told. */
interface Service {
  readonly contact: Contact
  /** Asks it for something harmless, and has the contact note what comes of it. */
  readonly look: () => Promise<unknown>
}

/** The authorization server of an issuer. */
interface KeyService extends Service {
  /** Milliseconds. Undefined: there are none yet. */
  readonly keyAge: () => number | undefined
  readonly hasKeys: () => boolean
}

interface Services {
  readonly providers: readonly KeyService[]
  readonly storage: (Service & { readonly isCache: boolean }) | undefined
  readonly nextcloud: Service | undefined
}

interface Provider {
  readonly config: Config
  readonly contact: Contact
  readonly keys: IssuerKeys
  readonly discovery: Discovery
  readonly client: Pick<AuthorizationServerClient, 'introspect'>
}

/** The rooms that know the services. */
export interface HealthRooms {
  readonly config: Config
  readonly providers: PerIssuer<Provider>
  readonly transport: Transport
  /** The contact of Nextcloud. */
  readonly contact: Contact
  /** The contact of the storage. */
  readonly store: Contact
  readonly clock: Clock
  readonly events: Events
}

/** Milliseconds between two looks. */
const LOOKS_APART = 1_000

/**
 * Tells the health from what requests have shown. A service of which nothing is known, or which failed last, is looked at first, because an
 * instance without traffic would never learn that it is well again, and because a stranger's token can make a single request fail. There is one
 * look at a time and in a second, whoever asks.
 */
export function createHealth(rooms: HealthRooms) {
  const { clock, config } = rooms
  const parts = servicesOf(rooms)
  const services = [...parts.providers, parts.storage, parts.nextcloud].filter((service) => service !== undefined)
  let isClosed = false
  let lookedAt = -Infinity
  let looking: Promise<void> | undefined
  const look = (doubted: readonly Service[]): Promise<void> => {
    lookedAt = clock.monotonic()
    return within(config.http.timeout, Promise.allSettled(doubted.map((service) => service.look()))).finally(() => {
      looking = undefined
    })
  }
  return {
    health: async (): Promise<McpAuthHealth> => {
      const doubted = isClosed ? [] : services.filter((service) => !isWell(service))
      if (doubted.length > 0 && clock.monotonic() >= lookedAt + LOOKS_APART) looking ??= look(doubted)
      if (doubted.length > 0) await looking
      return told(parts, isClosed)
    },
    close: (): void => void (isClosed = true),
  }
}

/** The services whose health is told, each with a harmless request. */
function servicesOf({ config, providers, transport, contact, store, clock, events }: HealthRooms): Services {
  const { nextcloud, grants, usedProofs, sharedTokens, resource, client } = config
  const { storage } = grants ?? usedProofs ?? sharedTokens ?? {}
  const key = recordKey('grant', { clientId: client?.id ?? '', resource, nextcloud: nextcloud?.base ?? '' })
  return {
    providers: providers.all.map(keyService),
    storage: storage && {
      isCache: grants === undefined && usedProofs === undefined,
      contact: store,
      look: () => reachStore(storage, key, clock, events).then(store.answered),
    },
    nextcloud: nextcloud && { contact, look: () => lookAtNextcloud(nextcloud, transport, contact) },
  }
}

/** Asks about a token that nobody has where each token is introspected, because there are no keys to ask for then. */
function keyService({ config, contact, keys, discovery, client }: Provider): KeyService {
  if (config.introspection !== 'always') return { contact, keyAge: keys.age, hasKeys: keys.areUsable, look: keys.look }
  return {
    contact,
    keyAge: keys.age,
    hasKeys: () => true,
    look: async () => {
      await discovery.lookAgain()
      await client.introspect(randomUUID(), 'never')
    },
  }
}

const isWell = (service: Service | KeyService): boolean =>
  service.contact.isGood() && (!('hasKeys' in service) || service.hasKeys())

function told({ providers, storage, nextcloud }: Services, isClosed: boolean): McpAuthHealth {
  const age = greatest(providers.map(({ keyAge }) => keyAge()))
  const contacts = providers.map(({ contact }) => contact)
  const health = {
    keys: {
      ageSeconds: age === undefined ? undefined : Math.floor(age / 1_000),
      ok: providers.some(({ hasKeys }) => hasKeys()),
    },
    authorizationServer: {
      lastAnswerAt: least(contacts.map(({ lastAnswerAt }) => lastAnswerAt())),
      ok: contacts.every(({ isGood }) => isGood()),
    },
    storage: storage && { ok: storage.contact.isGood() },
    nextcloud: nextcloud && { lastAnswerAt: nextcloud.contact.lastAnswerAt(), ok: nextcloud.contact.isGood() },
  }
  const needed = [...providers, storage?.isCache === true ? undefined : storage, nextcloud]
  return { ok: !isClosed && needed.every((service) => service === undefined || isWell(service)), ...health }
}

/** Undefined if one of them is. */
const least = (values: readonly (number | undefined)[]): number | undefined =>
  values.every((value) => value !== undefined) ? Math.min(...values) : undefined

const greatest = (values: readonly (number | undefined)[]): number | undefined =>
  values.every((value) => value !== undefined) ? Math.max(...values) : undefined

/** Resolves when the work has ended, or when its time has. */
function within(ms: number, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    // Real time, whatever the clock: what is waited for is of the network.
    const late = setTimeout(resolve, ms).unref()
    void work.then(() => {
      clearTimeout(late)
      resolve()
    })
  })
}

/** The same events; the contact notes when the store fails. */
export const toStore = (store: Contact, events: Events): Events => ({
  ...events,
  emit: (details) => {
    if (details.type === 'storage.failed') store.failed()
    events.emit(details)
  },
})

/** The same way out; the contact notes what Nextcloud answers. */
export const toNextcloud = (contact: Contact, transport: Transport): Transport => ({
  ...transport,
  askNextcloud: (...request) => contact.noted(transport.askNextcloud(...request)),
})

/** The same way out; the contact notes what the authorization server answers, and events name the issuer, if given. */
export const toProvider = (contact: Contact, transport: Transport, issuer: string | undefined): Transport => ({
  ...transport,
  call: (operation, repeatable, attempt) => contact.noted(transport.call(operation, repeatable, attempt, issuer)),
})
