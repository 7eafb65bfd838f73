import { MODES } from '../modes.js'
import { BEARER_SWITCHES, quirksOf, type NextcloudPreset } from '../presets.js'
import type { NextcloudConfig } from '../config/config.js'
import type { Events } from '../events.js'
import { abortable } from '../single-flight.js'
import { leaveUnread } from '../transport/answer.js'
import type { Clock } from '../clock.js'
import type { Secret, TokenSource } from './credential.js'
import { createLines, type Line, type Turn } from './lines.js'
import { isRefusal } from './refusal.js'
import type { SignIns, Whose } from './sign-ins.js'
import {
  readRequest,
  sendRequest,
  type NextcloudRequest,
  type Outgoing,
  type RequestRooms,
} from './nextcloud-request.js'

export type { NextcloudRequest } from './nextcloud-request.js'
export type { NextcloudRequestBody } from './request-body.js'

/**
 * Fetch on one Nextcloud. The request is checked at once, and sent for a user later: a stream that fails meanwhile has its listener then.
 *
 * @throws {TypeError} the request cannot be sent, or leads out of this Nextcloud
 */
export type NextcloudFetch<S> = (path: string | URL | Request, init?: NextcloudRequest) => PreparedRequest<S>

/** A request that waits for its user. */
export interface PreparedRequest<S> extends Pick<Outgoing, 'signal'> {
  readonly send: (session: S) => Promise<Response>
}

/** The rooms that fetching needs. */
export interface FetchRooms<S> extends Omit<RequestRooms, 'base' | 'publicBase' | 'events'> {
  readonly nextcloud: NextcloudConfig
  /** The kind of the authorization server of a user. */
  readonly presetOf: (session: S) => NextcloudPreset
  readonly whose: (session: S) => Whose
  readonly tokens: TokenSource<S>
  readonly signIns: SignIns
  readonly clock: Clock
  readonly events: Events
}

/** The rooms, with what is known of this Nextcloud. */
interface Fetching<S> extends FetchRooms<S>, Omit<RequestRooms, 'events'> {
  readonly nextcloud: NextcloudConfig
  readonly refusals: { warned: boolean }
  readonly lineOf: (password: string) => Line
}

const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/
const NOT_A_JWT =
  'Nextcloud does not take the exchanged token, which is not a JWT: ask for one by nextcloud.parameters ' +
  "{ requested_token_type: 'urn:ietf:params:oauth:token-type:jwt' } (Zitadel), or let user_oidc ask the provider " +
  '(userinfo_bearer_validation)'

export function createNextcloudFetch<S>(rooms: FetchRooms<S>): NextcloudFetch<S> {
  const { base, publicBase } = rooms.nextcloud
  const fetching = {
    ...rooms,
    base: new URL(base),
    publicBase: new URL(publicBase),
    refusals: { warned: false },
    lineOf: createLines(rooms.clock, rooms.signIns),
  }
  return (path, init) => {
    const request = readRequest(fetching.base, path, init)
    return { signal: request.signal, send: (session) => sendFor(fetching, session, request) }
  }
}

async function sendFor<S>(rooms: Fetching<S>, session: S, request: Outgoing): Promise<Response> {
  const { tokens } = rooms
  const { signal } = request
  let first = await tokens.getSecret(session, signal && { signal })
  let line = lineOf(rooms, first)
  let turn = line === undefined ? NO_TURN : line.enter(rooms.whose(session), signal)
  if (typeof turn !== 'number') {
    const place = await placeAfter(rooms, session, { line, turn, signal })
    ;({ secret: first, line, turn } = place)
  }
  let answer: Response | undefined
  try {
    answer = await sendRequest(rooms, request, first)
  } finally {
    // After a refusal the others wait until the grant has ended with it.
    if (answer?.status !== 401) line?.leave(turn, isGood(answer))
  }
  if (answer.status !== 401) {
    tokens.secretWorked(session, first)
    return answer
  }
  if (!isAboutAnother(rooms, request, answer))
    return afterRefusal(rooms, session, { request, answer, place: { secret: first, line, turn } })
  line?.leave(turn)
  return answer
}

/** Gets another secret than the refused one, and sends the request again. */
async function afterRefusal<S>(
  rooms: Fetching<S>,
  session: S,
  { request, answer, place }: { readonly request: Outgoing; readonly answer: Response; readonly place: Place },
): Promise<Response> {
  const { tokens, refusals } = rooms
  const { secret: first, line, turn } = place
  const { signal, body } = request
  // One attempt, not two: the brute force protection counts each.
  const proven = await isProven(rooms, session, { request, secret: first, answer })
  const replaced = tokens.replaceSecret(session, first, { proven })
  const leave = (): void => line?.leave(turn, proven ? false : undefined)
  replaced.then(leave, leave)
  const other = abortable(replaced, signal)
  if (body?.repeatable === false) {
    // The other secret is for the next request, and a grant that is dead is known to be.
    await anotherFor(
      answer,
      other.then(() => undefined),
    )
    return answer
  }
  const second = await anotherFor(answer, other)
  const last = second === undefined ? answer : await sendOther(rooms, session, request, second)
  if (last.status !== 401) {
    if (second !== undefined) tokens.secretWorked(session, second)
  } else if (!isAboutAnother(rooms, request, last)) refusals.warned ||= warn(rooms, session, second ?? first)
  return last
}

/** Sends a request again, with the secret in the place of the refused one, which may be refused too. */
async function sendOther<S>(rooms: Fetching<S>, session: S, request: Outgoing, other: Secret): Promise<Response> {
  const { secret, line, turn } = await placeFor(rooms, session, other, request.signal)
  let answer: Response | undefined
  try {
    answer = await sendRequest(rooms, request, secret)
    if (answer.status === 401) await isProven(rooms, session, { request, secret, answer })
    return answer
  } finally {
    line?.leave(turn, isGood(answer))
  }
}

/** The turn of a token. */
const NO_TURN: Turn = 0

/** A secret, and a place in the line of its password. No token has a line: a refused one counts for nothing. */
interface Place {
  readonly secret: Secret
  readonly line: Line | undefined
  readonly turn: Turn
}

const lineOf = <S>({ lineOf: of }: Fetching<S>, secret: Secret): Line | undefined =>
  secret.scheme === 'Basic' ? of(secret.password) : undefined

function placeFor<S>(rooms: Fetching<S>, session: S, secret: Secret, signal?: AbortSignal): Place | Promise<Place> {
  const line = lineOf(rooms, secret)
  const turn = line?.enter(rooms.whose(session), signal) ?? NO_TURN
  return typeof turn === 'number' ? { secret, line, turn } : placeAfter(rooms, session, { line, turn, signal })
}

/** Waits for a place, and looks at the grant again then: the password may have ended. */
async function placeAfter<S>(
  rooms: Fetching<S>,
  session: S,
  waiting: { readonly line: Line | undefined; readonly turn: Promise<Turn>; readonly signal: AbortSignal | undefined },
): Promise<Place> {
  const { line, signal } = waiting
  const turn = await waiting.turn
  let secret: Secret | undefined
  try {
    secret = await rooms.tokens.getSecret(session, signal && { signal })
    if (lineOf(rooms, secret) === line) return { secret, line, turn }
  } finally {
    if (secret === undefined || lineOf(rooms, secret) !== line) line?.leave(turn)
  }
  return placeFor(rooms, session, secret, signal)
}

/** Whether Nextcloud took the secret, or did not look at it. Undefined: a Nextcloud that fails or turns requests away has said nothing. */
const isGood = (answer: Response | undefined): true | undefined =>
  (answer !== undefined && answer.status < 500 && answer.status !== 401 && answer.status !== 429) || undefined

/** Whether a 401 is Nextcloud's own word about an app password, which counts as a wrong sign-in then. */
async function isProven<S>(
  rooms: Fetching<S>,
  session: S,
  { request, secret, answer }: { readonly request: Outgoing; readonly secret: Secret; readonly answer: Response },
): Promise<boolean> {
  const isJudged = secret.scheme === 'Basic' && !isAboutAnother(rooms, request, answer)
  const proven = isJudged && (await isRefusal(answer, request.timeout ?? rooms.nextcloud.timeout))
  if (proven) rooms.signIns.refused(rooms.whose(session))
  return proven
}

/** Public shares have a sign-in of their own, and say of any other what WebDAV says. */
const PUBLIC = /^\/*public\.php/i

/** Whether a 401 is about another credential, such as the password of a share, wherever Nextcloud has sent the request. */
function isAboutAnother<S>({ base }: Pick<Fetching<S>, 'base'>, { url }: Outgoing, answer: Response): boolean {
  return [url.href, answer.url].some((address) => URL.canParse(address) && PUBLIC.test(pathBelow(base, address)))
}

/** Returns the path as web servers read it. What they take for the path of another file must not end a grant. */
function pathBelow(base: URL, address: string): string {
  return new URL(address).pathname
    .slice(base.pathname.length)
    .replace(/%([2-7][\da-f])/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
}

/** Returns the other secret. The answer to the first one is read no more, unless there is no other. */
async function anotherFor(answer: Response, other: Promise<Secret | undefined>): Promise<Secret | undefined> {
  let none = false
  try {
    const secret = await other
    none = secret === undefined
    return secret
  } finally {
    if (!none) leaveUnread(answer.body)
  }
}

/**
 * Tells the operator of a 401 that a fresh token does not mend, as a rule by a setting that is off.
 *
 * @returns whether it did
 */
function warn<S>({ nextcloud, presetOf, events }: Fetching<S>, session: S, refused: Secret): boolean {
  if (refused.scheme !== 'Bearer') return false
  if (MODES[nextcloud.mode].choosesTokenType && !JWT.test(refused.token)) {
    events.emit({ type: 'config.warning', option: 'nextcloud.parameters', message: NOT_A_JWT })
    return true
  }
  const { takenBy } = quirksOf(presetOf(session))
  const advice = takenBy === undefined ? ACCOUNT : `${BEARER_SWITCHES[takenBy]}; or ${ACCOUNT}`
  // Without the path, which may hold the token of a share.
  events.emit({ type: 'config.warning', option: 'nextcloud', message: `${REFUSED}: ${advice}` })
  return true
}

const REFUSED = 'Nextcloud refuses a fresh token with 401'
const ACCOUNT = 'the account of the user is disabled there (occ user:info)'
