import type { errors } from 'oidc-provider'
import { McpAuthError, StorageError, UpstreamUnavailableError } from '../errors/errors.js'

/**
 * Rejects as oidc-provider's own error, with status 503, where the store or Nextcloud is unavailable.
 *
 * @param tell is told the seconds until another attempt makes sense
 */
export async function asOutage<T>(
  classes: typeof errors,
  work: Promise<T>,
  tell: (retryAfter: number) => void = () => undefined,
): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof StorageError || error instanceof UpstreamUnavailableError)) throw error
    tell(error.retryAfter)
    throw unavailable(classes, 503, error)
  }
}

/** Returns oidc-provider's own error for what may be asked again in a moment. */
export function unavailable(classes: typeof errors, status: 429 | 503, cause?: Error): Error {
  const error = new classes.CustomOIDCProviderError('temporarily_unavailable', 'try again in a moment')
  return Object.assign(error, { status, statusCode: status, expose: true, cause })
}

/** Returns what oidc-provider's error stands for. */
export function meaningOf(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof McpAuthError ? error.cause : error
}
