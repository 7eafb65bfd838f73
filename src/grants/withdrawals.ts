/**
 * What the user has taken back, in the record of the grant: a connection that was under way at that moment must not be stored. Counted
 * and not dated, because the clocks of two instances differ.
 */
export interface Withdrawals {
  /** The number of all that there were. */
  readonly count: number
  /** The MCP clients of the latest ones, the oldest first. */
  readonly clients: readonly string[]
}

/** Withdrawals whose clients are known. Before them, each counts for every client. */
const MOST_KNOWN = 20

/** Returns the withdrawals with one more, of the consent to an MCP client. */
export function oneMore({ count, clients }: Withdrawals = { count: 0, clients: [] }, clientId: string): Withdrawals {
  return { count: count + 1, clients: [...clients, clientId].slice(-MOST_KNOWN) }
}

/**
 * Whether one of these consents was taken back after the user had agreed.
 *
 * @param known the number of withdrawals when the user agreed; undefined if nobody was asked
 */
export function isWithdrawn(
  { count, clients }: Withdrawals = { count: 0, clients: [] },
  clientIds: readonly string[],
  known: number | undefined,
): boolean {
  const more = count - (known ?? count)
  if (more <= 0) return false
  return more > clients.length || clients.slice(-more).some((id) => clientIds.includes(id))
}
