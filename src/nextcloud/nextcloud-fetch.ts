import { MODES } from '../modes.js'
import type { NextcloudConfig } from '../config/config.js'
import type { Events } from '../events.js'
import type { Secret, TokenSource } from './credential.js'
import { resolvePath } from './nextcloud-path.js'
import { isRepeatable, sendRequest, type NextcloudRequest, type RequestRooms } from './nextcloud-request.js'

export type { NextcloudRequest, NextcloudRequestBody } from './nextcloud-request.js'

/** Fetch on one Nextcloud, for one user. */
export type NextcloudFetch<S> = (session: S, path: string | URL, init?: NextcloudRequest) => Promise<Response>

/** The rooms that fetching needs. */
export interface FetchRooms<S> extends RequestRooms {
  readonly nextcloud: NextcloudConfig
  readonly tokens: TokenSource<S>
  readonly events: Events
}

/** Fetch standard, forbidden methods. */
const FORBIDDEN_METHODS = ['CONNECT', 'TRACE', 'TRACK']
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/
const NOT_A_JWT =
  'Nextcloud does not take the exchanged token, which is not a JWT: ask for one by nextcloud.parameters ' +
  "{ requested_token_type: 'urn:ietf:params:oauth:token-type:jwt' } (Zitadel), or let user_oidc ask the provider " +
  '(userinfo_bearer_validation)'

export function createNextcloudFetch<S>(rooms: FetchRooms<S>): NextcloudFetch<S> {
  const { nextcloud, tokens } = rooms
  const base = new URL(nextcloud.base)
  let warned = false
  return async (session, path, init = {}) => {
    const url = resolvePath(base, path)
    if (FORBIDDEN_METHODS.includes((init.method ?? 'GET').toUpperCase())) {
      throw new TypeError(`The method ${init.method ?? ''} cannot be sent`)
    }
    const first = await tokens.getSecret(session, init.signal ? { signal: init.signal } : undefined)
    const answer = await sendRequest(rooms, url, init, first)
    if (answer.status === 401 && !isRepeatable(init.body)) return answer
    const second =
      answer.status === 401
        ? await anotherFor(answer, tokens.replaceSecret(session, first, init.signal ?? undefined))
        : undefined
    const last = second === undefined ? answer : await sendRequest(rooms, url, init, second)
    if (last.status !== 401) tokens.secretWorked(session, second ?? first)
    else if (!warned) warned = warn(rooms, second ?? first)
    return last
  }
}

/** Returns the other secret. The answer to the first one is read no more, unless there is no other. */
async function anotherFor(answer: Response, other: Promise<Secret | undefined>): Promise<Secret | undefined> {
  let none = false
  try {
    const secret = await other
    none = secret === undefined
    return secret
  } finally {
    if (!none) await answer.body?.cancel()
  }
}

/** Tells the operator of a 401 that no other token mends, if its cause can be guessed. Returns whether it did. */
function warn<S>({ nextcloud, events }: FetchRooms<S>, refused: Secret): boolean {
  const { choosesTokenType } = MODES[nextcloud.mode]
  if (!choosesTokenType || refused.scheme !== 'Bearer' || JWT.test(refused.token)) return false
  events.emit({ type: 'config.warning', option: 'nextcloud.parameters', message: NOT_A_JWT })
  return true
}
