import { createHmac } from 'node:crypto'
import type { AdapterPayload } from 'oidc-provider'
import type { Clock } from '../clock.js'
import { isSame } from '../connect/cookies.js'
import { readRejectionDetails, type Fault } from '../errors/rejection-details.js'
import type { McpAuthEventDetails } from '../events.js'
import { InternalError } from '../errors/errors.js'
import { change } from '../grants/change.js'
import { hashOfParts } from '../hash-of-parts.js'
import { createShares } from '../http/address-shares.js'
import { destroy, keyOf, read, seconds, storedIn, type ModelRooms, type Stored } from './model-records.js'

/** Seconds in which a refresh token may be spent again, because the answer to the first request may have been lost. */
const GRACE = 30
/** Spent tokens of which it is known when that was. Those before them were spent long ago. */
const MOST_SPENT = 10
const MODEL = 'RefreshToken'

/** The family, a MAC, and the number of rotations. */
const FORM = /^([\w-]{22})[\w-]{43}(\d{1,9})$/

/**
 * Returns the refresh token that a grant has after so many rotations. All tokens of a grant are a family. They follow from its id, which is a
 * secret of this server, so that the store needs no record of each to tell one that it has given from one that is made up.
 *
 * @throws {InternalError} there is no grant: anybody could make up the tokens of none
 */
export function refreshTokenOf(grantId: string | undefined, rotations: number): string {
  if (grantId === undefined) throw new InternalError('A refresh token belongs to no grant')
  return `${familyOf(grantId)}${mac(grantId, `token ${rotations}`)}${rotations}`
}

const familyOf = (grantId: string): string => mac(grantId, 'family').slice(0, 22)

const mac = (grantId: string, what: string): string => createHmac('sha256', grantId).update(what).digest('base64url')

/** Refreshes of one user by one client, which asks every few minutes. */
const MOST_REFRESHES = 60
const TEN_MINUTES = 600_000

/** Returns a function that counts a refresh. It returns the milliseconds until there may be one; 0: it is counted. */
export function createRefreshShares(clock: Clock): (subject: string, clientId: string) => number {
  const shares = createShares(clock, MOST_REFRESHES, TEN_MINUTES)
  return (subject, clientId) => {
    const name = hashOfParts([subject, clientId])
    const wait = shares.wait(name)
    if (wait === 0) shares.take(name)
    return wait
  }
}

/** Returns the event of a refresh token that came back after it was spent. */
export function reuseOf({
  accountId,
  clientId,
}: {
  readonly accountId: string
  readonly clientId?: string | undefined
}): Extract<McpAuthEventDetails, { readonly type: 'token.rejected' }> {
  const fault: Fault = {
    verified: true,
    sentence: (_found, _expected, show) =>
      `a refresh token of ${show(accountId)} at the client ${show(clientId)} came back after it was spent, so that all that their consent gave has ended`,
    advice:
      'two processes of the client do not share what they get, or somebody has a copy of its tokens: if that is not known to be the first, the user should look at what was done in Nextcloud',
  }
  return { type: 'token.rejected', reason: 'reused', ...readRejectionDetails(fault) }
}

/** The storage of one model of oidc-provider. */
export interface ModelStorage {
  readonly upsert: (id: string, payload: AdapterPayload, expiresIn: number) => Promise<void>
  readonly find: (id: string) => Promise<AdapterPayload | undefined>
  readonly consume: (id: string) => Promise<void>
  readonly destroy: (id: string) => Promise<void>
  readonly revokeByGrantId: (grantId: string) => Promise<void>
}

/**
 * Returns the storage of oidc-provider's refresh tokens: one record for each family, of the newest token. One that was spent before ends
 * the family whenever it comes back (RFC 9700 §4.14.2), except in its grace, where it gets the same successor once more.
 */
export function createRefreshTokens(rooms: ModelRooms): ModelStorage {
  return {
    upsert: (id, payload, expiresIn) => keep(rooms, id, payload, expiresIn),
    find: (id) => find(rooms, id),
    // The record of its successor spends it: what fails in between leaves it as it was.
    consume: () => Promise.resolve(),
    destroy: (id) => destroy(rooms, MODEL, partsOf(id)?.family ?? ''),
    revokeByGrantId: (grantId) => endFamily(rooms, grantId),
  }
}

/** Ends the refresh tokens of a grant. */
export function endFamily(rooms: Pick<ModelRooms, 'records' | 'owner'>, grantId: string): Promise<void> {
  return destroy(rooms, MODEL, familyOf(grantId))
}

/** Returns when the newest refresh token of a grant was given, in seconds since the epoch; undefined if there is none. */
export async function lastRefresh(rooms: Pick<ModelRooms, 'records' | 'owner'>, grantId: string) {
  return storedIn(await read(rooms, keyOf(rooms, MODEL, familyOf(grantId))))?.payload.iat
}

function partsOf(id: string): { readonly family: string; readonly rotations: number } | undefined {
  const [, family, rotations] = FORM.exec(id) ?? []
  return family === undefined ? undefined : { family, rotations: Number(rotations) }
}

const rotationsOf = ({ rotations }: AdapterPayload): number => (typeof rotations === 'number' ? rotations : 0)

async function find(rooms: ModelRooms, id: string): Promise<AdapterPayload | undefined> {
  const parts = partsOf(id)
  if (parts === undefined) return undefined
  const stored = storedIn(await read(rooms, keyOf(rooms, MODEL, parts.family)))
  const { rotations } = parts
  // A newer one than the newest was given before the store lost it.
  if (stored === undefined || rotations > rotationsOf(stored.payload)) return undefined
  if (!isSame(id, refreshTokenOf(stored.payload.grantId, rotations))) return undefined
  return { ...stored.payload, jti: id, rotations, consumed: isSpent(rooms, stored, rotations) || undefined }
}

/** Whether a token of a family was spent, and its grace is over. */
function isSpent({ clock }: Pick<ModelRooms, 'clock'>, { payload, spentAt = [] }: Stored, rotations: number): boolean {
  const before = rotationsOf(payload) - rotations
  if (before <= 0) return false
  return seconds(clock) - (spentAt.at(-before) ?? -Infinity) >= GRACE
}

/**
 * Keeps a token in place of the one that is spent for it. Whoever comes second has the same. That one was in its grace when it was found, so
 * that nothing ends here, however long it has taken since.
 */
async function keep(rooms: ModelRooms, id: string, payload: AdapterPayload, expiresIn: number): Promise<void> {
  const { records, errors } = rooms
  const parts = partsOf(id)
  // oidc-provider would have to make ids by another method than that which is replaced.
  if (parts === undefined) throw new InternalError('A refresh token has the id of no family')
  const { family, rotations } = parts
  const key = keyOf(rooms, MODEL, family)
  // The first one is there already only if two codes came of one consent.
  let isNew = rotations === 0
  const outcome = await change('a sign-in', async () => {
    const record = isNew ? undefined : await read(rooms, key)
    isNew = false
    const before = storedIn(record)
    if (before === undefined && rotations > 0) return 'ended'
    if (before !== undefined && rotationsOf(before.payload) >= rotations)
      return isSpent(rooms, before, rotations) ? 'ended' : 'kept'
    const spentAt = before && [...(before.spentAt ?? []), seconds(rooms.clock)].slice(-MOST_SPENT)
    const stored: Stored = { format: 1, payload, ...(spentAt && { spentAt }) }
    const version = await records.write(key, stored, record?.version ?? null, Math.max(1, expiresIn) * 1_000)
    return version === null ? 'late' : 'kept'
  })
  if (outcome === 'ended') throw new errors.InvalidGrant('it is not known')
}
