import { AudienceMismatchError } from '../../errors/errors.js'
import type { Caller } from './mode.js'

/**
 * The MCP token itself, when its `aud` says that it is for Nextcloud as well. A token that does not say so is never handed on
 * (MCP 2025-11-25, authorization, access token privilege restriction).
 *
 * @throws {AudienceMismatchError} an audience of Nextcloud is not in it
 */
export function passThrough(caller: Caller, audience: readonly string[]): string {
  if (!audience.every((value) => caller.audience.includes(value))) throw new AudienceMismatchError()
  return caller.token
}
