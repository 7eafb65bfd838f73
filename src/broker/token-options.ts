import type { NextcloudTokenOptions } from '../auth-info.js'
import type { NextcloudMode } from '../options.js'
import { isScopeToken } from '../config/values.js'

const KNOWN: readonly (keyof NextcloudTokenOptions)[] = ['scopes', 'audience', 'forceRefresh', 'signal']

/**
 * Refuses what a mode has no use for: an option that is ignored would hand out a token for something else than was asked.
 *
 * @throws {TypeError} an option is unknown, of the wrong type or of no use in this mode
 */
export function checkTokenOptions(options: NextcloudTokenOptions, mode: NextcloudMode): void {
  for (const name of Object.keys(options)) {
    if (!(KNOWN as readonly string[]).includes(name))
      throw new TypeError(`${name} is not an option of getNextcloudToken`)
  }
  const { scopes, audience, forceRefresh, signal } = options
  if ((mode === 'refresh-token' || mode === 'app-password') && (scopes ?? audience) !== undefined) {
    throw new TypeError(
      `scopes and audience cannot be chosen in ${mode} mode: a grant has those that it was given with`,
    )
  }
  if (scopes !== undefined) {
    if (mode === 'pass-through') throw new TypeError('scopes cannot be chosen in pass-through mode')
    if (!Array.isArray(scopes) || !scopes.every(isScopeToken)) throw new TypeError('scopes must be a list of scopes')
  }
  if (audience !== undefined) {
    if (mode === 'jwt-bearer') throw new TypeError('audience cannot be chosen in jwt-bearer mode: use scopes')
    const list: readonly unknown[] = typeof audience === 'string' ? [audience] : audience
    if (
      !Array.isArray(list) ||
      list.length === 0 ||
      !list.every((value) => typeof value === 'string' && value !== '')
    ) {
      throw new TypeError('audience must be a string or a list of strings')
    }
  }
  if (forceRefresh !== undefined && typeof forceRefresh !== 'boolean')
    throw new TypeError('forceRefresh must be true or false')
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('signal must be an AbortSignal')
}
