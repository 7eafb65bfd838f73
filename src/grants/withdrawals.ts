import { lastWithin } from '../json.js'

/**
 * What the user has taken back, in the record of the grant: a connection that was under way at that moment must not be stored, and what
 * came of a consent before it has ended. Counted and not dated, because the clocks of two instances differ.
 */
export interface Withdrawals {
  /** The number of all that there were. */
  readonly count: number
  /** The number of the last one that took back everything: the end of the connection, or one of which it is not known any more. */
  readonly all: number
  /** The MCP clients that were ended since then, each once with the number of its last withdrawal, the oldest first. */
  readonly clients: readonly (readonly [clientId: string, at: number])[]
  /**
   * The number at which a connection last took the place of none, or of one that need not be of the same account. It ends what came of
   * consents before, and no connection under way: whoever is on that way signs in at its end.
   */
  readonly replaced?: number
}

/** Bytes of JSON of them: their ids may be long. */
const MOST_BYTES = 2_000
/** MCP clients whose withdrawals are known. Before them, each counts for every client. */
const MOST_KNOWN = 20
const NOTHING: Withdrawals = { count: 0, all: 0, clients: [] }

/** Returns the withdrawals with one more: of the consent to an MCP client, or without one of everything. */
export function oneMore(before: Withdrawals = NOTHING, clientId: string | undefined): Withdrawals {
  const count = before.count + 1
  if (clientId === undefined) return { ...before, count, all: count, clients: [] }
  const others = before.clients.filter(([id]) => id !== clientId)
  return bounded({ ...before, count, clients: [...others, [clientId, count]] })
}

/** Returns the withdrawals without the clients that there is no room for: the last of those counts for every client. */
export function bounded(withdrawals: Withdrawals): Withdrawals {
  const clients = lastWithin(withdrawals.clients.slice(-MOST_KNOWN), MOST_BYTES)
  const [, all] = withdrawals.clients.at(-clients.length - 1) ?? ['', withdrawals.all]
  return { ...withdrawals, all, clients }
}

/** Returns the withdrawals once a connection has taken the place of one that need not be of the same account. */
export function withReplaced(before: Withdrawals = NOTHING): Withdrawals {
  const count = before.count + 1
  return { ...before, count, replaced: count }
}

/**
 * Whether a consent was taken back after the user had agreed.
 *
 * @param clientId undefined: nothing but the end of everything counts
 * @param known the number of withdrawals when the user agreed; undefined if nobody was asked
 */
export function isWithdrawn(
  { count, all, clients }: Withdrawals = NOTHING,
  clientId: string | undefined,
  known: number | undefined,
): boolean {
  if (known === undefined || known >= count) return false
  return known < all || clients.some(([id, at]) => id === clientId && known < at)
}

/**
 * Whether what came of a consent has ended: a token or a session. Nothing of it proves that the account is still the one that agreed.
 *
 * @param clientId as for `isWithdrawn`, which is for a person who proves it
 */
export function isOver(
  withdrawals: Withdrawals = NOTHING,
  clientId: string | undefined,
  known: number | undefined,
): boolean {
  return known !== undefined && (known < (withdrawals.replaced ?? 0) || isWithdrawn(withdrawals, clientId, known))
}
