import type { Configuration, errors, KoaContextWithOIDC } from 'oidc-provider'
import { asOutage, unavailable } from './outage.js'
import type { SignedInSession } from './withdrawn.js'

/** A code or token that is exchanged for others. */
export interface UsedToken {
  readonly kind: string
  readonly clientId?: string | undefined
  readonly grantId?: string | undefined
  /** Of a refresh token: it was spent, and its grace is over. */
  readonly consumed?: unknown
}

/** Whether it is a refresh token that has come back after it was spent. */
export const isReused = ({ kind, consumed }: UsedToken): boolean => kind === 'RefreshToken' && consumed !== undefined

/** The parts that say whether a user may have tokens. */
export interface AccountRooms {
  readonly library: { readonly errors: typeof errors }
  /** Whether the user is connected to Nextcloud and, with a token, for its client. Before a refresh, Nextcloud itself is asked. */
  readonly isConnected: (
    subject: string,
    used: { readonly token?: UsedToken | undefined; readonly session?: SignedInSession | undefined },
  ) => Promise<boolean>
  /** Counts a refresh of a user by a client. Returns the milliseconds until there may be one; 0: it is counted. */
  readonly takeRefresh: (subject: string, clientId: string) => number
}

/** Returns what oidc-provider finds a user with, for each code, refresh token and session. */
export function findAccount(rooms: AccountRooms): NonNullable<Configuration['findAccount']> {
  return async (ctx, sub, token) => {
    const account = { accountId: sub, claims: () => ({ sub }) }
    // oidc-provider ends its family after this. A thief could see to it that a share is used up, and Nextcloud may be unavailable.
    if (token !== undefined && isReused(token)) return account
    respellResource(ctx, token)
    countRefresh(rooms, ctx, sub, token)
    const connected = await asOutage(
      rooms.library.errors,
      rooms.isConnected(sub, { token, session: ctx.oidc.session }),
      (seconds) => ctx.set('Retry-After', String(seconds)),
    )
    return connected ? account : undefined
  }
}

/** Refuses a refresh of a user whose client has made too many: Nextcloud is asked before each. */
function countRefresh(
  { library, takeRefresh }: Pick<AccountRooms, 'library' | 'takeRefresh'>,
  ctx: KoaContextWithOIDC,
  subject: string,
  token: UsedToken | undefined,
): void {
  const wait = token?.kind === 'RefreshToken' ? takeRefresh(subject, String(token.clientId)) : 0
  if (wait === 0) return
  ctx.set('Retry-After', String(Math.ceil(wait / 1_000)))
  throw unavailable(library.errors, 429)
}

/**
 * Gives the `resource` of a token request the spelling in which it was granted: oidc-provider spends the code before it compares the two,
 * letter for letter.
 */
function respellResource(ctx: KoaContextWithOIDC, token: object | undefined): void {
  const params = ctx.oidc.params as { resource?: unknown } | undefined
  const granted = [token && 'resource' in token ? token.resource : undefined]
    .flat()
    .filter((one) => typeof one === 'string')
  const asked = params?.resource
  if (params === undefined || ctx.oidc.route !== 'token' || typeof asked !== 'string') return
  params.resource = granted.find((one) => withoutSlash(one) === withoutSlash(asked)) ?? asked
}

/** Clients differ by one slash at the end in the `resource` that they ask for. */
export const withoutSlash = (url: string): string => (url.endsWith('/') ? url.slice(0, -1) : url)
