import * as oauth from 'oauth4webapi'

/**
 * oauth4webapi refuses plain http altogether. Here the configuration has already refused it, but for loopback and for hosts
 * that the operator named so, with a warning.
 */
// eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so only to make it stand out
export const PLAIN_HTTP_IS_CHECKED = { [oauth.allowInsecureRequests]: true } as const
