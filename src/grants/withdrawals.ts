import { hashOfParts } from '../hash-of-parts.js'

/**
 * What the user has taken back, in the record of the grant: a connection that was under way at that moment must not be stored, and what
 * came of a consent before it has ended. Counted and not dated, because the clocks of two instances differ.
 */
export interface Withdrawals {
  /** The number of all that there were. */
  readonly count: number
  /** The number of the last one that took back everything: the end of the connection. */
  readonly all: number
  /** The number of the last one of which it is not known any more whose it was. It ends what every client had before, and no session. */
  readonly unknown?: number
  /** Names of the MCP clients that were ended since then, each once with the number of its last withdrawal, the oldest first. */
  readonly ended: readonly Ended[]
  /**
   * The number at which a connection last took the place of none, or of one that need not be of the same account. It ends what came of
   * consents before, and no connection under way: whoever is on that way signs in at its end.
   */
  readonly replaced?: number
}

type Ended = readonly [name: string, at: number]

/** Withdrawals of an earlier 0.4, with the ids of clients themselves. */
type Stored = Omit<Withdrawals, 'ended'> & { readonly ended?: readonly Ended[]; readonly clients?: readonly Ended[] }

/** MCP clients whose withdrawals are known: as many as a grant has room for. Before them, each counts for every client. */
const MOST_KNOWN = 120
/** Characters of base64url: 128 bits and more, so that nobody finds an id with the name of another. */
const NAME_LENGTH = 22
export const NO_WITHDRAWALS: Withdrawals = { count: 0, all: 0, ended: [] }

/** Returns the withdrawals with one more: of the consent to an MCP client, or without one of everything. */
export function oneMore(before: Withdrawals = NO_WITHDRAWALS, clientId: string | undefined): Withdrawals {
  const count = before.count + 1
  if (clientId === undefined) return { ...before, count, all: count, ended: [] }
  const ended = nameOf(clientId)
  return bounded({ ...before, count, ended: [...before.ended.filter(([name]) => name !== ended), [ended, count]] })
}

/** Returns withdrawals from their record. */
export function readWithdrawals({ clients = [], ended = [], ...stored }: Stored): Withdrawals {
  const named = clients.map(([clientId, at]): Ended => [nameOf(clientId), at])
  return { ...stored, ended: [...named, ...ended] }
}

/** A client id may be long, and long ids of some clients must not make others unknown. */
const nameOf = (clientId: string): string => hashOfParts([clientId]).slice(0, NAME_LENGTH)

/** Returns the withdrawals without the clients that there is no room for: the last of those counts for every client. */
function bounded(withdrawals: Withdrawals): Withdrawals {
  const last = withdrawals.ended.at(-MOST_KNOWN - 1)
  if (last === undefined) return withdrawals
  return { ...withdrawals, unknown: last[1], ended: withdrawals.ended.slice(-MOST_KNOWN) }
}

/** Returns the withdrawals once a connection has taken the place of one that need not be of the same account. */
export function withReplaced(before: Withdrawals = NO_WITHDRAWALS): Withdrawals {
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
  { count, all, unknown = 0, ended }: Withdrawals = NO_WITHDRAWALS,
  clientId: string | undefined,
  known: number | undefined,
): boolean {
  if (known === undefined || known >= count) return false
  if (known < all) return true
  if (clientId === undefined) return false
  const name = nameOf(clientId)
  return known < unknown || ended.some(([one, at]) => one === name && known < at)
}

/** Whether an MCP client was ended since the end of everything, as far as is known: beyond those that are known, it may be any. */
export function isEnded({ all, unknown = 0, ended }: Withdrawals = NO_WITHDRAWALS, clientId: string): boolean {
  const name = nameOf(clientId)
  return unknown > all || ended.some(([one]) => one === name)
}

/**
 * Whether what came of a consent has ended: a token or a session. Nothing of it proves that the account is still the one that agreed.
 *
 * @param clientId as for `isWithdrawn`, which is for a person who proves it
 */
export function isOver(
  withdrawals: Withdrawals = NO_WITHDRAWALS,
  clientId: string | undefined,
  known: number | undefined,
): boolean {
  return known !== undefined && (known < (withdrawals.replaced ?? 0) || isWithdrawn(withdrawals, clientId, known))
}
