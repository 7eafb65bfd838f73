import type { ConnectLink } from '../errors/errors.js'
import { identityKey, type Identity } from '../grants/grant.js'
import { recordKey } from '../grants/record-key.js'
import { createSingleFlight } from '../single-flight.js'
import { randomUUID } from 'node:crypto'
import { readClaim } from './client-names.js'
import { createLinks, linkClient, withLink, type Links, type LinksChange, type LiveLink } from './links.js'
import {
  createOneTimeRecords,
  randomSecret,
  type OneTimeRecord,
  type OneTimeRecords,
  type OneTimeRooms,
} from './one-time.js'

/** The user for whom a connection is made, and the MCP client that asks for it. */
export interface Purpose {
  readonly identity: Identity
  readonly clientId: string
  /** The secret of the link, under which its answer is known. Undefined before there is one. */
  readonly answer?: string | undefined
  /** The claims of the user's token that `connect.identity` needs. Absent: none. */
  readonly claims?: Readonly<Record<string, unknown>>
  /** `GrantStore.withdrawals` when the user said yes. Undefined before that. */
  readonly withdrawals?: number | undefined
  /** What the MCP client calls itself (`clientInfo.name`), which proves nothing. {@link readClaim} has cut and cleaned it. */
  readonly callsItself?: string
}

/** Returns the purpose alone, of something that has one. */
export const purposeOf = ({ identity, clientId, claims, answer, withdrawals, callsItself }: Purpose): Purpose => ({
  identity,
  clientId,
  ...(claims && { claims }),
  ...(answer !== undefined && { answer }),
  ...(withdrawals !== undefined && { withdrawals }),
  ...(callsItself !== undefined && { callsItself }),
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
  /**
   * Returns the one live link of a user and an MCP client; a new one once less than five minutes of it are left. A user has twenty
   * at most. Beyond that, the oldest that nobody has opened ends, else the oldest.
   */
  readonly linkFor: (purpose: Purpose) => Promise<ConnectLink>
  /** Notes what the client of a link calls itself. The latest word counts. Does nothing without a name, or if the link is used. */
  readonly callsItself: (connectUrl: string, name: unknown) => Promise<void>
  /** Makes another ticket with the same purpose. It is not a link: only the browser that had the first is handed it. */
  readonly again: (purpose: Purpose) => Promise<{ secret: string; formKey: string }>
  /** Notes that the page of a link was shown. Never rejects: it matters only where a user has too many. */
  readonly opened: (ticket: OneTimeRecord<Ticket>) => Promise<void>
}

/** Milliseconds that a link must have left to be handed out again: for a person to read, agree and sign in. */
const LEAST_LEFT = 300_000

interface TicketRooms extends OneTimeRooms {
  readonly tickets: OneTimeRecords<Ticket>
  readonly links: Links
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
  const links = createLinks({ ...given, drop: tickets.drop })
  const rooms = { ...given, tickets, links, pageUrl }
  const flights = createSingleFlight<ConnectLink>()
  return {
    ...tickets,
    linkFor({ identity: { issuer, subject }, clientId, claims }) {
      const keeps = kept(claims)
      const purpose = { identity: { issuer, subject }, clientId, ...(keeps && { claims: keeps }) }
      return flights.join(`${identityKey(purpose.identity)} ${clientId}`, async () =>
        linkOf(rooms, await findOrMake(rooms, { ...purpose, formKey: randomSecret(), selectAccount: false })),
      )
    },
    async callsItself(connectUrl, name) {
      const claim = readClaim(name)
      const record = claim === undefined ? undefined : await tickets.read(ticketOf(connectUrl))
      if (claim === undefined || record === undefined || record.value.callsItself === claim) return
      await tickets.replace(record, { ...record.value, callsItself: claim })
    },
    async again(purpose) {
      const formKey = randomSecret()
      const ticket = { ...purposeOf(purpose), formKey, selectAccount: true }
      const { ticket: secret } = await makeLink(rooms, ticket, () => Promise.resolve(undefined))
      return { secret, formKey }
    },
    async opened(ticket) {
      const isIt = isLinkOf(rooms, ticket)
      const mark = (link: LiveLink): LiveLink => (isIt(link) ? { ...link, opened: true } : link)
      await changeIfKnown(rooms, ticket, (known) =>
        known.some((link) => isIt(link) && !link.opened) ? known.map(mark) : undefined,
      )
    },
    async spend(ticket) {
      if (!(await tickets.spend(ticket))) return false
      const isIt = isLinkOf(rooms, ticket)
      await changeIfKnown(rooms, ticket, (known) =>
        known.some(isIt) ? known.filter((link) => !isIt(link)) : undefined,
      )
      return true
    },
  }
}

function findOrMake(rooms: TicketRooms, ticket: Ticket): Promise<LiveLink> {
  const { tickets, clock } = rooms
  const client = linkClient(ticket.clientId)
  return makeLink(rooms, ticket, async (known) => {
    const live = known.find((one) => one.client === client && one.expiresAt - clock.now() >= LEAST_LEFT)
    const there = live && (await tickets.read(live.ticket))
    // A link for a user by name has no claims. Where they count, it would lead nowhere.
    const serves = there !== undefined && (there.value.claims !== undefined || ticket.claims === undefined)
    return serves ? live : undefined
  })
}

const ticketOf = (connectUrl: string): string =>
  URL.canParse(connectUrl) ? String(new URL(connectUrl).searchParams.get('ticket')) : ''

/** Makes a ticket and a link to it in the record of its user, unless there is a link that serves. */
async function makeLink(
  rooms: TicketRooms,
  ticket: Ticket,
  find: (known: readonly LiveLink[]) => Promise<LiveLink | undefined>,
): Promise<LiveLink> {
  const { links, tickets } = rooms
  let made: LiveLink | undefined
  const link = await links.change(ticket.identity, async (known) => {
    const found = await find(known)
    if (found !== undefined) return { result: found }
    made ??= await newLink(rooms, ticket)
    return { links: withLink(known, made), result: made }
  })
  // Another instance was first.
  if (made !== undefined && link !== made) await tickets.drop(made.ticket)
  return link
}

async function newLink({ tickets }: TicketRooms, ticket: Ticket): Promise<LiveLink> {
  const { clientId, selectAccount } = ticket
  const { secret, expiresAt } = await tickets.create(ticket)
  // The second attempt is in the browser already, and nobody is handed its link.
  const client = selectAccount ? '' : linkClient(clientId)
  return { client, ticket: secret, elicitationId: randomUUID(), expiresAt, opened: selectAccount }
}

function isLinkOf({ owner }: TicketRooms, { key }: OneTimeRecord<Ticket>): (link: LiveLink) => boolean {
  return ({ ticket }) => recordKey('ticket', owner, ticket) === key
}

/** Changes what is known of a ticket. If that fails, the record of the links knows less, and all else is as it should be. */
async function changeIfKnown(
  { links }: TicketRooms,
  { value }: OneTimeRecord<Ticket>,
  next: (known: readonly LiveLink[]) => readonly LiveLink[] | undefined,
): Promise<void> {
  const attempt = (known: readonly LiveLink[]): Promise<LinksChange<undefined>> => {
    const changed = next(known)
    return Promise.resolve({ ...(changed && { links: changed }), result: undefined })
  }
  await links.change(value.identity, attempt).catch(() => undefined)
}

function linkOf({ pageUrl }: TicketRooms, { ticket, elicitationId, expiresAt }: LiveLink): ConnectLink {
  return { connectUrl: `${pageUrl}?ticket=${ticket}`, elicitationId, expiresAt: Math.floor(expiresAt / 1_000) }
}
