import { SealedValueError, type ConnectLink } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { change } from '../grants/change.js'
import type { Identity } from '../grants/grant.js'
import { recordKey } from '../grants/record-key.js'
import { createSingleFlight } from '../single-flight.js'
import { randomUUID } from 'node:crypto'
import { readClaim } from './client-names.js'
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
}

/** The purpose of a link. */
export interface Ticket extends Purpose {
  /** Key of the MAC that ties the form of the consent page to a cookie. */
  readonly formKey: string
  /** Whether this is a second attempt, after another person had signed in: the user must be able to pick another account. */
  readonly selectAccount: boolean
  /** What the MCP client calls itself (`clientInfo.name`), which proves nothing. */
  readonly callsItself?: string
}

/** The links that begin a connection. Every call rejects with {@link StorageError} when the store fails. */
export interface Tickets extends OneTimeRecords<Ticket> {
  /** Returns the one live link of a user and an MCP client; a new one once less than five minutes of it are left. */
  readonly linkFor: (identity: Identity, clientId: string) => Promise<ConnectLink>
  /** Notes what the client of a link calls itself. The latest word counts. Does nothing without a name, or if the link is used. */
  readonly callsItself: (connectUrl: string, name: unknown) => Promise<void>
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

/** @param pageUrl address of the consent page */
export function createTickets(given: OneTimeRooms, pageUrl: string): Tickets {
  const tickets = createOneTimeRecords<Ticket>('ticket', given)
  const rooms = { ...given, tickets, pageUrl }
  const flights = createSingleFlight<ConnectLink>()
  return {
    ...tickets,
    linkFor({ issuer, subject }, clientId) {
      const key = recordKey('ticket-of', given.owner, issuer, subject, clientId)
      const purpose = { identity: { issuer, subject }, clientId }
      return flights.join(key, () =>
        findOrMake(rooms, key, { ...purpose, formKey: randomSecret(), selectAccount: false }),
      )
    },
    async callsItself(connectUrl, name) {
      const claim = readClaim(name)
      const record = claim === undefined ? undefined : await tickets.read(ticketOf(connectUrl))
      if (claim === undefined || record === undefined || record.value.callsItself === claim) return
      await tickets.replace(record, { ...record.value, callsItself: claim })
    },
    async again({ identity, clientId }) {
      const formKey = randomSecret()
      const { secret } = await tickets.create({ identity, clientId, formKey, selectAccount: true })
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
    if (lasts && (await tickets.read(live.ticket)) !== undefined) return linkOf(rooms, live)
    const { secret, expiresAt } = await tickets.create(ticket)
    const next: LiveTicket = { format: 1, ticket: secret, elicitationId: randomUUID(), expiresAt }
    const isFirst = (await records.write(key, next, stored?.version ?? null, ONE_TIME_LIFE)) !== null
    const surplus = isFirst ? live?.ticket : secret
    if (surplus !== undefined) await tickets.drop(surplus)
    return isFirst ? linkOf(rooms, next) : 'late'
  })
}

const ticketOf = (connectUrl: string): string =>
  URL.canParse(connectUrl) ? (new URL(connectUrl).searchParams.get('ticket') ?? '') : ''

function linkOf({ pageUrl }: TicketRooms, { ticket, elicitationId, expiresAt }: LiveTicket): ConnectLink {
  return { connectUrl: `${pageUrl}?ticket=${ticket}`, elicitationId, expiresAt: Math.floor(expiresAt / 1_000) }
}
