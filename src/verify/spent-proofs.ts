import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { hashOfParts } from '../hash-of-parts.js'

/** A proof that has been found good. */
export interface GoodProof {
  /** Stands for the user. */
  readonly user: string
  /** Thumbprint of its key. */
  readonly key: string
  readonly jti: string
  /** Seconds since the epoch. */
  readonly iat: number
}

/** Notes in the store of all instances that a proof was used. False: another request had used it. */
export type SpendElsewhere = (key: string, jti: string, ttlMs: number) => Promise<boolean>

/** The proofs that were used, so that none is used twice (RFC 9449 §11.1). */
export interface SpentProofs {
  /**
   * Notes that a proof is used. Resolves to `used` if it was before, and to `old` if that is no longer known.
   *
   * Rejects with {@link UpstreamUnavailableError} when the user has used too many of late, and with {@link StorageError} when
   * the store fails.
   */
  readonly spend: (proof: GoodProof) => Promise<'new' | 'used' | 'old'>
}

/** Seconds for which a proof is good, before and after its `iat` (SEP-1932; RFC 9449 §11.1 leaves it to the server). */
export const PROOF_WINDOW = 300
/** Seconds by which clocks of instances may differ: a proof is known in the store for so much longer. */
const CLOCK_DIFFERENCE = 60
/** Proofs in memory: 41 MB. */
const MOST_PROOFS = 200_000
/** Proofs of one user: a quarter, so that none can make those of the others be forgotten. */
const MOST_OF_USER = 50_000
/** Seconds until a user with too many may come again. */
const RETRY_AFTER = 30

interface SpentProof {
  readonly id: string
  readonly user: string
}

interface State {
  readonly ids: Set<string>
  /** Second of `iat` → the proofs of it. There are no more seconds than the window has. */
  readonly seconds: Map<number, SpentProof[]>
  readonly users: Map<string, number>
  /** The latest second that is over: no proof from then or before is taken, wherever the wall clock is set to. */
  over: number
  /** Other seconds whose proofs are no longer known, so that no more of these are taken. */
  readonly forgotten: Set<number>
  /** The second in which was looked for proofs that have ended. */
  sweptAt: number
}

/**
 * Memory of used proofs that fails safe where it ends: the proofs of the second that is farthest from now are forgotten, and every proof of
 * that second is refused. So whoever fills it with proofs of the past or the future keeps nobody else's out.
 */
export function createSpentProofs(
  clock: Clock,
  elsewhere: SpendElsewhere | undefined,
  { most, mostOfUser } = { most: MOST_PROOFS, mostOfUser: MOST_OF_USER },
): SpentProofs {
  const state: State = {
    ids: new Set(),
    seconds: new Map(),
    users: new Map(),
    over: -Infinity,
    forgotten: new Set(),
    sweptAt: -Infinity,
  }
  return {
    spend: async ({ user, key, jti, iat }) => {
      const now = Math.floor(clock.now() / 1_000)
      sweep(state, now)
      const second = Math.floor(iat)
      if (isUnknown(state, second)) return 'old'
      const id = hashOfParts([key, jti])
      if (state.ids.has(id)) return 'used'
      if ((state.users.get(user) ?? 0) >= mostOfUser) {
        throw new UpstreamUnavailableError('A user has sent too many DPoP proofs', { retryAfter: RETRY_AFTER })
      }
      while (state.ids.size >= most) {
        const farthest = farthestFrom(now, [second, ...state.seconds.keys()])
        state.forgotten.add(farthest)
        forget(state, farthest)
        if (farthest === second) return 'old'
      }
      remember(state, second, { id, user })
      if (elsewhere === undefined) return 'new'
      const ttl = second + PROOF_WINDOW + 1 - now + CLOCK_DIFFERENCE
      return (await elsewhere(key, jti, ttl * 1_000)) ? 'new' : 'used'
    },
  }
}

const isUnknown = ({ over, forgotten }: State, second: number): boolean => second <= over || forgotten.has(second)

/** Returns the second of which the fewest proofs come now, from clients whose clocks are good. */
function farthestFrom(now: number, seconds: readonly number[]): number {
  return seconds.reduce((one, other) => (Math.abs(other - now) > Math.abs(one - now) ? other : one))
}

function remember({ ids, seconds, users }: State, second: number, proof: SpentProof): void {
  ids.add(proof.id)
  users.set(proof.user, (users.get(proof.user) ?? 0) + 1)
  const known = seconds.get(second)
  if (known === undefined) seconds.set(second, [proof])
  else known.push(proof)
}

/** Forgets what is no longer good, once a second. */
function sweep(state: State, now: number): void {
  if (now === state.sweptAt) return
  state.sweptAt = now
  for (const second of [...state.seconds.keys(), ...state.forgotten]) {
    if (second + PROOF_WINDOW >= now) continue
    state.over = Math.max(state.over, second)
    state.forgotten.delete(second)
    forget(state, second)
  }
}

function forget(state: State, second: number): void {
  state.seconds.get(second)?.forEach(({ id, user }) => {
    state.ids.delete(id)
    const left = Number(state.users.get(user)) - 1
    if (left > 0) state.users.set(user, left)
    else state.users.delete(user)
  })
  state.seconds.delete(second)
}
