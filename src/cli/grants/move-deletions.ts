import type { Clock } from '../../clock.js'
import { createPendingDeletions, type PendingDeletion } from '../../grants/pending-deletions.js'
import type { RecordOwner } from '../../grants/record-key.js'
import type { Records } from '../../grants/records.js'

/** A configuration, and the issuer of its users. */
export interface Place {
  readonly owner: RecordOwner
  readonly issuer: string
}

/** A move from one configuration to another. */
export interface Move {
  readonly records: Records
  readonly from: Place
  readonly to: Place
  /** Whether refresh tokens and codes stay behind, because another client or issuer has given them. */
  readonly isBound: boolean
  readonly isRehearsal: boolean
}

/** Outcomes of a credential that must end elsewhere, in the order in which they are told. */
export const ENDINGS = {
  ending: 'still to be ended elsewhere: moved',
  endingBound: 'refresh tokens still to be ended elsewhere, which are bound to client and issuer: left',
  endingFull: 'still to be ended elsewhere, for which there is no room where they would go: left',
  endingGivenUp: 'still to be ended elsewhere, which made way for others of their user: given up',
} as const

export type Ending = keyof typeof ENDINGS

/**
 * Moves the credentials that must end elsewhere. Where the process ends in between, one is in both places: a second attempt to end it
 * does no harm.
 */
export async function moveDeletions(
  { records, from, to, isBound, isRehearsal }: Move,
  clock: Clock,
  count: (ending: Ending) => void,
): Promise<void> {
  const listOf = ({ owner }: Place) =>
    createPendingDeletions({ records, owner, clock, givenUp: () => count('endingGivenUp') })
  const [there, here] = [listOf(to), listOf(from)]
  for (const deletion of await here.list()) {
    if (deletion.identity.issuer !== from.issuer) continue
    if (isBound && !('appPassword' in deletion.credential)) count('endingBound')
    else if (isRehearsal) count('ending')
    else if (await there.put(movedDeletion(deletion, from, to))) {
      await here.remove(deletion.id)
      count('ending')
    } else count('endingFull')
  }
}

/** The deletion as it is there. What another Nextcloud gave is for that one alone. */
function movedDeletion(deletion: PendingDeletion, from: Place, { owner, issuer }: Place): PendingDeletion {
  const { credential } = deletion
  const moved = { ...deletion, identity: { ...deletion.identity, issuer } }
  if (!('appPassword' in credential) || credential.appPassword.nextcloud !== from.owner.nextcloud) return moved
  return { ...moved, credential: { appPassword: { ...credential.appPassword, nextcloud: owner.nextcloud } } }
}
