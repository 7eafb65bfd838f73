import type { NextcloudCredential } from '../auth-info.js'
import { MODES, type NextcloudMode } from '../modes.js'
import { readBasicCredentials } from './basic.js'

/** How a mode's token goes into `Authorization`. */
export function authorizationOf(mode: NextcloudMode, token: string): string {
  return `${MODES[mode].scheme} ${token}`
}

/**
 * A mode's token as the app gets it. What is secret is not enumerable, so that no logger, no JSON and no copy of the object holds
 * it by accident.
 */
export function credentialOf(mode: NextcloudMode, token: string): NextcloudCredential {
  const headers = Object.freeze({ Authorization: authorizationOf(mode, token), 'OCS-APIRequest': 'true' })
  if (MODES[mode].scheme === 'Bearer') return withSecrets({ type: 'bearer' as const }, { token, headers })
  const { loginName, password } = readBasicCredentials(token)
  return withSecrets({ type: 'basic' as const, loginName }, { password, headers })
}

function withSecrets<T extends object, S extends Record<string, unknown>>(shown: T, secrets: S): Readonly<T & S> {
  for (const [name, value] of Object.entries(secrets)) Object.defineProperty(shown, name, { value })
  return Object.freeze(shown) as Readonly<T & S>
}
