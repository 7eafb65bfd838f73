import type { GrantsConfig } from '../../config/config.js'
import { SealedValueError } from '../../errors/errors.js'
import { isLiving, type Grant } from '../../grants/grant.js'
import type { KeptSecret } from '../../modes.js'
import { isAppPassword } from '../../nextcloud/app-passwords.js'
import type { PythonRow, PythonTable } from './python-store.js'

/** Outcomes of a row, in the order in which they are told. */
export const OUTCOMES = {
  imported: 'imported',
  unrestricted: "imported without the user's own restriction to scopes (--restricted import)",
  kept: 'connected already: kept',
  ended: 'ended here since, or of another mode: left, a new consent replaces it',
  foreign: 'stored here under a key that is not given: left',
  restricted: 'restricted to scopes by the user: left (--restricted import takes them without the restriction)',
  stranger: 'of another account in Nextcloud than the user is to have: left',
  unlisted: 'of a user whom the list of --accounts does not name: left',
  refused: 'refused by Nextcloud: left, the user connects again',
  unasked: 'without an answer of Nextcloud: left, run this again',
  expired: 'expired: left',
  ofServer: 'for the Python server itself (mcp-server): left',
  ofClient: "of another client than this server's: left, the authorization server takes them from that client alone",
  ofMode: 'of no use in this mode (nextcloud.mode): left',
  unusable: 'not of a form that can be sent: left',
  nobody: 'of no user: left',
  sealed: 'not opened by the key: left',
} as const

export type Outcome = keyof typeof OUTCOMES

/** What the command line says of the import itself. */
export interface Order {
  /** Ids of MCP clients that the connections serve, or `ANY_CLIENT` alone. */
  readonly clients: readonly string[]
  readonly takesRestricted: boolean
  /** Whether nothing is written. */
  readonly isRehearsal: boolean
  /** The user after whom the import begins; empty: at the first. */
  readonly after: string
}

/** The terms on which rows are taken. */
export interface Terms {
  /** Whether rows that the user restricted are taken, without the restriction. */
  readonly takesRestricted: boolean
  readonly nextcloud: GrantsConfig['nextcloud']
  /** The client at the authorization server that refresh tokens must be of. Undefined: the Python server's is not known. */
  readonly isOwnClient: boolean | undefined
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** What a row brings. */
export interface Brought {
  readonly credential: Pick<Grant, 'scopes' | 'appPassword' | 'refreshToken' | 'refreshEndsAt'>
  /** Whether the user restricted it to scopes. */
  readonly isRestricted: boolean
}

/** A kind of secrets of the Python server. */
export interface Secrets {
  readonly title: string
  readonly table: PythonTable
  /** The column of the secret. */
  readonly column: string
  /** Returns what an opened row brings, or why it is left. */
  readonly read: (row: PythonRow, secret: string, terms: Terms) => Brought | Outcome
}

export const SECRETS: Readonly<Record<KeptSecret, Secrets>> = {
  'app-password': {
    title: 'App passwords',
    table: 'app_passwords',
    column: 'encrypted_password',
    read: readAppPassword,
  },
  'refresh-token': {
    title: 'Refresh tokens',
    table: 'refresh_tokens',
    column: 'encrypted_token',
    read: readRefreshToken,
  },
}

/** Names that stand in for a user where the Python server knew none. */
const NOBODY: readonly unknown[] = ['unknown', 'default_user']

/** The user of a row: `sub` of their token. Undefined: there is none. */
export function subjectOf({ user_id: id }: PythonRow): string | undefined {
  return typeof id === 'string' && id !== '' && !NOBODY.includes(id) ? id : undefined
}

/** Milliseconds since the epoch at which the user gave the secret. */
export function givenAt({ updated_at: updated }: PythonRow, { now }: Terms): number {
  const seconds = Number(updated)
  return seconds > 0 && seconds * 1_000 <= now ? seconds * 1_000 : now
}

/** The scopes to which the user restricted an app password; undefined: none. */
export function restrictionOf({ scopes }: PythonRow): readonly string[] | 'unreadable' | undefined {
  if (scopes === null || scopes === undefined || scopes === '') return undefined
  return listIn(scopes) ?? 'unreadable'
}

function readAppPassword(row: PythonRow, password: string, { takesRestricted, nextcloud }: Terms): Brought | Outcome {
  const isRestricted = restrictionOf(row) !== undefined
  if (isRestricted && !takesRestricted) return 'restricted'
  // Rows of its endpoint for background jobs have no login name, and it takes the user id then.
  const { username } = row
  const loginName = typeof username === 'string' && username !== '' ? username : row.user_id
  const given = { loginName, password }
  return isAppPassword(given)
    ? { credential: { scopes: [], appPassword: { ...given, nextcloud } }, isRestricted }
    : 'unusable'
}

function readRefreshToken(row: PythonRow, refreshToken: string, { isOwnClient, now }: Terms): Brought | Outcome {
  // PostgreSQL's driver gives large integers as texts.
  const end = row['expires_at'] === null || row['expires_at'] === undefined ? NaN : Number(row['expires_at']) * 1_000
  if (end <= now) return 'expired'
  const audience = row['token_audience'] ?? 'nextcloud'
  if (audience !== 'nextcloud') return 'ofServer'
  if (isOwnClient === false) return 'ofClient'
  if (!/^[\x20-\x7E]+$/.test(refreshToken)) return 'unusable'
  const scopes = listIn(row['scopes']) ?? []
  const credential = { scopes, refreshToken, ...(!Number.isNaN(end) && { refreshEndsAt: end }) }
  return { credential, isRestricted: false }
}

function listIn(json: unknown): readonly string[] | undefined {
  try {
    const list: unknown = JSON.parse(String(json))
    return Array.isArray(list) && list.every((item) => typeof item === 'string') ? list : undefined
  } catch {
    return undefined
  }
}

/** Why a user is left whose connection is looked up in the store; undefined: there is none. */
export async function standing(
  look: () => Promise<{ readonly grant: Grant } | undefined>,
): Promise<'kept' | 'ended' | 'foreign' | undefined> {
  try {
    const stored = await look()
    return stored && (isLiving(stored.grant) ? 'kept' : 'ended')
  } catch (error) {
    if (error instanceof SealedValueError) return 'foreign'
    throw error
  }
}
