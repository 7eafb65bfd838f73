import type { IncomingMessage } from 'node:http'
import type { ConnectConfig } from '../config/config.js'
import { ConfigurationError } from '../errors/errors.js'
import type { Identity } from '../grants/grant.js'
import type { PageRooms } from './connect-rooms.js'

/** The evidence of who is at the browser, after a sign-in at the authorization server. */
export interface Evidence {
  /** The user whose link it is. */
  readonly expected: Identity
  /** Answer of the app's own sign-in. Undefined: there is none to ask. */
  readonly appSays: boolean | undefined
  readonly idToken: Identity | 'bad' | 'none'
  /** Whether the server's answers have an ID token. */
  readonly hasIdToken: boolean
  readonly as: { readonly subject_types_supported?: readonly string[] | undefined }
}

/** The person at the browser, compared with the user whose link it is. */
export type WhoIsThere = 'the same' | 'another person' | 'cannot tell' | 'bad ID token'

/**
 * Compares the person at the browser with the user whose link it is.
 *
 * The ID token is optional if the app identified the user, or the server issues none. If present, it must be valid. With public
 * subjects, it must match the app's user, because a different account may be signed in at the provider.
 */
export function whoIsThere({ expected, appSays, idToken, hasIdToken, as }: Evidence): WhoIsThere {
  if (appSays === false) return 'another person'
  const needsIdToken = appSays === undefined && hasIdToken
  if (idToken === 'bad' || (idToken === 'none' && needsIdToken)) return 'bad ID token'
  const decides = needsIdToken || hasCommonSubjects(as, idToken, expected)
  if (!decides) return appSays === true ? 'the same' : 'cannot tell'
  return isSamePerson(idToken, expected) ? 'the same' : 'another person'
}

/** Whether a person's `sub` at this server is surely the one that an MCP token of the same issuer has (OIDC Core §8). */
function hasCommonSubjects(as: Evidence['as'], person: Evidence['idToken'], expected: Identity): boolean {
  const types = as.subject_types_supported ?? []
  if (typeof person === 'string' || person.issuer !== expected.issuer) return false
  return types.length > 0 && types.every((type) => type === 'public')
}

/** Whether it is this user whom an ID token, or the app's own sign-in, names. */
export function isSamePerson(person: Evidence['idToken'] | undefined, { issuer, subject }: Identity): boolean {
  return typeof person === 'object' && person.issuer === issuer && person.subject === subject
}

/** Asks the app's own sign-in whether this user is at the browser; undefined if there is none to ask. */
export async function askApp(
  { connect }: { readonly connect: Pick<ConnectConfig, 'authenticateBrowser'> },
  req: IncomingMessage,
  identity: Identity,
): Promise<boolean | undefined> {
  if (connect.authenticateBrowser === undefined) return undefined
  return isSamePerson(await connect.authenticateBrowser(req), identity)
}

/** Whether the server surely gives every client other subjects (OIDC Core §8.1). */
export function hasOwnSubjects({ subject_types_supported: types = [] }: Evidence['as']): boolean {
  return types.length > 0 && types.every((type) => type === 'pairwise')
}

const NO_COMMON_SUBJECTS =
  'The authorization server gives every client other subjects (subject_types_supported: pairwise), so an ID token cannot tell ' +
  'who of the MCP users is at the browser; set connect.authenticateBrowser'

/**
 * Refuses a server whose ID tokens cannot tell who is at the browser. With pairwise subjects, the `sub` that this client sees is
 * not the `sub` in the MCP token (OIDC Core §8.1).
 *
 * @throws {ConfigurationError} the server has no others, and the app has no sign-in of its own to ask
 */
export function checkSubjects({ connect, events }: Pick<PageRooms, 'connect' | 'events'>, as: Evidence['as']): void {
  if (connect.authenticateBrowser !== undefined || !hasOwnSubjects(as)) return
  events.emit({ type: 'config.warning', option: 'connect.authenticateBrowser', message: NO_COMMON_SUBJECTS })
  throw new ConfigurationError(NO_COMMON_SUBJECTS, 'connect.authenticateBrowser')
}
