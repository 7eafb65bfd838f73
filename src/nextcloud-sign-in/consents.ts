import { keyOf, seconds, type ClientRooms } from './model-records.js'
import { changeList } from './person-list.js'
import { lastRefresh } from './refresh-tokens.js'

/** A consent to one client, in one place: a grant of oidc-provider. */
interface NotedConsent {
  readonly grantId: string
  /** Seconds since the epoch. */
  readonly at: number
}

/** Consents of one person that have not ended, to all clients together. Each is up to two records, for as long as the grant lives. */
export const MOST_CONSENTS = 50

/**
 * Notes that a person has let a client in. Where there are too many, the one ends that was used least recently: who signs in again and again
 * fills the store for nobody else.
 *
 * @param consent `life` in seconds
 * @param end ends the grant and its tokens
 */
export function noteConsent(
  rooms: ClientRooms,
  { accountId, grantId, life }: { readonly accountId: string; readonly grantId: string; readonly life: number },
  end: (grantId: string) => Promise<void>,
): Promise<void> {
  const at = seconds(rooms.clock)
  const isLiving = (consent: NotedConsent): boolean => at < consent.at + life
  const person = { key: keyOf(rooms, 'consents', accountId), life: life * 1_000, isLiving }
  return changeList<NotedConsent>(rooms, person, async (list) => {
    const others = list.filter((consent) => consent.grantId !== grantId)
    const surplus = new Set(await leastUsed(rooms, others, others.length + 1 - MOST_CONSENTS))
    // Before the list loses them, because the store may fail in between.
    for (const consent of surplus) await end(consent.grantId)
    return [...others.filter((consent) => !surplus.has(consent)), { grantId, at }]
  })
}

async function leastUsed(rooms: ClientRooms, consents: readonly NotedConsent[], count: number) {
  if (count <= 0) return []
  const used = await Promise.all(
    consents.map(async (consent) => ({ consent, at: (await lastRefresh(rooms, consent.grantId)) ?? consent.at })),
  )
  return used
    .sort((one, other) => one.at - other.at)
    .slice(0, count)
    .map(({ consent }) => consent)
}
