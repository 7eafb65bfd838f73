import { afterPatience, systemClock, type Clock } from '../clock.js'
import type { Config, NextcloudConfig } from '../config/config.js'
import { McpAuthError, UpstreamUnavailableError } from '../errors/errors.js'
import { failureCode, readBody } from '../transport/answer.js'
import type { Secret, TokenSource } from './credential.js'
import type { NextcloudFetch } from './nextcloud-fetch.js'

/** The user's account in Nextcloud, as Nextcloud itself names it. */
export interface NextcloudUser {
  /** The user id, which DAV paths are built from. It may differ from the token's `sub` and from the login name. */
  readonly id: string
  readonly displayName: string
  /** Undefined: none is known there. */
  readonly email: string | undefined
}

/** The rooms that know users. */
export interface UsersRooms<S> {
  readonly config: Config
  readonly nextcloud: Pick<NextcloudConfig, 'base' | 'timeout'>
  readonly tokens: Pick<TokenSource<S>, 'getSecret'>
  readonly fetch: NextcloudFetch<S>
  readonly clock: Clock
}

interface Known {
  readonly user: Promise<NextcloudUser>
  /** Monotonic milliseconds. */
  readonly until: number
}

/** Milliseconds. A token ends by itself, an app password does not. */
const APP_PASSWORD_KNOWN_FOR = 300_000
const PATH = '/ocs/v2.php/cloud/user?format=json'

/**
 * Returns a look-up of the account behind a caller's secret. It is kept as long as the secret, and for an app password five minutes.
 *
 * It rejects with {@link UpstreamUnavailableError} when Nextcloud names no user, and as {@link NextcloudFetch} does.
 */
export function createUsers<S>(rooms: UsersRooms<S>): (session: S) => Promise<NextcloudUser> {
  const { tokens, clock } = rooms
  const users = new WeakMap<Secret, Known>()
  return async (session) => {
    const secret = await tokens.getSecret(session)
    const known = users.get(secret)
    if (known !== undefined && clock.monotonic() < known.until) return known.user
    const user = ask(rooms, session)
    const life = secret.scheme === 'Basic' ? APP_PASSWORD_KNOWN_FOR : Infinity
    users.set(secret, { user, until: clock.monotonic() + life })
    user.catch(() => users.delete(secret))
    return user
  }
}

function ask<S>({ config, nextcloud, fetch }: UsersRooms<S>, session: S): Promise<NextcloudUser> {
  return answeredWithin(nextcloud.timeout, async (signal) => {
    const answer = await fetch(PATH, { signal, headers: { accept: 'application/json' } }).send(session)
    const user = userIn(await readBody(answer, nextcloud.base, config.http.maxResponseBytes))
    return user ?? noUser(`status ${answer.status}`, answer.status)
  })
}

/**
 * Asks Nextcloud who a user is, and reads the answer to its end.
 *
 * @param timeout milliseconds for all of it
 * @throws {UpstreamUnavailableError} the answer is late, or breaks off
 */
export async function answeredWithin<T>(timeout: number, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const { signal } = controller
  const stop = afterPatience(systemClock, timeout, () => controller.abort())
  try {
    return await ask(signal)
  } catch (error) {
    if (error instanceof McpAuthError) throw error
    return noUser(signal.aborted ? `no answer within ${timeout} ms` : failureCode(error))
  } finally {
    stop()
  }
}

function noUser(why: string, httpStatus?: number): never {
  const message = `Nextcloud does not say who the user is (${why})`
  throw new UpstreamUnavailableError(message, { service: 'Nextcloud', httpStatus })
}

/** Returns the user that an OCS answer names. Undefined: it names none, because it is an error or the page of a proxy. */
export function userIn(body: Uint8Array): NextcloudUser | undefined {
  const { id, displayname, email } = dataIn(body)
  if (typeof id !== 'string' || id === '') return undefined
  return Object.freeze({
    id,
    displayName: typeof displayname === 'string' && displayname !== '' ? displayname : id,
    email: typeof email === 'string' && email !== '' ? email : undefined,
  })
}

function dataIn(body: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const answer = JSON.parse(Buffer.from(body).toString()) as { ocs?: { data?: object | null } } | null
    return { ...answer?.ocs?.data }
  } catch {
    return {}
  }
}
