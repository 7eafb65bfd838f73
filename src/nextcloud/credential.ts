import type { NextcloudCredential } from '../auth-info.js'

/** A login name with an app password of it (RFC 7617 §2). */
export interface AppPassword {
  readonly loginName: string
  readonly password: string
  /** Base URL of the Nextcloud that gave it. Default: this one. */
  readonly nextcloud?: string
}

/** The secret that lets a user's requests into Nextcloud. */
export type Secret =
  { readonly scheme: 'Bearer'; readonly token: string } | ({ readonly scheme: 'Basic' } & AppPassword)

/** Options of one replacement. */
export interface ReplaceOptions {
  /** Nextcloud's own words say that the secret is refused, so that it need not be asked. */
  readonly proven?: boolean
}

/** A source of secrets. `S` is what it tells its callers apart by. */
export interface TokenSource<S> {
  /** Gets the secret of a caller: at once if it is cached, else as a promise. */
  readonly getSecret: (session: S, options?: { readonly signal: AbortSignal }) => Secret | Promise<Secret>
  /** Gets another secret than `refused`, which Nextcloud did not take; undefined if there can be none. */
  readonly replaceSecret: (session: S, refused: Secret, options?: ReplaceOptions) => Promise<Secret | undefined>
  /** Notes that Nextcloud took the secret. */
  readonly secretWorked: (session: S, secret: Secret) => void
}

/** Returns the value of `Authorization`. A login name and password go in as UTF-8, as Nextcloud reads them (RFC 7617 §2). */
export function authorizationOf(secret: Secret): string {
  if (secret.scheme === 'Bearer') return `Bearer ${secret.token}`
  return `Basic ${Buffer.from(`${secret.loginName}:${secret.password}`).toString('base64')}`
}

/** Whether the two are the same to Nextcloud. */
export function isSameSecret(one: Secret | undefined, other: Secret | undefined): boolean {
  if (one === other) return true
  return one !== undefined && other !== undefined && authorizationOf(one) === authorizationOf(other)
}

/** Returns the secret as the app gets it. The secret parts are not enumerable, so that no logger, JSON or copy holds them by accident. */
export function credentialOf(secret: Secret): NextcloudCredential {
  const headers = Object.freeze({ Authorization: authorizationOf(secret), 'OCS-APIRequest': 'true' })
  if (secret.scheme === 'Bearer') return withSecrets({ type: 'bearer' as const }, { token: secret.token, headers })
  const { loginName, password } = secret
  return withSecrets({ type: 'basic' as const, loginName }, { password, headers })
}

function withSecrets<T extends object, S extends Record<string, unknown>>(shown: T, secrets: S): Readonly<T & S> {
  for (const [name, value] of Object.entries(secrets)) Object.defineProperty(shown, name, { value })
  return Object.freeze(shown) as Readonly<T & S>
}
