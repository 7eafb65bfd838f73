import { SealedValueError, type ConnectLink } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { change } from '../grants/change.js'
import type { Identity } from '../grants/grant.js'
import { recordKey } from '../grants/record-key.js'
import { createSingleFlight } from '../single-flight.js'
import { randomUUID } from 'node:crypto'
import {
  createOneTimeRecords,
  ONE_TIME_LIFE,
  randomSecret,
  type OneTimeRecords,
  type OneTimeRooms,
} from './one-time.js'

/** The user for whom a connection is made, and the MCP client that asks for it. */
export interface Purpose {
  readonly identity: Identity
  readonly clientId: string
  /** The claims of the user's token that `connect.identity` needs. Absent: none. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/** Returns the purpose alone, of something that has one. */
export const purposeOf = ({ identity, clientId, claims }: Purpose): Purpose => ({
  identity,
  clientId,
  ...(claims && { claims }),
})

/** The purpose of a link. */
export interface Ticket extends Purpose {
  /** Key of the MAC that ties the form of the consent page to a cookie. */
  readonly formKey: string
  /** Whether this is a second attempt, after another person had signed in: the user must be able to pick another account. */
  readonly selectAccount: boolean
}

/** The links that begin a connection. Every call rejects with {@link StorageError} when the store fails. */
export interface Tickets extends OneTimeRecords<Ticket> {
  /** Returns the one live link of a user and an MCP client; a new one once less than five minutes of it are left. */
  readonly linkFor: (purpose: Purpose) => Promise<ConnectLink>
  /** Makes another ticket with the same purpose. It is not a link: only the browser that had the first is handed it. */
  readonly again: (purpose: Purpose) => Promise<{ secret: string; formKey: string }>
}

/** The record that leads from a user and a client to their ticket. */
interface LiveTicket {
  readonly format: 1
  readonly ticket: string
  /** Random, because it is shown where the ticket must not be. */
  readonly elicitationId: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Milliseconds that a link must have left to be handed out again: for a person to read, agree and sign in. */
const LEAST_LEFT = 300_000

interface TicketRooms extends OneTimeRooms {
  readonly tickets: OneTimeRecords<Ticket>
  /** Address of the consent page. */
  readonly pageUrl: string
}

/**
 * @param pageUrl address of the consent page
 * @param kept the claims of a token that its link keeps
 */
export function createTickets(
  given: OneTimeRooms,
  pageUrl: string,
  kept: (claims: Purpose['claims']) => Purpose['claims'] = () => undefined,
): Tickets {
  const tickets = createOneTimeRecords<Ticket>('ticket', given)
  const rooms = { ...given, tickets, pageUrl }
  const flights = createSingleFlight<ConnectLink>()
  return {
    ...tickets,
    linkFor({ identity: { issuer, subject }, clientId, claims }) {
      const key = recordKey('ticket-of', given.owner, issuer, subject, clientId)
      const keeps = kept(claims)
      const purpose = { identity: { issuer, subject }, clientId, ...(keeps && { claims: keeps }) }
      return flights.join(key, () =>
        findOrMake(rooms, key, { ...purpose, formKey: randomSecret(), selectAccount: false }),
      )
    },
    async again(purpose) {
      const formKey = randomSecret()
      const { secret } = await tickets.create({ ...purposeOf(purpose), formKey, selectAccount: true })
      return { secret, formKey }
    },
  }
}

function findOrMake(rooms: TicketRooms, key: string, ticket: Ticket): Promise<ConnectLink> {
  const { records, tickets, clock } = rooms
  return change('the link of a user', async () => {
    // Sealed with a key that is gone: only the link is lost.
    const stored = await records.read(key).catch(ifError(SealedValueError, () => records.peek(key)))
    const found = stored?.value as LiveTicket | undefined
    const live = found?.format === 1 ? found : undefined
    const lasts = live !== undefined && live.expiresAt - clock.now() >= LEAST_LEFT
    const living = lasts ? await tickets.read(live.ticket) : undefined
    // A link for a user by name has no claims. Where they count, it would lead nowhere.
    const serves = living !== undefined && (living.value.claims !== undefined || ticket.claims === undefined)
    if (lasts && serves) return linkOf(rooms, live)
    const { secret, expiresAt } = await tickets.create(ticket)
    const next: LiveTicket = { format: 1, ticket: secret, elicitationId: randomUUID(), expiresAt }
    const isFirst = (await records.write(key, next, stored?.version ?? null, ONE_TIME_LIFE)) !== null
    const surplus = isFirst ? live?.ticket : secret
    if (surplus !== undefined) await tickets.drop(surplus)
    return isFirst ? linkOf(rooms, next) : 'late'
  })
}

function linkOf({ pageUrl }: TicketRooms, { ticket, elicitationId, expiresAt }: LiveTicket): ConnectLink {
  return { connectUrl: `${pageUrl}?ticket=${ticket}`, elicitationId, expiresAt: Math.floor(expiresAt / 1_000) }
}
