import type { NextcloudTokenOptions } from '../../auth-info.js'
import { AudienceMismatchError, SubjectTokenRejectedError } from '../../errors/errors.js'
import type { Secret } from '../../nextcloud/credential.js'
import { audienceOf } from '../token-keys.js'
import { checkTokenOptions } from '../token-options.js'
import { createTokenReports } from '../token-reports.js'
import { hasExpired, type BrokerSession, type Caller, type ModeRooms } from './mode.js'

/** Hands out the MCP token as the Nextcloud token, as long as it lives. */
export function passThroughSecrets({ config, nextcloud, clock, events }: ModeRooms) {
  const { mode } = nextcloud
  const reports = createTokenReports(mode, events)
  // One object for each caller, so that others can keep beside it what they know of its user.
  const secrets = new WeakMap<Caller, Secret>()
  return ({ caller }: BrokerSession, options?: NextcloudTokenOptions): Secret => {
    if (options !== undefined) checkTokenOptions(options, mode)
    options?.signal?.throwIfAborted()
    try {
      if (hasExpired(caller, config.clockTolerance, clock)) throw new SubjectTokenRejectedError()
      const token = passThrough(caller, [...nextcloud.audience, ...audienceOf(nextcloud, options)])
      reports.got(caller, 'cache', 0)
      const known = secrets.get(caller)
      if (known !== undefined) return known
      const secret: Secret = { scheme: 'Bearer', token }
      secrets.set(caller, secret)
      return secret
    } catch (error) {
      throw reports.failed(error, caller)
    }
  }
}

/**
 * Returns the MCP token itself, if its `aud` says that it is for Nextcloud as well. Any other token is never handed on
 * (MCP 2025-11-25, authorization, access token privilege restriction).
 *
 * @throws {AudienceMismatchError} its `aud` lacks an audience of Nextcloud
 */
export function passThrough(caller: Pick<Caller, 'audience' | 'token'>, audience: readonly string[]): string {
  if (!audience.every((value) => caller.audience.includes(value))) throw new AudienceMismatchError()
  return caller.token
}
