import { hash } from 'node:crypto'
import type { IntrospectionResponse } from 'oauth4webapi'
import { LRUCache } from 'lru-cache'
import type { AuthorizationServerClient } from '../authorization-server/client.js'
import { createCoolDown } from '../transport/cool-down.js'
import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'

/** RFC 7662: asks the authorization server what a token is worth; undefined where it cannot be asked. */
export type Introspect = (token: string) => Promise<IntrospectionResponse | undefined>

/** Requests under way at one time. */
const MOST_AT_ONCE = 50
/** Tokens remembered as inactive, and for how many milliseconds. */
const INACTIVE_ENTRIES = 1_000
const INACTIVE_TTL = 5_000
/** Seconds. Any caller's token is behind a failure, so no caller may close the server for longer. */
const LONGEST_RETRY_AFTER = 60
const INACTIVE = { active: false }

/**
 * Introspection that strangers cannot use against the authorization server, since whoever sends any opaque token causes a
 * request: a number of requests at once, a cool-down after a failure, and a short memory for what is inactive.
 */
export function createIntrospection(client: Pick<AuthorizationServerClient, 'introspect'>, clock: Clock): Introspect {
  const coolDown = createCoolDown(clock, LONGEST_RETRY_AFTER)
  const inactive = new LRUCache<string, number>({ max: INACTIVE_ENTRIES })
  let underWay = 0

  return async (token) => {
    // What strangers send may be long, and is not kept.
    const tokenHash = hash('sha256', token, 'base64url')
    if (clock.monotonic() < (inactive.get(tokenHash) ?? -Infinity)) return INACTIVE
    coolDown.check()
    if (underWay >= MOST_AT_ONCE) {
      throw new UpstreamUnavailableError('Too many tokens are being introspected at once', { retryAfter: 1 })
    }
    underWay += 1
    try {
      const answer = await client.introspect(token)
      coolDown.succeeded()
      if (answer?.active === false) inactive.set(tokenHash, clock.monotonic() + INACTIVE_TTL)
      return answer
    } catch (error) {
      return coolDown.failed(error)
    } finally {
      underWay -= 1
    }
  }
}
