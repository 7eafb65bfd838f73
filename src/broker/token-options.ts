import type { NextcloudTokenOptions } from '../auth-info.js'
import { MODES, type NextcloudMode } from '../modes.js'
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
  const { refusesScopes, refusesAudience } = MODES[mode]
  if (scopes !== undefined && refusesScopes !== undefined)
    throw new TypeError(`scopes cannot be chosen in ${mode} mode: ${refusesScopes}`)
  if (audience !== undefined && refusesAudience !== undefined)
    throw new TypeError(`audience cannot be chosen in ${mode} mode: ${refusesAudience}`)
  if (scopes !== undefined) {
    if (!Array.isArray(scopes) || !scopes.every(isScopeToken)) throw new TypeError('scopes must be a list of scopes')
  }
  if (audience !== undefined) {
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
