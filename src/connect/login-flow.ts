import type { Clock } from '../clock.js'
import { persevere } from '../grants/persevere.js'
import { asMcpAuthError, UpstreamUnavailableError } from '../errors/errors.js'
import { reportFailure, type ConnectFailureReason, type Events } from '../events.js'
import type { Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import type { AppPasswords, LoginFlowAnswer } from '../nextcloud/app-passwords.js'
import { createSingleFlight } from '../single-flight.js'
import type { OneTimeRecord, OneTimeRecords } from './one-time.js'

/** Whose login it is: for whom the app password will be kept, and which MCP client asked for it. */
export interface LoginOwner {
  readonly identity: Identity
  readonly clientId: string
}

/** What came of a login at Nextcloud: `person`, `answer` and `failed` as in `connect.failed`, where nothing was connected. */
export type LoginOutcome = 'connected' | 'person' | 'answer' | 'failed'

/** A user on the way through Nextcloud's Login Flow v2. */
export interface Login extends LoginOwner {
  /** Where the user agrees. */
  readonly login: string
  readonly pollToken: string
  /** Milliseconds since the epoch at which Nextcloud forgets it. */
  readonly endsAt: number
  /** Undefined while it is open. */
  readonly outcome?: LoginOutcome
}

/** The logins under way: what Nextcloud is asked until it has an app password, and what becomes of that. */
export interface Logins {
  /**
   * Begins one, and asks for its outcome from then on.
   *
   * @throws {UpstreamUnavailableError} Nextcloud cannot be asked
   */
  readonly begin: (owner: LoginOwner) => Promise<{ readonly secret: string; readonly login: Login }>
  /** Where it stands, after one more question to Nextcloud; undefined when there is none with this secret, or not any more. */
  readonly look: (secret: string) => Promise<Login | undefined>
  /** Takes an ended one, for its end to be shown; false when that was done before. */
  readonly spend: (secret: string) => Promise<boolean>
  /** Forgets one that nobody will finish. */
  readonly drop: (secret: string) => Promise<void>
  /** Asks no more by itself. */
  readonly close: () => void
  /** Resolves when what is under way has ended, and one more attempt was made at what could not be stored. */
  readonly settle: () => Promise<void>
}

/** What logins need. */
export interface LoginParts {
  readonly records: OneTimeRecords<Login>
  readonly grants: Pick<Grants, 'store' | 'acquireLease' | 'fingerprint' | 'background'>
  readonly appPasswords: Pick<AppPasswords, 'nextcloud' | 'start' | 'poll' | 'remove'>
  readonly clock: Clock
  readonly events: Events
  /** Milliseconds for which a write is repeated at once. */
  readonly patience: number
  /** What users are shown at Nextcloud of who asks. */
  readonly clientName: string
  /** Whether the app takes the account for that of the user. */
  readonly allows: (answer: Readonly<Record<string, unknown>>, owner: LoginOwner) => Promise<boolean>
  readonly failed: (reason: ConnectFailureReason, details?: { readonly hint?: string }) => void
  readonly onConnected: (owner: LoginOwner) => void
}

/** Milliseconds. Nextcloud forgets a flow after that. */
const LOGIN_LIFE = 20 * 60_000
/** Milliseconds for which a login is known beyond that, so that its page can say what happened. */
const KNOWN_LONGER = 5 * 60_000
export const LOGIN_KNOWN_FOR = LOGIN_LIFE + KNOWN_LONGER

/** Milliseconds between questions: at first, while the user is likely to be at it, and later. */
const PAUSE = 2_000
const LATER_PAUSE = 5_000
const AT_FIRST = 120_000
/** Logins that this process asks for by itself; further ones are asked for when their page is looked at. */
const MOST_WATCHED = 1_000

const NOT_DELETED =
  'An app password that nobody may use could not be deleted: its user finds it in Nextcloud, under Security, Devices & sessions.'

/** An app password that Nextcloud has given, which it does only once: this process holds the only copy until it is stored. */
interface Obtained {
  readonly answer: LoginFlowAnswer
  allowed: boolean
  outcome: LoginOutcome | undefined
}

/** A Nextcloud that is away is no end: the user may still agree. */
function asUnanswered(error: unknown): undefined {
  if (!(error instanceof UpstreamUnavailableError)) throw error
}

export function createLogins(parts: LoginParts): Logins {
  const { records, grants, appPasswords, clock, events, patience } = parts
  const obtained = new Map<string, Obtained>()
  /** By secret: how to stop asking. */
  const watched = new Map<string, () => void>()
  const flights = createSingleFlight<Login | undefined>()
  let closed = false

  function watch(secret: string, endsAt: number): void {
    if (closed || watched.has(secret)) return
    // The bound does not count for a login whose app password only this process has.
    if (watched.size >= MOST_WATCHED && !obtained.has(secret)) return
    const began = clock.monotonic()
    const askLater = (): void => {
      const pause = clock.monotonic() - began < AT_FIRST ? PAUSE : LATER_PAUSE
      watched.set(
        secret,
        clock.after(pause, () => void look(secret).then(seeAgain, askAgain)),
      )
    }
    // A store that is away is no end either.
    const askAgain = (): void => {
      if (closed) return stop()
      if (clock.now() < endsAt + KNOWN_LONGER) return askLater()
      stop()
      void giveUp(secret)
    }
    const seeAgain = (login: Login | undefined): void => {
      const goesOn = (login !== undefined && isOpen(login)) || obtained.has(secret)
      if (!closed && goesOn) askLater()
      else stop()
    }
    const stop = (): void => void watched.delete(secret)
    askLater()
  }

  const look = (secret: string): Promise<Login | undefined> => flights.join(secret, () => advance(secret))

  async function advance(secret: string): Promise<Login | undefined> {
    const record = await records.read(secret)
    if (record === undefined) return giveUp(secret)
    if (obtained.has(secret)) return goOn(secret, record)
    if (!isOpen(record.value)) return record.value
    // One at a time among all instances: Nextcloud answers once, and whoever has that answer stores it.
    const lease = await grants.acquireLease(record.key)
    if (lease === undefined) return record.value
    try {
      // Another instance may have ended it between the two.
      const now = await records.read(secret)
      return now === undefined || now.value.outcome !== undefined ? now?.value : await goOn(secret, now)
    } finally {
      grants.background(lease.release())
    }
  }

  async function goOn(secret: string, record: OneTimeRecord<Login>): Promise<Login> {
    const outcome = record.value.outcome ?? (await outcomeOf(secret, record.value))
    return outcome === undefined ? record.value : end(secret, record, outcome)
  }

  const isOpen = ({ outcome, endsAt }: Login): boolean => outcome === undefined && clock.now() < endsAt

  async function outcomeOf(secret: string, login: Login): Promise<LoginOutcome | undefined> {
    let held = obtained.get(secret)
    if (held === undefined) {
      const answer = await appPasswords.poll(login.pollToken).catch(asUnanswered)
      if (answer === undefined) return undefined
      if (answer === 'unusable') {
        parts.failed('answer', { hint: 'Nextcloud gave a login name or an app password that cannot be used.' })
        return 'answer'
      }
      held = { answer, allowed: false, outcome: undefined }
      obtained.set(secret, held)
      // The page may have been looked at here, and the login have begun elsewhere: what cannot be stored now is for this process.
      watch(secret, login.endsAt)
    }
    return (held.outcome ??= await settleAnswer(held, login))
  }

  async function settleAnswer(held: Obtained, owner: LoginOwner): Promise<LoginOutcome> {
    const { loginName, server } = held.answer
    try {
      held.allowed ||= await parts.allows(Object.freeze({ loginName, server }), owner)
    } catch (error) {
      reportFailure(events, asMcpAuthError(error))
      await discard(held)
      return 'failed'
    }
    if (!held.allowed) {
      parts.failed('person', (await discard(held)) ? {} : { hint: NOT_DELETED })
      return 'person'
    }
    await store(held.answer, owner)
    return 'connected'
  }

  const discard = ({ answer }: Obtained): Promise<boolean> => appPasswords.remove(answer)

  /** @throws {StorageError} the store is away for longer: the app password is kept here, and stored later */
  async function store({ loginName, password }: LoginFlowAnswer, { identity, clientId }: LoginOwner): Promise<void> {
    const fingerprint = grants.fingerprint(password)
    const connection = {
      appPassword: { loginName, password, nextcloud: appPasswords.nextcloud },
      fingerprint,
      clientId,
      scopes: [],
    }
    const replaced = await persevere(clock, patience, () => grants.store.connect(identity, connection))
    events.emit({ type: 'grant.stored', ...identity, clientId, fingerprint })
    parts.onConnected({ identity, clientId })
    // Left there, it would let somebody in for as long as the account exists. A write that was repeated may have replaced itself.
    const old = replaced?.appPassword
    if (old !== undefined && old.password !== password) grants.background(appPasswords.remove(old))
  }

  async function end(secret: string, record: OneTimeRecord<Login>, outcome: LoginOutcome): Promise<Login> {
    const login = { ...record.value, outcome }
    await persevere(clock, patience, () => records.replace(record, login))
    obtained.delete(secret)
    return login
  }

  /** Its time is over: what could not be stored until now is not left at Nextcloud. */
  async function giveUp(secret: string): Promise<undefined> {
    const held = obtained.get(secret)
    obtained.delete(secret)
    if (held !== undefined && held.outcome === undefined) await discard(held)
  }

  return {
    async begin(owner) {
      const { login, pollToken } = await appPasswords.start(parts.clientName)
      const begun: Login = { ...owner, login, pollToken, endsAt: clock.now() + LOGIN_LIFE }
      const { secret } = await records.create(begun)
      watch(secret, begun.endsAt)
      return { secret, login: begun }
    },
    look,
    async spend(secret) {
      const record = await records.read(secret)
      return record !== undefined && records.spend(record)
    },
    async drop(secret) {
      watched.get(secret)?.()
      watched.delete(secret)
      await records.drop(secret)
    },
    close() {
      closed = true
      for (const stop of watched.values()) stop()
      watched.clear()
    },
    async settle() {
      await flights.settle()
      await Promise.allSettled([...obtained.keys()].map(look))
    },
  }
}
