import * as oauth from 'oauth4webapi'
import type { IdpFetch } from '../transport/transport.js'

/**
 * oauth4webapi refuses plain http altogether. Here the configuration has already refused it, except for loopback and for hosts
 * that the operator named so, with a warning.
 */
// eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so only to make it stand out
export const PLAIN_HTTP_IS_CHECKED = { [oauth.allowInsecureRequests]: true } as const

/** Returns the options of a request of oauth4webapi that `fetch` sends. */
export function requestOptions(fetch: IdpFetch) {
  return { [oauth.customFetch]: fetch, ...PLAIN_HTTP_IS_CHECKED }
}
