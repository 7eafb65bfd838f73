import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { everyInterleaving, type Explored } from './support/explore.js'
import type { Kind } from './support/instance.js'
import { usePlainProcess } from './support/plain-process.js'
import { brokenRules } from './support/rules.js'
import { connected, rest, type Act } from './support/world.js'

vi.mock('jose/jwe/compact/encrypt', () => import('./support/plain-jwe.js'))
vi.mock('jose/jwe/compact/decrypt', () => import('./support/plain-jwe.js'))
vi.mock('lru-cache', async () => ({ LRUCache: (await import('../support/small-caches.js')).SmallCache }))

/** Courses of each case at most: `npm run model` goes through all. */
const most = Number(process.env['MODEL_COURSES'] ?? 150)
/** The same where an instance does two things at once. The order of all its steps counts then, which makes millions of courses. */
const mostAtOnce = 100_000

let restore: () => void
beforeAll(async () => {
  restore = await usePlainProcess()
})
afterAll(() => restore())

const user = 'alice'
const client = 'one'

/** Milliseconds behind which no instance serves a token of a connection that was ended: `cache.grantCheck`, and more. */
const LATER = 11_000

/** What is asked, whether all at once. */
type Case = readonly [what: string, kind: Kind, acts: readonly Act[], together: boolean]

const token = (at: string): Act => ({ at, what: 'another token', user, client })
const disconnect = (at: string): Act => ({ at, what: 'disconnect', user })
const connect = (at: string, to = client): Act => ({ at, what: 'connect', user, client: to })

const CASES: readonly Case[] = [
  ['a renewal and a disconnection at another instance', 'revoked', [token('A'), disconnect('B')], true],
  ['a renewal and a disconnection', 'ends alone', [token('A'), disconnect('B')], true],
  ['two renewals', 'revoked', [token('A'), token('B')], true],
  ['a connection and a disconnection', 'revoked', [connect('A', 'two'), disconnect('B')], false],
  ['a connection and a disconnection', 'app password', [connect('A', 'two'), disconnect('B')], false],
  ['a connection and a renewal', 'revoked', [connect('A', 'two'), token('B')], true],
  ['two renewals and a disconnection', 'revoked', [token('A'), token('B'), disconnect('C')], true],
  ['two disconnections', 'app password', [disconnect('A'), disconnect('B')], true],
]

it.each(CASES)('every interleaving of %s (%s) keeps the rules', async (what, kind, acts, together) => {
  const explored = await explore([what, kind, acts, together], most)
  expect(explored.courses).toBeGreaterThan(1)
})

it.each([
  ['a renewal and a disconnection', [token('A'), disconnect('A')]],
  ['two renewals, and a disconnection', [token('A'), token('B'), disconnect('A')]],
])('%s at the instance of one keep the rules, in the interleavings that come first', async (what, acts) => {
  const explored = await explore([`${what} at the instance of one`, 'revoked', acts, true], Math.min(most, mostAtOnce))
  expect(explored.courses).toBeGreaterThan(1)
})

async function explore([what, kind, acts, together]: Case, atMost: number): Promise<Explored> {
  const explored = await everyInterleaving({
    start: () => connected({ kind, random: () => 0.5, users: [user], ready: ['A', 'B', 'C'] }),
    acts,
    together,
    most: atMost,
    check: async (world) => {
      await rest(world, LATER)
      for (const at of ['A', 'B']) world.ask({ at, what: 'token', user, client })
      return brokenRules(world, [user])
    },
  })
  const { courses, repeated, isAll } = explored
  if (most === Infinity)
    console.log(`${what} (${kind}): ${courses} courses${isAll ? '' : ', not all'}, ${repeated} repeated`)
  return explored
}
