import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { change } from '../grants/change.js'
import { identityKey, type Identity } from '../grants/grant.js'
import { recordKey } from '../grants/record-key.js'
import { hashOfParts } from '../hash-of-parts.js'
import type { OneTimeRooms } from './one-time.js'

/** A link of a user, as the record of all its links knows it. */
export interface LiveLink {
  /** Stands for the MCP client, whose id may be long. Empty for a ticket that is handed to nobody but one browser. */
  readonly client: string
  readonly ticket: string
  /** Random, because it is shown where the ticket must not be. */
  readonly elicitationId: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
  /** Whether a browser has shown its page, or a preview of it. */
  readonly opened: boolean
}

/** What becomes of a user's links, and what the caller gets. */
export interface LinksChange<T> {
  /** Undefined: they stay as they are. */
  readonly links?: readonly LiveLink[]
  readonly result: T
}

/**
 * The links of each user, in one record: a user with any number of MCP clients fills no more of the store than this. Every call
 * rejects with {@link StorageError} when the store fails.
 */
export interface Links {
  /**
   * Changes the links of a user, the oldest first, one change at a time. Links that it leaves out end.
   *
   * @param attempt is called again where another writer was first
   */
  readonly change: <T>(
    identity: Identity,
    attempt: (links: readonly LiveLink[]) => Promise<LinksChange<T>>,
  ) => Promise<T>
}

/** Living links of one user. */
const MOST_LINKS = 20

/** All MCP clients of a user change one record: several instances may be at it at once. */
const MOST_ATTEMPTS = 30
/** Milliseconds until the next attempt, at most. */
const PAUSE = 50

interface LinksRooms extends OneTimeRooms {
  /** Ends a link. */
  readonly drop: (ticket: string) => Promise<void>
}

interface Stored {
  readonly format: 1
  readonly links: readonly LiveLink[]
}

/** Returns what stands for an MCP client in a link. */
export const linkClient = (clientId: string): string => hashOfParts([clientId])

/** Adds a link. It ends the one before of the same client, and where there are too many the oldest that nobody has opened. */
export function withLink(links: readonly LiveLink[], added: LiveLink): readonly LiveLink[] {
  const left = links.filter(({ client }) => client === '' || client !== added.client)
  while (left.length >= MOST_LINKS) {
    const unopened = left.findIndex(({ opened }) => !opened)
    left.splice(Math.max(unopened, 0), 1)
  }
  return [...left, added]
}

export function createLinks(rooms: LinksRooms): Links {
  /** The last change of each user that is not over. */
  const lines = new Map<string, Promise<unknown>>()
  return {
    change(identity, attempt) {
      const line = identityKey(identity)
      // One after the other in this process, so that none makes tickets in vain. If the store fails, it fails for all who wait.
      const mine = (lines.get(line) ?? Promise.resolve()).then(() =>
        change('the links of a user', () => attemptChange(rooms, identity, attempt), MOST_ATTEMPTS),
      )
      const ended = (): unknown => lines.get(line) === mine && lines.delete(line)
      lines.set(line, mine)
      mine.then(ended, ended)
      return mine
    },
  }
}

async function attemptChange<T>(
  { records, owner, clock, drop }: LinksRooms,
  { issuer, subject }: Identity,
  attempt: (links: readonly LiveLink[]) => Promise<LinksChange<T>>,
): Promise<T | 'late'> {
  const key = recordKey('links', owner, issuer, subject)
  // Sealed with a key that is gone: only the links are lost.
  const stored = await records.read(key).catch(ifError(SealedValueError, () => records.peek(key)))
  const found = stored?.value as Stored | undefined
  const known = found?.format === 1 ? found.links : []
  const living = known.filter(({ expiresAt }) => clock.now() < expiresAt)
  const { links, result } = await attempt(living)
  if (links === undefined) return result
  const expiresAt = Math.max(0, ...links.map((link) => link.expiresAt))
  const next: Stored = { format: 1, links }
  const version = await records.write(key, next, stored?.version ?? null, Math.max(1, expiresAt - clock.now()))
  if (version === null) {
    await clock.sleep(clock.random() * PAUSE)
    return 'late'
  }
  const left = new Set(links.map(({ ticket }) => ticket))
  const over = living.filter(({ ticket }) => !left.has(ticket))
  await Promise.all(over.map(({ ticket }) => drop(ticket)))
  return result
}
