import { lastWithin } from '../json.js'
import { agreedAt, ANY_CLIENT, type Grant } from './grant.js'

/** The MCP clients of a grant, and since when each is one. */
type AgreedClients = Pick<Grant, 'clients' | 'agreed'>

/**
 * Bytes of JSON of the clients and their times: the clients that the user agreed to last. A person may agree to as many as they like, and the
 * sealed grant must fit into a record, and into the list of deletions.
 */
const MOST_BYTES = 5_000

type Agreement = readonly [clientId: string, at: number]

/**
 * Returns the clients of a grant with one more, or with one that is agreed to once more. Consent to a client that calls itself as all are
 * called is none.
 *
 * @param before undefined: each client is asked for again
 * @param now milliseconds since the epoch
 */
export function withClient(before: Grant | undefined, clientId: string, now: number): AgreedClients {
  const agreements = new Map(before === undefined ? [] : agreementsOf(before))
  if (clientId !== ANY_CLIENT) agreements.set(clientId, now)
  return latest([...agreements])
}

/**
 * Returns the clients of a grant without one. What the operator gave to all stays, because one that is ended ends no other: the withdrawals
 * keep that one out of it.
 *
 * @param clientId undefined: none is left
 */
export function withoutClient(before: Grant, clientId: string | undefined): AgreedClients {
  const left = clientId === undefined ? [] : agreementsOf(before)
  return latest(left.filter(([id]) => id !== clientId))
}

/** Returns a grant without the clients that there is no room for, as earlier versions stored them. They ask for consent again. */
export function withinBounds(grant: Grant): Grant {
  const kept = latest(agreementsOf(grant))
  return kept.clients.length === grant.clients.length ? grant : { ...grant, ...kept }
}

const agreementsOf = (grant: Grant): readonly Agreement[] => grant.clients.map((id) => [id, agreedAt(grant, id)])

/** What the operator gave to all stays, because no person can make it too much. */
function latest(agreements: readonly Agreement[]): AgreedClients {
  const named = agreements.filter(([id]) => id !== ANY_CLIENT).sort(([, one], [, other]) => one - other)
  const last = new Set(lastWithin(named, MOST_BYTES))
  const kept = agreements.filter((agreement) => agreement[0] === ANY_CLIENT || last.has(agreement))
  return { clients: kept.map(([id]) => id), agreed: Object.fromEntries(kept) }
}
