import type { IncomingMessage } from 'node:http'
import type { AuthorizationServer } from 'oauth4webapi'
import { ConfigurationError, InternalError } from '../errors/errors.js'
import type { Identity } from '../grants/grant.js'
import type { ConnectParts } from './connect-parts.js'

const NO_COMMON_SUBJECTS =
  'The authorization server gives every client other subjects (subject_types_supported: pairwise), so an ID token cannot tell ' +
  'who of the MCP users is at the browser; set connect.authenticateBrowser'

/**
 * Whether the app's own sign-in says that this user is at the browser; undefined when there is none to ask, and the ID token has
 * to say it.
 */
export async function browserIs(
  { connect }: Pick<ConnectParts, 'connect'>,
  req: IncomingMessage,
  { issuer, subject }: Identity,
): Promise<boolean | undefined> {
  if (connect.authenticateBrowser === undefined) return undefined
  const present = await connect.authenticateBrowser(req)
  return present?.issuer === issuer && present.subject === subject
}

/**
 * Whether the app takes the person of an answer for the one whose link it is. Where there is no function to ask, it has to be known
 * otherwise.
 *
 * @param isKnown whether the app's sign-in or an ID token has said so
 * @throws {InternalError} the app's function failed
 */
export async function appKnows(
  { connect }: Pick<ConnectParts, 'connect'>,
  answer: Readonly<Record<string, unknown>>,
  { identity: { issuer, subject }, clientId }: { readonly identity: Identity; readonly clientId: string },
  isKnown: boolean,
): Promise<boolean> {
  if (connect.identity === undefined) return isKnown
  try {
    // Only true is a yes: what an async function forgets to return is not.
    return (await connect.identity(answer, Object.freeze({ issuer, subject, clientId }))) === true
  } catch (error) {
    throw new InternalError('connect.identity failed', error)
  }
}

/**
 * OIDC Core §8.1: with pairwise subjects, the `sub` that this client sees is not the `sub` in the MCP token.
 *
 * @throws {ConfigurationError} the server has no others, and there is no other way to tell who is at the browser
 */
export function checkSubjects({ connect, events }: ConnectParts, as: AuthorizationServer): void {
  const types = as.subject_types_supported
  if (connect.authenticateBrowser !== undefined || types === undefined || types.length === 0) return
  if (!types.every((type) => type === 'pairwise')) return
  events.emit({ type: 'config.warning', option: 'connect.authenticateBrowser', message: NO_COMMON_SUBJECTS })
  throw new ConfigurationError(NO_COMMON_SUBJECTS, 'connect.authenticateBrowser')
}

/** Whether a person's `sub` at this server is surely the one that an MCP token of the same issuer has (OIDC Core §8). */
export function hasCommonSubjects(as: AuthorizationServer, person: Identity, expected: Identity): boolean {
  const types = as.subject_types_supported ?? []
  return person.issuer === expected.issuer && types.length > 0 && types.every((type) => type === 'public')
}
