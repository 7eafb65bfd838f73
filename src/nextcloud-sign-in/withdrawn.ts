import { randomBytes } from 'node:crypto'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { Identity } from '../grants/grant.js'
import type { SignInRooms } from './sign-in-rooms.js'

/**
 * What a person has taken back stays taken back, also once they connect again: `GrantStore.withdrawals` at their consent is part of the id
 * of oidc-provider's grant, which all tokens of the consent bear, and of the session (`amr`, which no token here shows).
 */
const MARKED = /^w(\d{1,15})(?:\.|$)/

/** Returns an id for a grant of oidc-provider. */
export const grantIdOf = (withdrawals: number): string => `w${withdrawals}.${randomBytes(32).toString('base64url')}`

/** Returns the number of withdrawals in a mark. Minus one, which is before all of them, if there is none. */
export function withdrawalsIn(mark: string | undefined): number {
  const count = MARKED.exec(mark ?? '')?.[1]
  return count === undefined ? -1 : Number(count)
}

/** The claim of an access token that has the same number. */
const CLAIM = 'mcp_nextcloud_withdrawals'

/** Returns the claim for an access token of a grant of oidc-provider. */
export const markOf = (grantId: string | undefined): Record<string, number> => ({ [CLAIM]: withdrawalsIn(grantId) })

/** Reads it. Minus one if there is none. */
export function withdrawalsOf({ [CLAIM]: count }: Readonly<Record<string, unknown>>): number {
  return typeof count === 'number' ? count : -1
}

/** Returns what a session is begun with. */
export const loginOf = (accountId: string, withdrawals: number): { accountId: string; amr: string[] } => ({
  accountId,
  amr: [`w${withdrawals}`],
})

/** The part of oidc-provider's session that counts here. */
export interface SignedInSession {
  readonly accountId?: string | undefined
  readonly amr?: readonly string[] | undefined
}

/** Whether the person of a session has disconnected Nextcloud since it began: whoever holds it now may be somebody else. */
export function isEnded(
  { grants }: Pick<SignInRooms, 'grants'>,
  identity: Identity,
  { amr }: SignedInSession,
): Promise<boolean> {
  return grants.store.isOver(identity, { withdrawals: withdrawalsIn(amr?.[0]) })
}

/**
 * Whether a person's living connection is surely of the account that has the user id now: Nextcloud gives an id to another person only once
 * its account is deleted, with all its tokens. Where Nextcloud does not say so, it need not be.
 */
export async function isSameAccount(
  { standingOf }: Pick<SignInRooms, 'standingOf'>,
  subject: string,
): Promise<boolean> {
  return (await standingOf(subject).catch(ifError(UpstreamUnavailableError, () => 'untold'))) === 'taken'
}
