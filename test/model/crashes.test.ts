import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { chaos } from './support/chaos.js'
import { usePlainProcess } from './support/plain-process.js'
import { brokenRules } from './support/rules.js'

vi.mock('jose/jwe/compact/encrypt', () => import('./support/plain-jwe.js'))
vi.mock('jose/jwe/compact/decrypt', () => import('./support/plain-jwe.js'))
vi.mock('lru-cache', async () => ({ LRUCache: (await import('../support/small-caches.js')).SmallCache }))

const first = Number(process.env['MODEL_SEED'] ?? 1)
const runs = Number(process.env['MODEL_RUNS'] ?? 2_000)
/** Milliseconds: fewer courses say less, and a busy machine is no failure. */
const most = Number(process.env['MODEL_SECONDS'] ?? 10) * 1_000

let restore: () => void
beforeAll(async () => {
  restore = await usePlainProcess()
})
afterAll(() => restore())

it('three instances that crash, stand still and lose answers keep the rules, whatever the order of their steps', async () => {
  const end = performance.now() + most
  let seed = first
  for (; seed < first + runs && performance.now() < end; seed += 1) {
    const { world, users } = await chaos(seed)
    const broken = await brokenRules(world, users)
    if (broken.length === 0) continue
    const course = world.scheduler.log.join('\n')
    expect.fail(`With MODEL_SEED=${seed} (${world.kind}):\n${broken.join('\n')}\nafter\n${course}`)
  }
  expect(seed).toBeGreaterThan(first)
})

it.each([
  [500212512, 'a refused token while a consent is taken back'],
  [800007658, 'a standstill with an answer of the store'],
  [900033723, 'the same'],
  [1100268876, 'a call that joins a look of before a standstill'],
  [1200238228, 'a call behind a disconnection that joins a look of before'],
  [1000166418, 'a rotation that is not stored, and another one of the next connection'],
  [1700296185, 'a disconnection that ends behind a later one'],
])('the rules hold where they once did not: seed %i, %s', async (seed) => {
  const { world, users } = await chaos(seed)
  expect(await brokenRules(world, users)).toEqual([])
})
