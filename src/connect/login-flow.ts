import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { Grants } from '../grants/open-grants.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import { createSingleFlight, type SingleFlight } from '../single-flight.js'
import { createLoginAnswers, type LoginAnswerRooms, type Login, type LoginAnswers } from './login-answers.js'
import type { OneTimeRecord, OneTimeRecords } from './one-time.js'
import type { Purpose } from './tickets.js'

/** The logins under way. Nextcloud is asked until it gives an app password. */
export interface Logins {
  /**
   * Begins one, and asks for its outcome from then on.
   *
   * @throws {UpstreamUnavailableError} Nextcloud cannot be asked
   */
  readonly begin: (purpose: Purpose) => Promise<{ readonly secret: string; readonly login: Login }>
  /** Asks Nextcloud once more, and returns the login; undefined if there is none with this secret, or not any more. */
  readonly look: (secret: string) => Promise<Login | undefined>
  /** Takes an ended one, for its outcome to be shown; false if that was done before. */
  readonly spend: (secret: string) => Promise<boolean>
  /** Forgets one that nobody will finish. */
  readonly drop: (secret: string) => Promise<void>
  /** Stops the questions that no page asks. */
  readonly close: () => void
  /** Resolves when questions under way have ended, and one more attempt was made at answers that could not be stored. */
  readonly settle: () => Promise<void>
}

/** The rooms that logins need. */
export interface LoginRooms extends Omit<LoginAnswerRooms, 'records' | 'grants' | 'appPasswords'> {
  readonly records: OneTimeRecords<Login>
  readonly grants: LoginAnswerRooms['grants'] & Pick<Grants, 'acquireLease'>
  readonly appPasswords: LoginAnswerRooms['appPasswords'] & Pick<AppPasswords, 'start' | 'poll'>
  /** The name that Nextcloud shows to users. */
  readonly clientName: string
}

/** Milliseconds. Nextcloud forgets a flow after that. */
const LOGIN_LIFE = 20 * 60_000
/** Milliseconds for which a login is known: longer, so that its page can say what happened. */
export const LOGIN_KNOWN_FOR = LOGIN_LIFE + 5 * 60_000

/** Milliseconds between questions: at first, while the user is likely to be at it, and later. */
const PAUSE = 2_000
const LATER_PAUSE = 5_000
const AT_FIRST = 120_000
/** Logins that this process asks for by itself. It asks for further ones when their page looks. */
const MOST_WATCHED = 1_000

interface LoginFlow extends Pick<LoginRooms, 'records' | 'grants' | 'appPasswords' | 'clientName' | 'clock'> {
  readonly answers: LoginAnswers
  readonly flights: SingleFlight<Login | undefined>
  /** By secret: stops the next question. */
  readonly watched: Map<string, () => void>
  closed: boolean
}

export function createLogins(rooms: LoginRooms): Logins {
  const { records } = rooms
  const flights = createSingleFlight<Login | undefined>()
  const flow: LoginFlow = { ...rooms, answers: createLoginAnswers(rooms), flights, watched: new Map(), closed: false }
  return {
    begin: (purpose) => begin(flow, purpose),
    look: (secret) => look(flow, secret),
    spend: async (secret) => {
      const record = await records.read(secret)
      return record !== undefined && records.spend(record)
    },
    drop: (secret) => {
      stopAsking(flow, [secret])
      return records.drop(secret)
    },
    close: () => {
      flow.closed = true
      stopAsking(flow, [...flow.watched.keys()])
    },
    settle: () => Promise.all([flights.settle(), flow.answers.close()]).then(flow.answers.close),
  }
}

async function begin(flow: LoginFlow, purpose: Purpose): ReturnType<Logins['begin']> {
  const { appPasswords, clientName, records, watched, clock } = flow
  const { login, pollToken } = await appPasswords.start(clientName)
  const begun: Login = { ...purpose, login, pollToken, endsAt: clock.now() + LOGIN_LIFE }
  const { secret } = await records.create(begun)
  if (!flow.closed && watched.size < MOST_WATCHED) askLater(flow, secret, begun.endsAt, clock.monotonic())
  return { secret, login: begun }
}

function stopAsking({ watched }: LoginFlow, secrets: readonly string[]): void {
  for (const secret of secrets) {
    watched.get(secret)?.()
    watched.delete(secret)
  }
}

export function isOpen({ outcome, endsAt }: Login, clock: Clock): boolean {
  return outcome === undefined && clock.now() < endsAt
}

function askLater(flow: LoginFlow, secret: string, endsAt: number, began: number): void {
  const { clock, watched } = flow
  const pause = clock.monotonic() - began < AT_FIRST ? PAUSE : LATER_PAUSE
  watched.set(
    secret,
    clock.after(pause, () => {
      void look(flow, secret)
        // A store outage does not end the login.
        .then(
          (login) => login !== undefined && isOpen(login, clock),
          () => clock.now() < endsAt,
        )
        .then((goesOn) => (goesOn && !flow.closed ? askLater(flow, secret, endsAt, began) : watched.delete(secret)))
    }),
  )
}

const look = (flow: LoginFlow, secret: string): Promise<Login | undefined> =>
  flow.flights.join(secret, () => advance(flow, secret))

async function advance(flow: LoginFlow, secret: string): Promise<Login | undefined> {
  const { records, grants, answers, clock } = flow
  const record = await records.read(secret)
  if (record === undefined) return undefined
  const held = answers.retry(secret)
  if (held !== undefined || !isOpen(record.value, clock)) return held ?? record.value
  // One question at a time among all instances: Nextcloud answers once, and whoever has that answer stores it.
  const lease = await grants.acquireLease(record.key)
  if (lease === undefined) return record.value
  try {
    // Another instance may have ended it between the two.
    const now = await records.read(secret)
    return now === undefined || now.value.outcome !== undefined ? now?.value : await ask(flow, secret, now)
  } finally {
    grants.background(lease.release())
  }
}

async function ask({ appPasswords, answers }: LoginFlow, secret: string, login: OneTimeRecord<Login>): Promise<Login> {
  // An outage of Nextcloud does not end the login, because the user may still agree.
  const ifDown = ifError(UpstreamUnavailableError, () => undefined)
  const answer = await appPasswords.poll(login.value.pollToken).catch(ifDown)
  return answer === undefined ? login.value : answers.take(secret, login, answer)
}
