import { LRUCache } from 'lru-cache'
import { SealedValueError, StorageError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { Events } from '../events.js'
import {
  toEnd,
  type Credential,
  type Grant,
  type Identity,
  type Retired,
  type SealedGrant,
  type SentCode,
} from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import { DELETION_LIFE, NOT_ENDED_ELSEWHERE, presented, type PendingDeletion } from '../grants/pending-deletions.js'
import { replacedIn } from '../grants/replaced-tokens.js'
import { createWriteBehind, type WriteBehind } from '../grants/write-behind.js'
import { attemptOnce, type Attempt, type AttemptEnd, type CredentialEndRooms, type Failure } from './credential-end.js'

/** The end of the refresh token at the authorization server, or of the app password at Nextcloud. */
export interface Revocation {
  /**
   * `true`: the server revoked or deleted it; `false`: it never will, or there was nothing to revoke, or other MCP clients still need
   * it; `'pending'`: it could not be asked, or refused for now, and is asked again for 30 days; `'unsupported'`: it has no endpoint for
   * it (RFC 7009).
   */
  readonly revoked: boolean | 'pending' | 'unsupported'
}

/**
 * Ends credentials elsewhere: an app password at the Nextcloud that gave it, a refresh token at its authorization server. What fails is
 * kept in the store and tried again for 30 days, by whichever instance comes first.
 */
export interface Deletions {
  /** Ends one that was in a grant, whose store has noted it. Never rejects. `dead`: Nextcloud refused it before. */
  readonly end: (identity: Identity, credential: Credential, dead?: boolean) => Promise<Revocation['revoked']>
  /**
   * Ends one that never was in a grant: notes it first, so that it is not forgotten when the process ends. While the store does not say
   * whether it is in one, it is left as by `leave`.
   *
   * @param accessToken came with the refresh token, and may end it
   */
  readonly discard: (identity: Identity, credential: Credential, accessToken?: string) => Promise<Revocation['revoked']>
  /**
   * Notes one whose write into a grant has failed, and may have been carried out, or be carried out yet: once that is known, it is ended
   * unless it is in a grant. Never rejects.
   */
  readonly leave: (identity: Identity, credential: Credential) => Promise<void>
  /**
   * Notes one that Nextcloud has just given, or a code before it is sent: it is ended unless it is in a grant, or forgotten, within
   * minutes. Resolves to whether there was room for it. Rejects with {@link StorageError}.
   *
   * @param instead makes way for it
   * @param until milliseconds since the epoch at which those minutes begin. Default: now
   */
  readonly expect: (
    identity: Identity,
    credential: Credential | SentCode,
    of?: { readonly instead?: SentCode; readonly until?: number },
  ) => Promise<boolean>
  /** Ends a refresh token that came too late for its grant, after this call. Never rejects. `spent`: fingerprint of the one before. */
  readonly takeOver: (identity: Identity, credential: Credential, spent: string) => Promise<void>
  /** Forgets one that need not end. */
  readonly forget: (credential: Credential | SentCode) => Promise<void>
  /** Forgets what `expect` has noted of one that is in a grant now. The end of that grant may note it again meanwhile, which counts. */
  readonly stored: (credential: Credential) => Promise<void>
  /** Tries again what is due. Costs a comparison of two times where nothing is. */
  readonly look: () => void
  /** The same at once, for the start of the process. */
  readonly start: () => void
  readonly close: () => void
  /** Resolves when attempts under way have ended, and one more write was made of each outcome that could not be stored. */
  readonly settle: () => Promise<void>
}

/** The rooms that deletions need. */
export interface DeletionRooms extends CredentialEndRooms {
  readonly grants: CredentialEndRooms['grants'] & Pick<Grants, 'deletions' | 'newDeletion' | 'mayOpen' | 'openSealed'>
  readonly events: Events
}

/** A deletion to be forgotten: the note of it that is meant, or any. */
interface Forgotten {
  readonly forget: string | undefined
}

interface Deleting extends DeletionRooms {
  /** Outcomes that could not be stored yet: a deletion to be kept, or one to be forgotten. */
  readonly backlog: WriteBehind<PendingDeletion | Forgotten>
  /** The notes that `expect` has made, by id, until they are forgotten. One that is pushed out is found to be in use, and dropped. */
  readonly expected: LRUCache<string, string>
  /** Monotonic milliseconds. */
  nextLook: number
  started: boolean
  /** Whether this process has looked yet. */
  looked: boolean
  closed: boolean
  /** Ids of those that this process tried itself. */
  readonly own: LRUCache<string, true>
  cancel: () => void
}

const NOBODY: Identity = { issuer: '', subject: '' }
const MINUTE = 60_000
/** Milliseconds after the first failure, the second, and each further one. */
const PAUSES = [MINUTE, 10 * MINUTE]
const LONGEST_PAUSE = 60 * MINUTE
/** Milliseconds for which no other instance makes an attempt at what this one has claimed. */
const CLAIMED_FOR = 10 * MINUTE
/** Milliseconds from the moment at which Nextcloud gives a credential until it must be in a grant. */
const STORED_WITHIN = 5 * MINUTE
/** Milliseconds until a write that was given up cannot be carried out any more: clients of stores hold them back through an outage. */
const LATE_WRITE = 10 * MINUTE
/** Milliseconds from the first use of the store to the first look. */
const START_PAUSE = 500
/** Another instance may end those that this one has tried. */
const MOST_OWN = 10_000
const ANSWER_LOST =
  'An answer of Nextcloud was lost, as when a process ends before it has stored it. Nobody has the tokens that were in it. Their session stays in Nextcloud until its user ends it, under Personal settings, Security, Devices & sessions.'

export function createDeletions(rooms: DeletionRooms): Deletions {
  const { grants, clock } = rooms
  const backlog = createWriteBehind<PendingDeletion | Forgotten>(
    (outcome, id) => ('forget' in outcome ? grants.deletions.remove(id, outcome.forget) : keepOrTell(rooms, outcome)),
    (outcome) => 'forget' in outcome || tell(rooms, outcome, false),
    clock,
  )
  const deleting: Deleting = {
    ...rooms,
    backlog,
    expected: new LRUCache({ max: MOST_OWN }),
    nextLook: Infinity,
    started: false,
    looked: false,
    closed: false,
    own: new LRUCache({ max: MOST_OWN }),
    cancel: () => undefined,
  }
  return {
    end: (identity, credential, dead = false) =>
      finish(deleting, grants.newDeletion(identity, credential, dead)).then(revocationOf),
    async discard(identity, credential, accessToken) {
      const deletion = grants.newDeletion(identity, credential)
      await note(deleting, deletion)
      // A write that seemed to fail may have been carried out. Its note may have taken the place of one that a disconnection has just made.
      const isInUse = await grants.store.holds(identity, credential).catch(() => undefined)
      if (isInUse === true) return false
      if (isInUse === undefined) {
        await leave(deleting, deletion)
        return 'pending'
      }
      const byItself = rooms.endsAlone ? accessToken : undefined
      if (byItself === undefined || !(await rooms.freshCredentials.endToken(byItself)))
        return revocationOf(await finish(deleting, deletion))
      await drop(deleting, deletion.id)
      return true
    },
    leave: (identity, credential) => leave(deleting, grants.newDeletion(identity, credential)),
    async expect(identity, credential, { instead, until = clock.now() } = {}) {
      const deletion = { ...grants.newDeletion(identity, presented(credential)), nextAt: until + STORED_WITHIN }
      const note = deleting.expected.get(deletion.id) ?? deletion.note
      deleting.expected.set(deletion.id, note)
      // The credential may be in a grant by now, and that may have ended.
      return grants.deletions.putNew({ ...deletion, note }, instead && grants.newDeletion(identity, instead).id)
    },
    async takeOver(identity, credential, spent) {
      const deletion = grants.newDeletion(identity, credential)
      await note(deleting, deletion, spent)
      grants.background(finish(deleting, deletion).then((end) => tell(rooms, end.deletion, end.attempt)))
    },
    forget: (credential) => drop(deleting, grants.newDeletion(NOBODY, credential).id),
    async stored(credential) {
      const { id } = grants.newDeletion(NOBODY, credential)
      const noted = deleting.expected.get(id)
      if (noted !== undefined) await drop(deleting, id, noted)
    },
    look() {
      if (!deleting.started) lookIn(deleting, START_PAUSE)
      else if (clock.monotonic() >= deleting.nextLook) lookNow(deleting)
    },
    start: () => lookNow(deleting),
    close() {
      deleting.closed = true
      deleting.cancel()
    },
    settle: backlog.settle,
  }
}

function revocationOf({ attempt }: Pick<AttemptEnd, 'attempt'>): Revocation['revoked'] {
  if (attempt === 'lost') return false
  return isFailure(attempt) || attempt === 'taken over' ? 'pending' : attempt
}

/** Keeps a deletion, as one whose refresh token is about to be sent. The attempt that follows does not wait for the store to work. */
async function note({ grants }: Deleting, deletion: PendingDeletion, inPlaceOf?: string): Promise<void> {
  const noted = { ...deletion, credential: presented(deletion.credential) }
  await grants.deletions.put(noted, inPlaceOf).catch(ifError(StorageError, () => false))
}

const isFailure = (attempt: Attempt): attempt is Failure =>
  attempt === 'refused' || attempt === 'unavailable' || attempt === 'failed' || attempt === 'put off'

/** Looks after so many milliseconds, whether somebody calls or not. */
function lookIn(deleting: Deleting, ms: number): void {
  deleting.started = true
  deleting.cancel()
  if (deleting.closed) return
  deleting.nextLook = deleting.clock.monotonic() + ms
  deleting.cancel = deleting.clock.after(ms, () => lookNow(deleting))
}

function lookNow(deleting: Deleting): void {
  const { grants, clock, closed, looked } = deleting
  if (closed) return
  deleting.cancel()
  Object.assign(deleting, { started: true, looked: true, nextLook: Infinity })
  // It looks as at the start until a look has succeeded.
  grants.background(
    run(deleting, !looked).then(
      () => (deleting.nextLook = Math.min(deleting.nextLook, clock.monotonic() + LONGEST_PAUSE)),
      () => {
        deleting.looked = looked
        lookIn(deleting, MINUTE)
      },
    ),
  )
}

/** One look at what is pending, and an attempt at each that is due. */
async function run(deleting: Deleting, isFirst: boolean): Promise<void> {
  const { grants, clock, own, backlog } = deleting
  const now = clock.now()
  // At the start a server that was unavailable is asked at once. Wrong sign-ins keep their time: a process may start often.
  const isDue = ({ id, nextAt, tries, refused, credential, since }: PendingDeletion): boolean =>
    (nextAt <= now || (isFirst && tries > 0 && !refused && !own.has(id))) &&
    !('forget' in (backlog.get(id) ?? {})) &&
    // What another instance has the key of is for that one, until nobody has come.
    (!('sealed' in credential) || grants.mayOpen(credential) || now >= since + DELETION_LIFE)
  const { claimed, next } = await grants.deletions.claim(isDue, now + CLAIMED_FOR)
  if (next !== undefined) lookIn(deleting, Math.min(next - now, LONGEST_PAUSE))
  // One server that is unavailable is not waited for at each: Nextcloud, which has no name here, or that of an issuer.
  const unavailable = new Set<string>()
  for (const deletion of claimed) {
    const server = 'appPassword' in deletion.credential ? '' : deletion.identity.issuer
    const attempt = await attend(deleting, deletion, unavailable.has(server))
    if (attempt === 'unavailable') unavailable.add(server)
  }
}

/** Resolves to what became of it, or undefined if it was left alone. */
async function attend(
  deleting: Deleting,
  deletion: PendingDeletion,
  isUnavailable: boolean,
): Promise<Attempt | undefined> {
  const { grants, clock } = deleting
  const { identity, credential, since } = deletion
  if ('sealed' in credential) return attendSealed(deleting, deletion, credential)
  // A record that does not open may hold it.
  const isInUse = await grants.store.holds(identity, credential).catch(() => undefined)
  if (isInUse === undefined) return undefined
  if (isInUse) {
    // A disconnection that failed may have sent the write that ends it, which may be waiting for the store.
    if (clock.now() >= since + LATE_WRITE) await drop(deleting, deletion.id, deletion.note)
    return undefined
  }
  // The clock may be wrong, or nobody may have looked for so long.
  const isLast = clock.now() >= since + DELETION_LIFE
  const end = await finish(deleting, deletion, { isUnavailable, isLast })
  tell(deleting, end.deletion, isLast && isFailure(end.attempt) ? false : end.attempt)
  return end.attempt
}

/** Ends what is in a grant that another instance could not open. */
async function attendSealed(
  deleting: Deleting,
  { id, identity }: PendingDeletion,
  sealed: SealedGrant,
): Promise<Attempt | undefined> {
  const { grants, clock } = deleting
  const grant = await grants.openSealed(sealed).catch(ifError(SealedValueError, () => undefined))
  const ends = grant === undefined ? [] : endsOf(grant, clock.now())
  const deletions = ends.map(({ credential, dead }) => grants.newDeletion(identity, credential, dead))
  // In the list before the record goes, because this process may end in between.
  for (const deletion of deletions) await keepOrTell(deleting, deletion)
  await drop(deleting, id)
  if (grant === undefined) tell(deleting, grants.newDeletion(identity, sealed), false)
  let last: Attempt | undefined
  for (const deletion of deletions) last = await attend(deleting, deletion, last === 'unavailable')
  return last
}

/** Returns the credentials that must end with a grant. */
function endsOf(grant: Grant, now: number): readonly Retired[] {
  const retired = toEnd(grant)
  const replaced = replacedIn(grant, now).map((credential) => ({ credential, dead: false }))
  return [...(retired === undefined ? [] : [retired]), ...replaced]
}

/** Makes an attempt, and stores what became of it. After the last one, nothing is left. */
async function finish(
  deleting: Deleting,
  given: PendingDeletion,
  { isUnavailable = false, isLast = false } = {},
): Promise<AttemptEnd> {
  const { clock } = deleting
  const unavailable = { attempt: 'unavailable', deletion: given } as const
  const end = isUnavailable ? unavailable : await attemptOnce(deleting, given)
  const { attempt, deletion } = end
  if (attempt === 'taken over') return end
  if (isLast || !isFailure(attempt)) {
    for (const id of new Set([given.id, deletion.id])) await drop(deleting, id)
    return end
  }
  const pause = PAUSES[deletion.tries] ?? LONGEST_PAUSE
  const refused = attempt === 'refused'
  deleting.own.set(deletion.id, true)
  const later = { ...deletion, tries: deletion.tries + 1, nextAt: clock.now() + pause, refused }
  return (await keepUntil(deleting, later, given.id)) ? end : { attempt: false, deletion }
}

async function leave(deleting: Deleting, deletion: PendingDeletion): Promise<void> {
  await keepUntil(deleting, { ...deletion, nextAt: deleting.clock.now() + LATE_WRITE })
}

/** Keeps a deletion until it is due, in this process while the store fails. Resolves to false if there is no room for it. */
async function keepUntil(deleting: Deleting, deletion: PendingDeletion, inPlaceOf?: string): Promise<boolean> {
  const { clock, backlog } = deleting
  try {
    if (!(await keepOrTell(deleting, deletion, inPlaceOf))) return false
  } catch {
    backlog.keep(deletion.id, deletion)
  }
  const pause = deletion.nextAt - clock.now()
  if (clock.monotonic() + pause < deleting.nextLook) lookIn(deleting, pause)
  return true
}

/** Forgets a deletion. With `note`, a later note of the same credential stays. */
async function drop({ grants, backlog, own, expected }: Deleting, id: string, note?: string): Promise<void> {
  own.delete(id)
  expected.delete(id)
  backlog.drop(id)
  await grants.deletions.remove(id, note).catch(() => backlog.keep(id, { forget: note }))
}

/** Keeps it; where there is no room, the operator is told. Rejects with {@link StorageError}. */
async function keepOrTell(rooms: DeletionRooms, deletion: PendingDeletion, inPlaceOf?: string): Promise<boolean> {
  const kept = await rooms.grants.deletions.put(deletion, inPlaceOf)
  if (!kept) tell(rooms, deletion, false)
  return kept
}

/** Tells of the end of a deletion. */
function tell({ events }: Pick<DeletionRooms, 'events'>, { identity }: PendingDeletion, attempt: Attempt): void {
  const revoked = revocationOf({ attempt })
  if (revoked === 'pending') return
  const hint = attempt === 'lost' ? ANSWER_LOST : NOT_ENDED_ELSEWHERE
  if (identity.subject !== '')
    events.emit({ type: 'grant.revoked', ...identity, revoked, ...(revoked === false && { hint }) })
  // Nextcloud has not said who it was.
  else if (revoked === false) events.emit({ type: 'connect.failed', reason: 'answer', issuer: identity.issuer, hint })
}
