import { afterPatience, type Clock } from '../clock.js'
import { identityKey, type Identity } from './grant.js'

/**
 * Tells whether the user's connection serves an MCP client; without a client, whether there is one at all.
 *
 * @param withdrawals those that a token of the client came after. Undefined: it is not about a token
 */
export type Serves = (clientId: string | undefined, withdrawals?: number) => boolean

/** Waits for users to connect Nextcloud, in this process or in another one on the same store. */
export interface Waiting {
  /**
   * Resolves to true as soon as the store says that the user is connected, and to false after `ms` milliseconds, when `signal`
   * aborts, or at once where too many wait already. Never rejects: a store that fails may work again before the time is over.
   *
   * @param clientId the MCP client that the connection must serve; undefined where consent is per user
   */
  readonly wait: (
    identity: Identity,
    clientId: string | undefined,
    ms: number,
    signal?: AbortSignal,
  ) => Promise<boolean>
  /** Makes those who wait for a user look at once, because this process has just stored a connection. */
  readonly connected: (identity: Identity) => void
  /** Ends every wait with false. */
  readonly close: () => void
}

interface Waits {
  /** Reads the store. What an MCP client says of the user's answer counts for nothing: only this decides. */
  readonly look: (identity: Identity) => Promise<Serves>
  readonly clock: Clock
  readonly groups: Map<string, Group>
  count: number
}

interface Waiter {
  readonly clientId: string | undefined
  readonly end: (connected: boolean) => void
}

/** Those who wait for one user. They share one look at the store at a time. */
interface Group {
  readonly identity: Identity
  readonly waiters: Set<Waiter>
  looking: boolean
  /** Reasons to look at once, counted: one that comes up during a look calls for another, because that may have missed it. */
  reasons: number
  cancelNextLook: () => void
}

/** Milliseconds between looks: how late a connection is seen that another process stored. */
const BETWEEN_LOOKS = 1_000
/** A client that keeps saying `accept` holds no more than this many requests open for its user. */
const MOST_WAITERS_OF_A_USER = 20
const MOST_WAITERS = 2_000

export function createWaiting({ look, clock }: Pick<Waits, 'look' | 'clock'>): Waiting {
  const waits: Waits = { look, clock, groups: new Map(), count: 0 }
  const { groups } = waits
  return {
    wait(identity, clientId, ms, signal) {
      const held = groups.get(identityKey(identity))?.waiters.size ?? 0
      if (signal?.aborted === true || held >= MOST_WAITERS_OF_A_USER || waits.count >= MOST_WAITERS)
        return Promise.resolve(false)
      return new Promise((resolve) => {
        const group = groupOf(waits, identity)
        const giveUp = (): void => waiter.end(false)
        const waiter: Waiter = {
          clientId,
          end(connected) {
            cancelDeadline()
            signal?.removeEventListener('abort', giveUp)
            leave(waits, group, waiter)
            resolve(connected)
          },
        }
        const cancelDeadline = afterPatience(clock, ms, giveUp)
        signal?.addEventListener('abort', giveUp)
        group.waiters.add(waiter)
        waits.count += 1
        // The connection may have been stored between the refusal and this wait.
        lookSoon(waits, group)
      })
    },
    connected(identity) {
      const group = groups.get(identityKey(identity))
      if (group !== undefined) lookSoon(waits, group)
    },
    close() {
      for (const { waiters } of [...groups.values()]) for (const { end } of [...waiters]) end(false)
    },
  }
}

function groupOf({ groups }: Waits, identity: Identity): Group {
  const key = identityKey(identity)
  const group = groups.get(key) ?? {
    identity,
    waiters: new Set(),
    looking: false,
    reasons: 0,
    cancelNextLook: () => undefined,
  }
  groups.set(key, group)
  return group
}

function leave(waits: Waits, group: Group, waiter: Waiter): void {
  if (!group.waiters.delete(waiter)) return
  waits.count -= 1
  if (group.waiters.size > 0) return
  group.cancelNextLook()
  waits.groups.delete(identityKey(group.identity))
}

function lookSoon(waits: Waits, group: Group): void {
  group.reasons += 1
  if (!group.looking) void lookNow(waits, group)
}

async function lookNow(waits: Waits, group: Group): Promise<void> {
  group.cancelNextLook()
  group.looking = true
  let answered: number
  do {
    answered = group.reasons
    const serves = await waits.look(group.identity).catch(() => () => false)
    for (const { clientId, end } of [...group.waiters]) if (serves(clientId)) end(true)
  } while (group.reasons !== answered && group.waiters.size > 0)
  group.looking = false
  if (group.waiters.size > 0) group.cancelNextLook = waits.clock.after(BETWEEN_LOOKS, () => void lookNow(waits, group))
}
