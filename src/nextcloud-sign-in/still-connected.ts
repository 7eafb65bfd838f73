import type { Clock } from '../clock.js'
import type { Config, NextcloudConfig } from '../config/config.js'
import { McpAuthError, NotProvisionedError, StorageError, UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { whyUnusable, type Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import type { McpAuth } from '../mcp-auth.js'
import { isRefusal } from '../nextcloud/refusal.js'
import { answeredWithin, userIn } from '../nextcloud/users.js'
import { isOver, type Withdrawals } from '../grants/withdrawals.js'
import { leaveUnread, readBody } from '../transport/answer.js'
import type { Standing } from './sign-in-rooms.js'
import type { UsedToken } from './used-tokens.js'
import { withdrawalsIn, type SignedInSession } from './withdrawn.js'

/** Milliseconds to wait for the body of a 401. */
const REFUSAL_PATIENCE = 5_000

interface Asking {
  readonly grants: Grants
  readonly clock: Clock
  readonly auth: McpAuth
  readonly config: Config
  readonly nextcloud: Pick<NextcloudConfig, 'base'>
}

/**
 * Whether the connection is usable. Before a refresh Nextcloud is asked too.
 *
 * @throws {UpstreamUnavailableError} Nextcloud is unavailable, which ends nothing
 * @throws {StorageError} so is the store
 */
export async function isConnected(
  asking: Asking,
  identity: Identity,
  { token, session }: { readonly token?: UsedToken | undefined; readonly session?: SignedInSession | undefined },
): Promise<boolean> {
  const { grants, clock } = asking
  const isStored = async (): Promise<boolean> => {
    const stored = await grants.store.read(grants.store.keyOf(identity))
    if (whyUnusable(stored?.grant, token?.clientId, clock.now()) !== undefined) return false
    return !isTakenBack(stored?.grant.withdrawals, token, session)
  }
  if (!(await isStored())) return false
  if (token?.kind !== 'RefreshToken') return true
  // While Nextcloud was asked, the user may have ended the connection.
  return (await standingOf(asking, identity)) !== 'refused' && isStored()
}

/** Whether the person of a session has let an MCP client in, and has not taken that back. While the store does not say so, it is a no. */
export async function hasAgreed(
  { grants }: Pick<Asking, 'grants'>,
  identity: Identity,
  { clientId, session }: { readonly clientId: string; readonly session: SignedInSession },
): Promise<boolean> {
  const stored = await grants.store.read(grants.store.keyOf(identity)).catch(ifError(McpAuthError, () => undefined))
  // What the operator's import gave to all clients is the word of nobody who was asked.
  return stored?.grant.clients.includes(clientId) === true && !isTakenBack(stored.grant.withdrawals, undefined, session)
}

/**
 * Asks Nextcloud itself whether it takes a person's connection.
 *
 * @throws {UpstreamUnavailableError} Nextcloud is unavailable, which ends nothing
 * @throws {StorageError} so is the store
 */
export async function standingOf(
  { auth, config, nextcloud }: Omit<Asking, 'grants' | 'clock'>,
  identity: Identity,
): Promise<Standing> {
  try {
    // A client waits for it as for an authorization server, and no longer.
    const { timeout, maxResponseBytes } = config.http
    return await answeredWithin(timeout, async (signal) => {
      const answer = await auth.nextcloudFetch(identity, '/ocs/v2.php/cloud/user?format=json', { timeout, signal })
      const read = () => readBody(answer, nextcloud.base, maxResponseBytes)
      return readStanding(answer, read, identity.subject)
    })
  } catch (error) {
    if (error instanceof UpstreamUnavailableError || error instanceof StorageError) throw error
    return error instanceof NotProvisionedError ? 'refused' : 'untold'
  }
}

/** Whether the user has taken back what a token, or else a session, came of. It stays so once they connect again. */
function isTakenBack(
  withdrawals: Withdrawals | undefined,
  token: UsedToken | undefined,
  session: SignedInSession | undefined,
): boolean {
  if (token?.grantId !== undefined) {
    return isOver(withdrawals, token.clientId, withdrawalsIn(token.grantId))
  }
  if (token !== undefined || session?.accountId === undefined) return false
  return isOver(withdrawals, undefined, withdrawalsIn(session.amr?.[0]))
}

/** Reads Nextcloud's answer to who the user is. */
async function readStanding(answer: Response, read: () => Promise<Uint8Array>, userId: string): Promise<Standing> {
  try {
    // A 401 of something in front of Nextcloud ends nobody's session.
    if (answer.status === 401) return (await isRefusal(answer, REFUSAL_PATIENCE)) ? 'refused' : 'untold'
    if (answer.status === 429 || answer.status >= 500) throw outageOf(answer)
    const user = answer.status === 200 ? userIn(await read()) : undefined
    if (user === undefined) return 'untold'
    return user.id === userId ? 'taken' : 'refused'
  } finally {
    leaveUnread(answer.body)
  }
}

/** Nextcloud is in maintenance, or has had too many attempts. It states no time then, or one in seconds. */
function outageOf({ status, headers }: Response): UpstreamUnavailableError {
  const stated = Number(headers.get('retry-after') ?? Number.NaN)
  return new UpstreamUnavailableError(`Nextcloud answers ${status} when asked who a user is`, {
    service: 'Nextcloud',
    httpStatus: status,
    ...(Number.isFinite(stated) && { statedRetryAfter: stated }),
  })
}
