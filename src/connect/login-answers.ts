import type { Clock } from '../clock.js'
import type { Deletions } from '../broker/deletions.js'
import type { Events, OfPerson } from '../events.js'
import type { Grants } from '../grants/open-grants.js'
import { StorageError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { AppPassword } from '../grants/grant.js'
import { NOT_ENDED_ELSEWHERE } from '../grants/pending-deletions.js'
import { persevere } from '../grants/persevere.js'
import { createWriteBehind, type WriteBehind } from '../grants/write-behind.js'
import type { AppPasswords, LoginFlowAnswer } from '../nextcloud/app-passwords.js'
import { createSingleFlight } from '../single-flight.js'
import type { Report } from './connect-rooms.js'
import type { OneTimeRecord, OneTimeRecords } from './one-time.js'
import type { Purpose } from './tickets.js'

/**
 * The outcome of a login at Nextcloud: `person` and `answer` as in `connect.failed`, if nothing was connected. `withdrawn`: the user has
 * taken the yes back meanwhile.
 */
export type LoginOutcome = 'connected' | 'person' | 'answer' | 'withdrawn'

/** A user on the way through Nextcloud's Login Flow v2. */
export interface Login extends Purpose {
  /** Address at which the user agrees. */
  readonly login: string
  readonly pollToken: string
  /** Milliseconds since the epoch at which Nextcloud forgets it. */
  readonly endsAt: number
  /** Undefined while it is open. */
  readonly outcome?: LoginOutcome
}

/** Holds the answers of Nextcloud, each of which it gives once, until their outcome is in the store. */
export interface LoginAnswers {
  /**
   * Brings an answer to its outcome.
   *
   * @throws {StorageError} the store fails: the answer is held, and the rest is done in the background
   */
  readonly take: (secret: string, login: OneTimeRecord<Login>, answer: LoginFlowAnswer | 'unusable') => Promise<Login>
  /** Tries again what is held for a login; undefined if nothing is. Rejects as `take` does. */
  readonly retry: (secret: string) => Promise<Login> | undefined
  /**
   * Makes one last attempt at every answer that is held. An app password that is not stored then is deleted in Nextcloud, unless it is noted
   * and may be stored after all: nobody would know it once this process has ended.
   */
  readonly close: () => Promise<void>
}

/** The rooms that the outcome of a login needs. */
export interface LoginAnswerRooms {
  readonly records: Pick<OneTimeRecords<Login>, 'replace'>
  readonly grants: Pick<Grants, 'store' | 'fingerprint' | 'background'>
  readonly appPasswords: Pick<AppPasswords, 'nextcloud'>
  readonly deletions: Pick<Deletions, 'end' | 'discard' | 'expect' | 'stored'>
  /** Milliseconds for which a write is repeated at once. */
  readonly patience: number
  /** Looks whether the account is the user's: what the operator is told of a no, undefined for a yes. Never rejects. */
  readonly whyNot: (answer: LoginFlowAnswer, purpose: Purpose) => Promise<OfPerson | undefined>
  readonly report: Report
  readonly onConnected: (purpose: Purpose) => void
  readonly clock: Clock
  readonly events: Events
}

interface Answering extends LoginAnswerRooms {
  closed: boolean
}

interface Held {
  readonly record: OneTimeRecord<Login>
  readonly answer: LoginFlowAnswer | 'unusable'
  /** Whether the list of deletions has it, so that it does not outlive this process unknown. */
  noted: boolean
  /** From here on it may be in a grant. */
  allowed: boolean
  outcome: LoginOutcome | undefined
}

const UNUSABLE = 'Nextcloud gave a login name or an app password that cannot be used.'
export const WITHDRAWN = 'The user has said no, or disconnected, after the yes.'
const NOT_DELETED =
  'An app password that nobody may use could not be deleted yet, which is tried again for 30 days: its user finds it in Nextcloud, under Security, Devices & sessions.'

export function createLoginAnswers(rooms: LoginAnswerRooms): LoginAnswers {
  const answering: Answering = { ...rooms, closed: false }
  const flights = createSingleFlight<unknown>()
  const held = createWriteBehind<Held>(
    (one, secret) => flights.join(secret, () => finish(answering, one)),
    (one, secret) => {
      const last = flights.join(secret, () => Promise.resolve())
      rooms.grants.background(abandon(answering, one, last))
    },
    rooms.clock,
  )
  return {
    take(secret, record, answer) {
      const one: Held = { record, answer, noted: false, allowed: false, outcome: undefined }
      held.keep(secret, one)
      return flush(held, secret, one)
    },
    retry(secret) {
      const one = held.get(secret)
      return one && flush(held, secret, one)
    },
    close() {
      answering.closed = true
      return held.end()
    },
  }
}

async function flush(held: WriteBehind<Held>, secret: string, one: Held): Promise<Login> {
  await held.flush(secret)
  const { value } = one.record
  return one.outcome === undefined ? value : { ...value, outcome: one.outcome }
}

/** Resolves once the answer need not be held any more. */
async function finish(rooms: Answering, held: Held): Promise<void> {
  const { records, clock, patience } = rooms
  const { record } = held
  if (clock.now() >= record.expiresAt) {
    // The login is forgotten. An app password that was not stored must not stay at Nextcloud.
    if (held.outcome === undefined) await giveUp(rooms, held)
    return
  }
  const outcome = (held.outcome ??= await outcomeOf(rooms, held))
  const replace = () => records.replace(record, { ...record.value, outcome })
  await persevere(clock, patience, replace, () => !rooms.closed)
}

/** An app password that is not stored when its last attempt has ended must not stay at Nextcloud. */
async function abandon(rooms: Answering, held: Held, attempt: Promise<unknown>): Promise<void> {
  await attempt.catch(() => undefined)
  if (held.outcome !== undefined || (await giveUp(rooms, held))) return
  const { identity, clientId } = held.record.value
  rooms.report('answer', { ...identity, clientId, hint: NOT_ENDED_ELSEWHERE })
}

async function outcomeOf(rooms: Answering, held: Held): Promise<LoginOutcome> {
  const { answer, record } = held
  if (answer === 'unusable') {
    rooms.report('answer', { hint: UNUSABLE })
    return 'answer'
  }
  // In the list of deletions it stands in line, which one who waits for a page need not.
  if (!held.noted) rooms.grants.background(note(rooms, held, answer))
  const no = held.allowed ? undefined : await rooms.whyNot(answer, record.value)
  if (no !== undefined) {
    const { hint = '' } = no
    rooms.report('person', (await discard(rooms, held)) ? no : { ...no, hint: `${hint} ${NOT_DELETED}`.trim() })
    return 'person'
  }
  held.allowed = true
  if (await store(rooms, answer, record.value)) return 'connected'
  const hint = (await discard(rooms, held)) ? WITHDRAWN : `${WITHDRAWN} ${NOT_DELETED}`
  rooms.report('declined', { ...record.value.identity, clientId: record.value.clientId, hint })
  return 'withdrawn'
}

/** Notes the app password, which is in a grant soon, or has no use. */
async function note({ appPasswords, deletions }: Answering, held: Held, answer: LoginFlowAnswer): Promise<void> {
  const { value, expiresAt } = held.record
  const noting = deletions.expect(
    value.identity,
    { appPassword: appPasswordOf(appPasswords, answer) },
    { until: expiresAt },
  )
  held.noted = await noting.catch(ifError(StorageError, () => false))
}

/** Has one end whose outcome stays open, at the end of its login or of this process. Resolves to whether that is done, or left to its note. */
async function giveUp(rooms: Answering, held: Held): Promise<boolean> {
  const { answer, allowed, noted, record } = held
  const { appPasswords, grants, closed } = rooms
  if (!closed || !allowed || !noted || answer === 'unusable') return discard(rooms, held)
  // It may be in a grant, whatever its last attempt was told. Without a note, nobody would know of it.
  const appPassword = appPasswordOf(appPasswords, answer)
  const isStored = grants.store.holds(record.value.identity, { appPassword })
  return (await isStored.catch(ifError(StorageError, () => true))) || discard(rooms, held)
}

/** Deletes the app password at Nextcloud. Resolves to whether that is done; if not, it is tried again. */
async function discard({ appPasswords, deletions, closed }: Answering, { answer, record }: Held): Promise<boolean> {
  if (answer === 'unusable') return true
  const appPassword = appPasswordOf(appPasswords, answer)
  // A store that hangs would take the time that is left.
  const end = closed ? deletions.end : deletions.discard
  return (await end(record.value.identity, { appPassword })) === true
}

function appPasswordOf(
  { nextcloud }: LoginAnswerRooms['appPasswords'],
  { loginName, password }: LoginFlowAnswer,
): AppPassword {
  return { loginName, password, nextcloud }
}

/** Resolves to false if the user has taken the yes back meanwhile. */
async function store(
  rooms: Answering,
  answer: LoginFlowAnswer,
  { identity, clientId, withdrawals }: Purpose,
): Promise<boolean> {
  const { grants, appPasswords, deletions, clock, events, patience } = rooms
  const appPassword = appPasswordOf(appPasswords, answer)
  const fingerprint = grants.fingerprint(appPassword.password)
  const connection = {
    connection: fingerprint,
    appPassword,
    fingerprint,
    clientId,
    withdrawals,
    scopes: [],
  }
  const connect = () => grants.store.connect(identity, connection)
  const stored = await persevere(clock, patience, connect, () => !rooms.closed)
  if (stored === 'withdrawn') return false
  const { retired } = stored
  events.emit({ type: 'grant.stored', ...identity, clientId, fingerprint })
  rooms.onConnected({ identity, clientId })
  grants.background(deletions.stored({ appPassword }))
  // Left there, it would be a way in for as long as the account exists.
  if (retired !== undefined) grants.background(deletions.end(identity, retired.credential, retired.dead))
  return true
}
