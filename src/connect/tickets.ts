import type { Clock } from '../clock.js'
import { SealedValueError, type ConnectLink } from '../errors/errors.js'
import { change } from '../grants/change.js'
import type { Identity } from '../grants/grant.js'
import { recordKey, type RecordOwner } from '../grants/record-key.js'
import type { Records } from '../grants/records.js'
import { createSingleFlight } from '../single-flight.js'
import { randomUUID } from 'node:crypto'
import { createOneTimeRecords, ONE_TIME_LIFE, randomSecret, type OneTimeRecords } from './one-time.js'

/** For whom a connection is to be made, and which MCP client asks for it. */
export interface Ticket {
  readonly identity: Identity
  readonly clientId: string
  /** Key of the MAC that ties the form of the consent page to a cookie. */
  readonly formKey: string
  /** A second attempt, after somebody else had signed in: the server is told to let another account be picked. */
  readonly selectAccount: boolean
}

/** The links that begin a connection. Every call rejects with {@link StorageError} when the store fails. */
export interface Tickets extends OneTimeRecords<Ticket> {
  /** The one live link of a user and an MCP client: the one there is while five minutes of it are left, else another. */
  readonly linkFor: (identity: Identity, clientId: string) => Promise<ConnectLink>
  /** Another ticket for what a ticket was for; it is no link, and nobody is handed it but the browser that had the first. */
  readonly again: (ticket: Pick<Ticket, 'identity' | 'clientId'>) => Promise<{ secret: string; formKey: string }>
}

/** What leads from a user and a client to their ticket. */
interface LiveTicket {
  readonly format: 1
  readonly ticket: string
  /** Random, since it is shown where the ticket must not be. */
  readonly elicitationId: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Milliseconds that a link must have left to be handed out again: for a person to read, agree and sign in. */
const LEAST_LEFT = 300_000

/** @param pageUrl where the consent page is */
export function createTickets(records: Records, owner: RecordOwner, clock: Clock, pageUrl: string): Tickets {
  const tickets = createOneTimeRecords<Ticket>('ticket', records, owner, clock)
  const flights = createSingleFlight<ConnectLink>()

  function linkOf({ ticket, elicitationId, expiresAt }: LiveTicket): ConnectLink {
    return { connectUrl: `${pageUrl}?ticket=${ticket}`, elicitationId, expiresAt: Math.floor(expiresAt / 1_000) }
  }

  async function readLive(key: string): Promise<{ live: LiveTicket | undefined; version: string | null }> {
    try {
      const record = await records.read(key)
      const live = record?.value as LiveTicket | undefined
      return { live: live?.format === 1 ? live : undefined, version: record?.version ?? null }
    } catch (error) {
      if (!(error instanceof SealedValueError)) throw error
      // Of a key that is gone: the link is lost, and nothing else with it.
      return { live: undefined, version: (await records.peek(key))?.version ?? null }
    }
  }

  async function isUsable(live: LiveTicket): Promise<boolean> {
    if (live.expiresAt - clock.now() < LEAST_LEFT) return false
    return (await tickets.read(live.ticket)) !== undefined
  }

  function findOrMake(key: string, ticket: Ticket): Promise<ConnectLink> {
    return change('the link of a user', async () => {
      const { live, version } = await readLive(key)
      if (live !== undefined && (await isUsable(live))) return linkOf(live)
      const { secret, expiresAt } = await tickets.create(ticket)
      const next: LiveTicket = { format: 1, ticket: secret, elicitationId: randomUUID(), expiresAt }
      const isFirst = (await records.write(key, next, version, ONE_TIME_LIFE)) !== null
      const surplus = isFirst ? live?.ticket : secret
      if (surplus !== undefined) await tickets.drop(surplus)
      return isFirst ? linkOf(next) : 'late'
    })
  }

  return {
    ...tickets,
    linkFor(identity, clientId) {
      const { issuer, subject } = identity
      const key = recordKey('ticket-of', owner, issuer, subject, clientId)
      return flights.join(key, () =>
        findOrMake(key, {
          identity: { issuer, subject },
          clientId,
          formKey: randomSecret(),
          selectAccount: false,
        }),
      )
    },
    async again({ identity, clientId }) {
      const formKey = randomSecret()
      const { secret } = await tickets.create({ identity, clientId, formKey, selectAccount: true })
      return { secret, formKey }
    },
  }
}
