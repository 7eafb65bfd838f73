import type { Events } from '../events.js'
import type { KeptSecret } from '../modes.js'
import { shellWord } from '../shell-word.js'
import { isLiving, isOfKind, isRefreshable, type Grant, type Identity } from './grant.js'
import type { GrantStore } from './grant-store.js'
import { isSameOwner, ownerOf, type RecordOwner, type RecordOwners } from './record-key.js'

/** Looks, once in a process, whether the connections of a store are all of another configuration. */
export interface Elsewhere {
  /** Begins the look in the background, because a user has no connection. */
  readonly look: (identity: Identity) => void
}

interface ElsewhereRooms {
  readonly store: Pick<GrantStore, 'all'>
  readonly owner: RecordOwners
  readonly credential: KeptSecret
  /** Keeps work that goes on after an answer. */
  readonly background: (work: Promise<unknown>) => void
  readonly events: Events
}

/** The parts of a configuration that its connections belong to. */
type Place = RecordOwner & { readonly issuer: string }

/** Each part, with its option here and on the command line. */
const PARTS = [
  ['resource', 'resource', '--from-resource'],
  ['clientId', 'clientId', '--from-client-id'],
  ['issuer', 'issuer', '--from-issuer'],
  ['nextcloud', 'nextcloud.url', '--from-nextcloud-url'],
] as const satisfies readonly (readonly [part: keyof Place, option: string, flag: string])[]

/** A tenth of the records that are looked at. */
const LIMIT = 100

export function createElsewhere(rooms: ElsewhereRooms): Elsewhere {
  let looked = false
  return {
    look({ issuer }) {
      if (looked) return
      looked = true
      // An adapter without list, or a store that fails, leaves the operator without this word.
      rooms.background(look(rooms, { ...ownerOf(rooms.owner, issuer), issuer }).catch(() => undefined))
    },
  }
}

async function look({ store, owner, credential, events }: ElsewhereRooms, here: Place): Promise<void> {
  const places = new Map<string, { readonly place: Place; readonly isBound: boolean; count: number }>()
  // Nothing is taken, so that as many records as one call reads are looked at.
  await store.all({ limit: LIMIT }, (grant) => {
    const place = isLiving(grant) && isOfKind(credential, grant) ? placeOf(grant) : undefined
    if (place !== undefined) {
      const key = JSON.stringify(PARTS.map(([part]) => place[part]))
      const known = places.get(key)
      if (known === undefined) places.set(key, { place, isBound: isRefreshable(grant), count: 1 })
      else known.count += 1
    }
    return false
  })
  const found = [...places.values()].sort((one, other) => other.count - one.count)
  const [most] = found
  const isOfHere = ({ place }: { readonly place: Place }): boolean =>
    (place.issuer === here.issuer || owner.clientIds?.has(place.issuer) === true) &&
    isSameOwner(place, ownerOf(owner, place.issuer))
  if (most === undefined || found.some(isOfHere)) return
  const differing = PARTS.filter(([part]) => most.place[part] !== here[part])
  events.emit({ type: 'config.warning', option: String(differing[0]?.[1]), message: messageOf(differing, most) })
}

/** Undefined for a grant of a version before 0.4, which does not say. */
function placeOf({ identity, owner }: Grant): Place | undefined {
  return identity && owner && { ...owner, issuer: identity.issuer }
}

function messageOf(
  differing: readonly (typeof PARTS)[number][],
  { place, isBound }: { readonly place: Place; readonly isBound: boolean },
): string {
  const was = differing.map(([part, option]) => `${option} ${place[part]}`).join(', ')
  const found = `no connection in the store is of this configuration: those that are there were made with ${was}`
  // A refresh token is good for the client and the server that it was given to.
  if (isBound && differing.some(([part]) => part === 'clientId' || part === 'issuer')) {
    return `${found}. If that was changed, every user has to connect again, because refresh tokens cannot be moved to another client or issuer`
  }
  const flags = differing.map(([part, , flag]) => `${flag} ${shellWord(place[part])}`).join(' ')
  return `${found}. If that was changed, move them: npx mcp-nextcloud-auth grants move ${flags}`
}
