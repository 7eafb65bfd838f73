import type { GrantsConfig } from './config/config.js'
import { agreedAt, asSeenBy, type Grant } from './grants/grant.js'
import { inBatches } from './grants/grant-pages.js'
import type { Grants } from './grants/open-grants.js'
import { isSameOwner } from './grants/record-key.js'
import { lastUseOf, type LastUses } from './grants/uses.js'

/** A user's stored connection. */
export interface NextcloudConnection {
  readonly issuer: string
  readonly subject: string
  /** The MCP clients that the user agreed to. */
  readonly clients: readonly ConnectedClient[]
  /** Milliseconds since 1970 at which the user connected last. */
  readonly since: number
  /**
   * `active`: it serves, as far as is known. `presented`: its refresh token was sent, and no answer is stored yet. `needs-reconnect`: it was
   * refused or has ended, and the user must connect again.
   */
  readonly state: 'active' | 'presented' | 'needs-reconnect'
}

/** An MCP client that a user agreed to. */
export interface ConnectedClient {
  readonly clientId: string
  /** Milliseconds since 1970 at which the user agreed to it. */
  readonly since: number
  /** Milliseconds since 1970 at which it was last served, to the hour. Absent: not since the user agreed, or not in the last 400 days. */
  readonly lastUsed?: number
}

/** A part of the stored connections. */
export interface ConnectionPage {
  readonly connections: readonly NextcloudConnection[]
  /** The `after` of the next page. Absent: this was the last. */
  readonly next?: string
}

/** The part of the stored connections that is asked for. */
export interface ConnectionPageOptions {
  /** `next` of the page before. Default: from the first. */
  readonly after?: string | undefined
  /** Connections at most, from 1 to 1,000. Default 100. */
  readonly limit?: number | undefined
}

const MOST = 1_000
const USUAL = 100
/** The form of the keys of records. */
const KEY = /^v1:[\w-]{43}$/

/** Returns a way to read the stored connections of this configuration, page by page. */
export function createConnectionList(
  { store, ownerOf, uses }: Pick<Grants, 'store' | 'ownerOf' | 'uses'>,
  credential: GrantsConfig['credential'],
) {
  const isOwn = ({ state, identity, owner }: Grant): boolean =>
    state !== 'disconnected' && identity !== undefined && isSameOwner(owner, ownerOf(identity.issuer))
  return async (page: ConnectionPageOptions = {}): Promise<ConnectionPage> => {
    const { grants, next } = await store.all(readPage(page), isOwn)
    const connections = await inBatches(grants, ({ grant }) => connectionOf(asSeenBy(credential, grant), uses))
    return { connections: connections.flat(), ...(next !== undefined && { next }) }
  }
}

/** It comes from the app, so its types are not taken on trust. */
function readPage({ after, limit = USUAL }: ConnectionPageOptions) {
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST) {
    throw new TypeError(`limit must be a whole number from 1 to ${MOST}`)
  }
  if (after !== undefined && !(typeof after === 'string' && KEY.test(after))) {
    throw new TypeError('after must be the next of another page')
  }
  return { after, limit }
}

async function connectionOf(grant: Grant, uses: Grants['uses']): Promise<readonly NextcloudConnection[]> {
  const { identity, clients, connectedAt: since, state } = grant
  if (identity === undefined || state === 'disconnected') return []
  const used = await uses.read(identity)
  const { issuer, subject } = identity
  return [{ issuer, subject, clients: clients.map((clientId) => clientOf(grant, clientId, used)), since, state }]
}

function clientOf(grant: Grant, clientId: string, used: LastUses): ConnectedClient {
  const since = agreedAt(grant, clientId)
  const lastUsed = lastUseOf(grant, clientId, used)
  return { clientId, since, ...(lastUsed !== undefined && { lastUsed }) }
}
