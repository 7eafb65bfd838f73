import type { IncomingMessage } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { isTooLong } from '../client-id.js'
import { createClientNames, readClaim } from '../connect/client-names.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { createNetworkShares, networksOf } from '../http/address-shares.js'
import { createSingleFlight } from '../single-flight.js'
import { NO_ANSWER, type FetchPublicDocument } from '../transport/public-document.js'
import type { SignInRooms } from './sign-in-rooms.js'
import { clientOf } from './redirect-uri.js'

/** The metadata documents of MCP clients. Anybody can name one, so each network has a share of the places in which they are fetched. */
export interface ClientDocuments {
  /**
   * Fetches a document, unless it is known. While its host gives no answer, the last good one counts for a day: an app that is told that its
   * client is unknown drops its tokens.
   *
   * @param req by whose address it is counted
   * @returns whether there is one, for `read`
   * @throws {UpstreamUnavailableError} nobody can say now whether there is one
   */
  readonly find: (url: string, req: IncomingMessage) => Promise<boolean>
  /** Returns a document that is known, without asking its host; undefined if there is none. */
  readonly recall: (url: string) => unknown
  /** Rejects for every URL but those of documents that were found. */
  readonly read: (url: string) => Promise<Response>
  /**
   * Keeps the document of a client that got tokens, whatever strangers have fetched, and has it fetched whatever they do. A person has room
   * for a few that nobody else uses.
   */
  readonly keep: (url: string, person: string) => void
}

interface Known {
  readonly document: unknown
  /** By the monotonic clock, in milliseconds. */
  readonly fetchedAt: number
}

/** A document of a client that got tokens. */
interface Used extends Known {
  /** The only person who uses it; undefined if there are several. */
  readonly by: string | undefined
}

const MINUTE = 60_000
/** Milliseconds for which a document is not fetched again, and for which it is good while its host gives no answer. */
const FRESH = 10 * MINUTE
const GOOD = 86_400_000
/** Documents that are known. */
const MOST_KNOWN = 1_000
/** Documents that one person keeps for themself: as many as may have that person's consent. */
const MOST_OF_PERSON = 50
/** Milliseconds without an answer, after which a document that is used is not fetched for a minute: it takes the place of others. */
const LONG = 500
/** Documents that one address, and the two networks around it, may have fetched in a minute. Those that are known are not fetched. */
const MOST_A_MINUTE = [60, 120, 240] as const
/** Documents that are fetched at one time for an address, and for the wider networks around it. */
const MOST_AT_ONCE = [4, 8, 16] as const

/** @param onSilent hears of a host that gave no answer, once a minute at most */
export function createClientDocuments(
  fetchDocument: FetchPublicDocument | undefined,
  clock: Clock,
  onSilent: (host: string) => void = () => undefined,
): ClientDocuments {
  const shares = createNetworkShares(clock, MOST_A_MINUTE, MINUTE)
  const places = createPlaces()
  const known = new LRUCache<string, Known>({ max: MOST_KNOWN })
  const used = new LRUCache<string, Used>({ max: MOST_KNOWN })
  /** Until when, by the monotonic clock, those are not fetched that gave no answer for long. */
  const silent = new LRUCache<string, number>({ max: MOST_KNOWN })
  const toldAt = new LRUCache<string, number>({ max: MOST_KNOWN })
  const tell = (host: string): void => {
    if (clock.monotonic() < (toldAt.get(host) ?? -Infinity) + MINUTE) return
    toldAt.set(host, clock.monotonic())
    onSilent(host)
  }
  const flights = createSingleFlight<unknown>()
  const recall = (url: string, life: number): Known | undefined => {
    const found = known.get(url) ?? used.get(url)
    return found !== undefined && clock.monotonic() < found.fetchedAt + life ? found : undefined
  }
  const learn = async (url: string, req: IncomingMessage): Promise<unknown> => {
    const inUse = used.get(url)
    const isUsed = inUse !== undefined
    const began = clock.monotonic()
    if (isUsed && began < (silent.get(url) ?? 0)) return NO_ANSWER
    // A document that people use is one, and is fetched once in a while: it waits for nothing that strangers have fetched.
    const asking = isUsed ? undefined : req
    if (asking !== undefined && shares.take(asking) > 0) return NO_ANSWER
    const leave = places.enter(asking)
    if (leave === undefined) return NO_ANSWER
    const document = await Promise.resolve(fetchDocument?.(url, isUsed)).finally(leave)
    if (document === NO_ANSWER) {
      tell(new URL(url).host)
      if (isUsed && clock.monotonic() - began >= LONG) silent.set(url, clock.monotonic() + MINUTE)
      return NO_ANSWER
    }
    for (const documents of [known, used]) documents.delete(url)
    if (document === undefined) return undefined
    const found = { document: neededOf(document), fetchedAt: clock.monotonic() }
    known.set(url, found)
    if (isUsed) used.set(url, { ...found, by: inUse.by })
    return document
  }
  return {
    async find(url, req) {
      // What is found is kept by its address, before the client is known to be one.
      if (isTooLong(url)) return false
      if (recall(url, FRESH) !== undefined) return true
      const document = await flights.join(url, () => learn(url, req))
      if (document !== NO_ANSWER) return document !== undefined
      if (recall(url, GOOD) !== undefined) return true
      throw new UpstreamUnavailableError('The metadata document of a client cannot be fetched now')
    },
    recall: (url) => recall(url, GOOD)?.document,
    read(url) {
      const found = recall(url, GOOD)
      if (found === undefined) return Promise.reject(new TypeError('There is no document at a public address'))
      return Promise.resolve(Response.json(found.document))
    },
    keep(url, person) {
      const before = used.get(url)
      const found = known.get(url) ?? before
      if (found === undefined) return
      const by = before === undefined || before.by === person ? person : undefined
      used.set(url, { ...found, by })
      // The most recent comes first.
      const own = [...used.entries()].filter(([, one]) => one.by === person)
      for (const [oldest] of own.slice(MOST_OF_PERSON)) used.delete(oldest)
    },
  }
}

/** The places of networks for what takes a while. */
function createPlaces() {
  const taken = new Map<string, number>()
  return {
    /** Takes a place in each of the networks around a request, and returns what gives them back. Undefined: there is none. */
    enter(req: IncomingMessage | undefined): (() => void) | undefined {
      const networks = req === undefined ? [] : networksOf(req)
      const at = (network: string) => taken.get(network) ?? 0
      const places = networks.map((network, wide) => ({ key: `${wide} ${network}`, most: MOST_AT_ONCE[wide] ?? 0 }))
      if (places.some(({ key, most }) => at(key) >= most)) return undefined
      for (const { key } of places) taken.set(key, at(key) + 1)
      return () => {
        for (const { key } of places) {
          if (at(key) > 1) taken.set(key, at(key) - 1)
          else taken.delete(key)
        }
      }
    },
  }
}

/** The members of a document that count here. Some others would make oidc-provider fetch more, or ask for what nobody has agreed to. */
const NEEDED = [
  'client_id',
  'client_name',
  'client_uri',
  'redirect_uris',
  'grant_types',
  'response_types',
  'token_endpoint_auth_method',
  // It refuses these.
  'client_secret',
  'client_secret_expires_at',
]

/** Returns what is needed of a document, with the kind of application that its redirect URIs make it: few documents name it. */
function neededOf(document: unknown): unknown {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return document
  const given = document as Readonly<Record<string, unknown>>
  const needed = Object.fromEntries(
    NEEDED.filter((name) => Object.hasOwn(given, name)).map((name) => [name, given[name]]),
  )
  const { redirect_uris: uris } = needed
  if (!Array.isArray(uris) || !uris.every((uri) => typeof uri === 'string')) return needed
  return { ...needed, application_type: clientOf(uris).application_type }
}

/** Returns the names of MCP clients as the pages for connecting have them. What a client says of itself is its claim. */
export function clientNaming(
  rooms: Omit<Parameters<typeof createClientNames>[0], 'fetchDocument'> &
    Pick<SignInRooms, 'provider'> & { readonly documents: Pick<ClientDocuments, 'find' | 'recall'> },
): SignInRooms['nameOf'] {
  const { documents } = rooms
  const names = createClientNames({ ...rooms, fetchDocument: (url) => Promise.resolve(documents.recall(url)) })
  return async (clientId, req) => {
    // Without a place for its host, the page shows the last document, or the host alone.
    if (clientId.startsWith('https:')) await documents.find(clientId, req).catch(() => undefined)
    const client = await names.of(clientId)
    if (client.id === undefined) return { client, callsItself: undefined }
    const registered = await (await rooms.provider()).Client.find(clientId).catch(() => undefined)
    return { client, callsItself: readClaim(registered?.clientName) }
  }
}
