import { LRUCache } from 'lru-cache'
import { afterPatience, type Clock } from '../clock.js'
import type { Config, ConnectConfig } from '../config/config.js'
import type { Events } from '../events.js'
import type { FetchPublicDocument } from '../transport/public-document.js'
import { UNNAMED_CLIENT } from '../verify/claims.js'

/** An MCP client as pages name it. With neither name nor host nor id, nothing tells it from others. */
export interface ClientName {
  /** The operator's name for it, or its own claim if there is a host beside it. */
  readonly name?: string
  /** The host of its id, which only the owner of that host can use. */
  readonly host?: string
  /** The ends of an id that an authorization server made up. */
  readonly id?: string
}

/** The names of MCP clients, for every page that names one. */
export interface ClientNames {
  /** Never rejects. It may ask the app and the client's own host, for 13 s at most. */
  readonly of: (clientId: string) => Promise<ClientName>
}

interface NameRooms {
  readonly config: Pick<Config, 'allowedClients' | 'client'>
  readonly connect: Pick<ConnectConfig, 'clientName'>
  /** Undefined where addresses cannot be checked. */
  readonly fetchDocument: FetchPublicDocument | undefined
  readonly events: Events
  readonly clock: Clock
}

/** Characters. */
const LONGEST_NAME = 100
/** Characters of an id that a person can compare. */
const LONGEST_CONFIGURED_ID = 40
const LONGEST_ID = 20
const END_OF_ID = 6
/** Milliseconds for the app's own function. */
const PATIENCE = 10_000
/** Milliseconds for which a name from a document is known, and for which a document without one is not fetched again. */
const NAME_KNOWN_FOR = 600_000
const FAILURE_KNOWN_FOR = 60_000
const MOST_DOCUMENTS = 1_000

/** Control characters, and those that turn the direction of the text around them (Unicode TR36 §2.5). */
const NOT_IN_NAMES = /[\p{Cc}\p{Zl}\p{Zp}\p{Surrogate}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu

interface Documents {
  readonly fetch: FetchPublicDocument
  /** Names by URL. */
  readonly known: LRUCache<string, { readonly name: Promise<string | undefined>; until: number }>
  readonly clock: Clock
}

export function createClientNames({ config, connect, fetchDocument, events, clock }: NameRooms): ClientNames {
  const { client, allowedClients } = config
  const documents = fetchDocument && createDocuments(fetchDocument, clock)
  const ask = createQuestion(connect.clientName, events, clock)
  return {
    async of(clientId) {
      const given = await ask?.(clientId)
      if (given !== undefined) return { name: given }
      const url = webAddress(clientId)
      if (url !== undefined) {
        const { host } = url
        const name = documents && isDocumentUrl(url, clientId) ? await nameIn(documents, clientId) : undefined
        return name === undefined ? { host } : { name, host }
      }
      if (clientId === UNNAMED_CLIENT) return {}
      const isConfigured = clientId === client?.id || allowedClients?.has(clientId) === true
      if (isConfigured && clientId.length <= LONGEST_CONFIGURED_ID) return { name: clientId }
      return { id: shortened(clientId) }
    },
  }
}

/** Asks the app for the name of a client. Undefined: there is no function to ask. */
function createQuestion(clientName: ConnectConfig['clientName'], events: Events, clock: Clock) {
  if (clientName === undefined) return undefined
  let warned = false
  const warn = (): undefined => {
    if (warned) return
    warned = true
    const message =
      'connect.clientName failed, took more than 10 s or gave no name that can be shown: pages name the MCP client without it'
    events.emit({ type: 'config.warning', option: 'connect.clientName', message })
  }
  return async (clientId: string): Promise<string | undefined> => {
    let stop: (() => void) | undefined
    const late = new Promise<false>((resolve) => {
      stop = afterPatience(clock, PATIENCE, () => resolve(false))
    })
    try {
      const answer: unknown = await Promise.race([clientName(clientId), late])
      if (answer === undefined) return undefined
      return readName(answer) ?? warn()
    } catch {
      return warn()
    } finally {
      stop?.()
    }
  }
}

/** Marks that would end the quotation in which a name stands, so that the words after it were this server's. Apostrophes stay. */
const QUOTATION_MARKS =
  /["\u00AB\u00BB\u02BA\u02EE\u05F4\u201C-\u201F\u2033\u2036\u275D\u275E\u301D-\u301F\u{1F676}-\u{1F678}\uFF02]/gu

/** Returns a name that can be shown, cut to its longest; undefined if there is none. Those of strangers come cut, or in a short document. */
function readName(name: unknown): string | undefined {
  if (typeof name !== 'string') return undefined
  const unquoted = name.replace(QUOTATION_MARKS, '').trim()
  if (unquoted === '') return undefined
  const cut = Array.from(unquoted).slice(0, LONGEST_NAME).join('')
  return cut.search(NOT_IN_NAMES) < 0 ? cut : undefined
}

/** Returns what an MCP client calls itself, as far as it can be shown; undefined if nothing is left. */
export function readClaim(name: unknown): string | undefined {
  return typeof name === 'string' ? readName(name.slice(0, 10 * LONGEST_NAME).replace(NOT_IN_NAMES, '')) : undefined
}

function createDocuments(fetch: FetchPublicDocument, clock: Clock): Documents {
  return { fetch, clock, known: new LRUCache({ max: MOST_DOCUMENTS }) }
}

/** Returns the `client_name` of a client metadata document (draft-ietf-oauth-client-id-metadata-document §4). */
function nameIn(documents: Documents, clientId: string): Promise<string | undefined> {
  const { known, clock } = documents
  const found = known.get(clientId)
  if (found !== undefined && clock.monotonic() < found.until) return found.name
  const entry = { name: fetchName(documents, clientId), until: clock.monotonic() + NAME_KNOWN_FOR }
  known.set(clientId, entry)
  void entry.name.then((name) => {
    if (name === undefined) entry.until = clock.monotonic() + FAILURE_KNOWN_FOR
  })
  return entry.name
}

async function fetchName({ fetch }: Pick<Documents, 'fetch'>, clientId: string): Promise<string | undefined> {
  const document = (await fetch(clientId)) as { client_id?: unknown; client_name?: unknown } | null | undefined
  return document?.client_id === clientId ? readName(document.client_name) : undefined
}

function webAddress(clientId: string): URL | undefined {
  return /^https?:/i.test(clientId) && URL.canParse(clientId) ? new URL(clientId) : undefined
}

/** Whether an id is the address of a metadata document: https, a path, no fragment, and written as the parser writes it. */
function isDocumentUrl(url: URL, clientId: string): boolean {
  return url.protocol === 'https:' && url.pathname !== '/' && url.hash === '' && url.href === clientId
}

function shortened(id: string): string {
  return id.length <= LONGEST_ID ? id : `${id.slice(0, END_OF_ID)}…${id.slice(-END_OF_ID)}`
}
