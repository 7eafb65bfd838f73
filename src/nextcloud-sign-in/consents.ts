import { isTooLong } from '../client-id.js'
import { findModel, keyOf, seconds, type ClientRooms } from './model-records.js'
import { changeList } from './person-list.js'
import { lastRefresh } from './refresh-tokens.js'

/** A consent to one client, in one place: a grant of oidc-provider. */
interface NotedConsent {
  readonly grantId: string
  readonly clientId: string
  /** Seconds since the epoch. */
  readonly at: number
}

/** Consents of one person that are kept, to all clients together. Each is two records, and one of a client that has registered itself. */
const MOST_CONSENTS = 50

/** What ends with a consent. */
interface End {
  /** Ends the grant and its tokens. */
  readonly consent: (grantId: string) => Promise<void>
  /** Ends a client that the person has no other consent to, unless others use it. */
  readonly client: (clientId: string) => Promise<void>
}

/**
 * Notes that a person has let a client in. One ends whose client could not sign in today. Where there are too many, one makes room that has ended, else the one that was used least recently
 * ends: who signs in again and again fills the store for nobody else.
 *
 * @param consent `life` in seconds
 */
export function noteConsent(
  rooms: ClientRooms,
  { accountId, life, ...consent }: Omit<NotedConsent, 'at'> & { readonly accountId: string; readonly life: number },
  end: End,
): Promise<void> {
  const at = seconds(rooms.clock)
  const isLiving = (noted: NotedConsent): boolean => at < noted.at + life
  const person = { key: keyOf(rooms, 'consents', accountId), life: life * 1_000, isLiving }
  return changeList<NotedConsent>(rooms, person, async (list) => {
    const others = list.filter(({ grantId }) => grantId !== consent.grantId)
    const tooLong = others.filter(({ clientId }) => isTooLong(clientId))
    const rest = others.filter((noted) => !tooLong.includes(noted))
    const surplus = new Set([...tooLong, ...(await leastUsed(rooms, rest, rest.length + 1 - MOST_CONSENTS))])
    const kept = [...others.filter((noted) => !surplus.has(noted)), { ...consent, at }]
    // Before the list loses them, because the store may fail in between.
    for (const { grantId, clientId } of surplus) {
      await end.consent(grantId)
      if (!kept.some((noted) => noted.clientId === clientId)) await end.client(clientId)
    }
    return kept
  })
}

async function leastUsed(rooms: ClientRooms, consents: readonly NotedConsent[], count: number) {
  if (count <= 0) return []
  const used = await Promise.all(consents.map(async (consent) => ({ consent, at: await lastUse(rooms, consent) })))
  return used
    .sort((one, other) => one.at - other.at)
    .slice(0, count)
    .map(({ consent }) => consent)
}

/** Seconds since the epoch. 0: the consent has ended. */
async function lastUse(rooms: ClientRooms, { grantId, at }: NotedConsent): Promise<number> {
  if ((await findModel(rooms, 'Grant', grantId)) === undefined) return 0
  return (await lastRefresh(rooms, grantId)) ?? at
}
