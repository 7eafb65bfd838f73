import type { Clock } from '../clock.js'
import { McpAuthError, NotProvisionedError } from '../errors/errors.js'
import { whyUnusable, type Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import type { McpAuth } from '../mcp-auth.js'
import { isRefusal } from '../nextcloud/refusal.js'
import { userIn } from '../nextcloud/users.js'
import type { UsedToken } from './provider.js'

/** Milliseconds to wait for the body of a 401. */
const REFUSAL_PATIENCE = 5_000

/** Whether the connection is usable. Before a refresh Nextcloud is asked too; while it is unavailable, what is stored counts. */
export async function isConnected(
  { grants, clock, auth }: { readonly grants: Grants; readonly clock: Clock; readonly auth: McpAuth },
  identity: Identity,
  token: UsedToken | undefined,
): Promise<boolean> {
  const stored = await grants.store.read(grants.store.keyOf(identity))
  if (whyUnusable(stored?.grant, token?.clientId, clock.now()) !== undefined) return false
  if (token?.kind !== 'RefreshToken') return true
  try {
    const answer = await auth.nextcloudFetch(identity, '/ocs/v2.php/cloud/user?format=json')
    // A 401 of something in front of Nextcloud ends nobody's session.
    if (answer.status === 401) return !(await isRefusal(answer, REFUSAL_PATIENCE))
    if (answer.status !== 200) return true
    return userIn(new Uint8Array(await answer.arrayBuffer()))?.id === identity.subject
  } catch (error) {
    if (error instanceof NotProvisionedError) return false
    if (error instanceof McpAuthError) return true
    throw error
  }
}
