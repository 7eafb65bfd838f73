import { MODES } from '../modes.js'
import { BEARER_SWITCHES, quirksOf, type NextcloudPreset } from '../presets.js'
import type { NextcloudConfig } from '../config/config.js'
import type { Events } from '../events.js'
import { leaveUnread } from '../transport/answer.js'
import type { Secret, TokenSource } from './credential.js'
import { isRefusal } from './refusal.js'
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
  readonly tokens: TokenSource<S>
  readonly events: Events
}

/** The rooms, with what is known of this Nextcloud. */
interface Fetching<S> extends FetchRooms<S>, Omit<RequestRooms, 'events'> {
  readonly nextcloud: NextcloudConfig
  readonly refusals: { warned: boolean }
}

const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/
const NOT_A_JWT =
  'Nextcloud does not take the exchanged token, which is not a JWT: ask for one by nextcloud.parameters ' +
  "{ requested_token_type: 'urn:ietf:params:oauth:token-type:jwt' } (Zitadel), or let user_oidc ask the provider " +
  '(userinfo_bearer_validation)'

export function createNextcloudFetch<S>(rooms: FetchRooms<S>): NextcloudFetch<S> {
  const { base, publicBase } = rooms.nextcloud
  const fetching = { ...rooms, base: new URL(base), publicBase: new URL(publicBase), refusals: { warned: false } }
  return (path, init) => {
    const request = readRequest(fetching.base, path, init)
    return { signal: request.signal, send: (session) => sendFor(fetching, session, request) }
  }
}

async function sendFor<S>(rooms: Fetching<S>, session: S, request: Outgoing): Promise<Response> {
  const { tokens, refusals } = rooms
  const { signal, body } = request
  const first = await tokens.getSecret(session, signal && { signal })
  const answer = await sendRequest(rooms, request, first)
  if (answer.status !== 401) {
    tokens.secretWorked(session, first)
    return answer
  }
  // One attempt, not two: the brute force protection counts each.
  const isJudged = first.scheme === 'Basic' && !asksForAnother(request.url, rooms.base)
  const proven = isJudged && (await isRefusal(answer, request.timeout ?? rooms.nextcloud.timeout))
  const other = tokens.replaceSecret(session, first, { signal, proven })
  if (body?.repeatable === false) {
    // The other secret is for the next request, and a grant that is dead is known to be.
    await anotherFor(
      answer,
      other.then(() => undefined),
    )
    return answer
  }
  const second = await anotherFor(answer, other)
  const last = second === undefined ? answer : await sendRequest(rooms, request, second)
  if (last.status !== 401) tokens.secretWorked(session, second ?? first)
  else refusals.warned ||= warn(rooms, session, request, second ?? first)
  return last
}

/** Whether the path has a sign-in of its own: public shares want the password of the share, and say of any other what WebDAV says. */
function asksForAnother({ pathname }: URL, base: URL): boolean {
  return pathname.slice(base.pathname.length).startsWith('public.php')
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
function warn<S>(
  { nextcloud, presetOf, events, base }: Fetching<S>,
  session: S,
  { url }: Outgoing,
  refused: Secret,
): boolean {
  if (refused.scheme !== 'Bearer' || asksForAnother(url, base)) return false
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
