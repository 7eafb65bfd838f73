import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { Clock } from '../clock.js'
import { StorageError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { Events } from '../events.js'
import type { Credential, Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import { DELETION_LIFE, NOT_ENDED_ELSEWHERE, type PendingDeletion } from '../grants/pending-deletions.js'
import { createWriteBehind, type WriteBehind } from '../grants/write-behind.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import type { SignIns } from '../nextcloud/sign-ins.js'

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
  /** Ends one that never was in a grant: notes it first, so that it is not forgotten when the process ends. */
  readonly discard: (identity: Identity, credential: Credential) => Promise<Revocation['revoked']>
  /** Forgets one that need not end. */
  readonly forget: (credential: Credential) => Promise<void>
  /** Tries again what is due. Costs a comparison of two times where nothing is. */
  readonly look: () => void
  /** The same at once, for the start of the process. */
  readonly start: () => void
  readonly close: () => void
  /** Resolves when attempts under way have ended, and one more write was made of each outcome that could not be stored. */
  readonly settle: () => Promise<void>
}

/** The rooms that deletions need. */
export interface DeletionRooms {
  readonly grants: Pick<Grants, 'store' | 'deletions' | 'newDeletion' | 'background'>
  readonly client: Pick<AuthorizationServerClient, 'revoke'>
  /** The issuer of the authorization server. Rejects when its metadata cannot be had. */
  readonly issuer: () => string | Promise<string>
  readonly appPasswords: Pick<AppPasswords, 'remove'>
  readonly signIns: SignIns
  readonly clock: Clock
  readonly events: Events
}

/** What became of an attempt. `refused`: Nextcloud did not take the app password. `unavailable`: somebody could not be asked. */
type Attempt = boolean | 'unsupported' | Failure
/** `failed`: somebody answered, and did not do it. */
type Failure = 'refused' | 'unavailable' | 'failed'

interface Deleting extends DeletionRooms {
  /** Outcomes that could not be stored yet: a deletion to be kept, or one to be forgotten. */
  readonly backlog: WriteBehind<PendingDeletion | 'forget'>
  /** Monotonic milliseconds. */
  nextLook: number
  started: boolean
  /** Whether this process has looked yet. */
  looked: boolean
  closed: boolean
  /** Ids of those that this process tried itself. */
  readonly own: Set<string>
  cancel: () => void
}

const MINUTE = 60_000
/** Milliseconds after the first failure, the second, and each further one. */
const PAUSES = [MINUTE, 10 * MINUTE, 60 * MINUTE]
const LONGEST_PAUSE = 60 * MINUTE
/** Milliseconds for which no other instance makes an attempt at what this one has claimed. */
const CLAIMED_FOR = 10 * MINUTE
/** Milliseconds from the first use of the store to the first look. */
const START_PAUSE = 500
export function createDeletions(rooms: DeletionRooms): Deletions {
  const { grants, clock } = rooms
  const backlog = createWriteBehind<PendingDeletion | 'forget'>(
    async (outcome, id) =>
      outcome === 'forget' ? grants.deletions.remove(id) : keepOrTell(rooms, outcome).then(() => undefined),
    (outcome) => outcome === 'forget' || tell(rooms, outcome, false),
    clock,
  )
  const deleting: Deleting = {
    ...rooms,
    backlog,
    nextLook: Infinity,
    started: false,
    looked: false,
    closed: false,
    own: new Set(),
    cancel: () => undefined,
  }
  return {
    end: (identity, credential, dead = false) =>
      finish(deleting, grants.newDeletion(identity, credential, dead)).then(revocationOf),
    async discard(identity, credential) {
      const deletion = grants.newDeletion(identity, credential)
      await grants.deletions.put(deletion).catch(ifError(StorageError, () => false))
      return revocationOf(await finish(deleting, deletion))
    },
    forget: (credential) => drop(deleting, grants.newDeletion({ issuer: '', subject: '' }, credential).id),
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

const revocationOf = (attempt: Attempt): Revocation['revoked'] => (isFailure(attempt) ? 'pending' : attempt)

const isFailure = (attempt: Attempt): attempt is Failure =>
  attempt === 'refused' || attempt === 'unavailable' || attempt === 'failed'

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
  const { grants, clock, own } = deleting
  const now = clock.now()
  // At the start a server that was unavailable is asked at once. Wrong sign-ins keep their time: a process may start often.
  const isDue = ({ id, nextAt, tries, refused }: PendingDeletion): boolean =>
    nextAt <= now || (isFirst && tries > 0 && !refused && !own.has(id))
  const { claimed, next } = await grants.deletions.claim(isDue, now + CLAIMED_FOR)
  if (next !== undefined) lookIn(deleting, Math.min(next - now, LONGEST_PAUSE))
  // One server that is unavailable is not waited for at each.
  const unavailable = new Set<string>()
  for (const deletion of claimed) {
    const kind = Object.keys(deletion.credential).join()
    const attempt = await attend(deleting, deletion, unavailable.has(kind))
    if (attempt === 'unavailable') unavailable.add(kind)
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
  // A record that does not open may hold it.
  const isInUse = await grants.store.holds(identity, credential).catch(() => undefined)
  if (isInUse === undefined) return undefined
  if (isInUse) {
    await drop(deleting, deletion.id)
    return undefined
  }
  if (clock.now() >= since + DELETION_LIFE) {
    await drop(deleting, deletion.id)
    tell(deleting, deletion, false)
    return false
  }
  const attempt = await finish(deleting, deletion, isUnavailable)
  if (!isFailure(attempt)) tell(deleting, deletion, attempt)
  return attempt
}

/** Makes an attempt, and stores what became of it. */
async function finish(deleting: Deleting, deletion: PendingDeletion, isUnavailable = false): Promise<Attempt> {
  const { clock } = deleting
  const attempt = isUnavailable ? 'unavailable' : await attemptOnce(deleting, deletion)
  if (!isFailure(attempt)) {
    await drop(deleting, deletion.id)
    return attempt
  }
  const pause = PAUSES[Math.min(deletion.tries, PAUSES.length - 1)] ?? LONGEST_PAUSE
  const refused = attempt === 'refused'
  deleting.own.add(deletion.id)
  const later = { ...deletion, tries: deletion.tries + 1, nextAt: clock.now() + pause, refused }
  try {
    if (!(await keepOrTell(deleting, later))) return false
  } catch {
    deleting.backlog.keep(deletion.id, later)
  }
  if (clock.monotonic() + pause < deleting.nextLook) lookIn(deleting, pause)
  return attempt
}

async function attemptOnce(deleting: Deleting, deletion: PendingDeletion): Promise<Attempt> {
  const { client, issuer, appPasswords, signIns } = deleting
  const { identity, credential, refused } = deletion
  if ('refreshToken' in credential) {
    // No other server may see it. It waits for the configuration that has its own.
    const isOwn = identity.issuer === (await Promise.resolve(issuer()).catch(() => undefined))
    return isOwn ? client.revoke(credential.refreshToken) : 'failed'
  }
  // Whether this one is dead is not known, and one user may have many that are: they wait, so that nobody else is turned away.
  if (signIns.isFull(identity)) return refused ? 'refused' : 'failed'
  // One that was refused is likely to be refused again, which may turn everybody away.
  const giveBack = refused ? signIns.takePlace(identity) : undefined
  if (refused && giveBack === undefined) return 'refused'
  const outcome = await appPasswords.remove(credential.appPassword)
  if (giveBack !== undefined) giveBack(outcome === 'refused')
  else if (outcome === 'refused') signIns.refused(identity)
  return outcome
}

async function drop({ grants, backlog, own }: Deleting, id: string): Promise<void> {
  own.delete(id)
  backlog.drop(id)
  await grants.deletions.remove(id).catch(() => backlog.keep(id, 'forget'))
}

/** Keeps it; where there is no room, the operator is told. Rejects with {@link StorageError}. */
async function keepOrTell(rooms: DeletionRooms, deletion: PendingDeletion): Promise<boolean> {
  const kept = await rooms.grants.deletions.put(deletion)
  if (!kept) tell(rooms, deletion, false)
  return kept
}

function tell(
  { events }: Pick<DeletionRooms, 'events'>,
  { identity }: PendingDeletion,
  revoked: boolean | 'unsupported',
): void {
  events.emit({ type: 'grant.revoked', ...identity, revoked, ...(revoked === false && { hint: NOT_ENDED_ELSEWHERE }) })
}
