import type { NextcloudTokenOptions } from '../auth-info.js'
import { MODES, type NextcloudMode } from '../modes.js'
import { isScopeToken } from '../config/values.js'

const KNOWN: readonly (keyof NextcloudTokenOptions)[] = ['scopes', 'audience', 'forceRefresh', 'signal']

/**
 * Refuses options of no use in the mode: if one were ignored, the token would be for something else than was asked.
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
  checkChoice('scopes', scopes, refusesScopes, mode)
  checkChoice('audience', audience, refusesAudience, mode)
  if (scopes !== undefined && !isList(scopes, isScopeToken)) throw new TypeError('scopes must be a list of scopes')
  const list = typeof audience === 'string' ? [audience] : audience
  if (list !== undefined && (!isList(list, isText) || list.length === 0)) {
    throw new TypeError('audience must be a string or a list of strings')
  }
  if (forceRefresh !== undefined && typeof forceRefresh !== 'boolean')
    throw new TypeError('forceRefresh must be true or false')
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('signal must be an AbortSignal')
}

function checkChoice(name: string, given: unknown, refusal: string | undefined, mode: NextcloudMode): void {
  if (given === undefined || refusal === undefined) return
  throw new TypeError(`${name} cannot be chosen in ${mode} mode: ${refusal}`)
}

function isList(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isItem)
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}
