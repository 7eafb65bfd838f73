import { chance } from '../../support/chance.js'
import type { Kind } from './instance.js'
import type { Fault, Step } from './scheduler.js'
import { connected, take, type Act, type World } from './world.js'

/** What may go wrong in a course of events. */
interface Trouble {
  /** Chance of a step that it is the end of its instance. */
  readonly crash: number
  /** Chance of a call that it fails. */
  readonly fault: number
  /** Chance of a step that its instance stands still instead, for a while. */
  readonly pause: number
  /** Chance of a step that time passes first. */
  readonly delay: number
  /** Chance of a step that the store is out of reach of its instance from then on, for a while. */
  readonly outage: number
}

const KINDS: readonly Kind[] = ['revoked', 'ends alone', 'app password']
const INSTANCES = ['A', 'B', 'C']
const TROUBLES: readonly Trouble[] = [
  { crash: 0, fault: 0, pause: 0, delay: 0, outage: 0 },
  { crash: 0.02, fault: 0, pause: 0, delay: 0, outage: 0 },
  { crash: 0, fault: 0.06, pause: 0, delay: 0.03, outage: 0 },
  { crash: 0, fault: 0, pause: 0, delay: 0, outage: 0.04 },
  { crash: 0, fault: 0, pause: 0.03, delay: 0.05, outage: 0 },
  { crash: 0.01, fault: 0.03, pause: 0.02, delay: 0.03, outage: 0.01 },
]
const FAULTS: readonly Fault[] = ['lost', 'unanswered']
/** Milliseconds. */
const PAUSES = [1_000, 4_000, 12_000, 40_000]
const DELAYS = [20, 300, 2_000, 6_000, 15_000]
/** Chance of a call that its answer takes a step of its own. */
const SLOW = 0.25
const MOST_STEPS = 600
const OF_STORE = /^(?:get|put|delete) /

/** One course of events of three instances, which the seed decides. Returns the world before it comes to rest. */
export async function chaos(seed: number): Promise<{ readonly world: World; readonly users: readonly string[] }> {
  const random = chance(seed)
  const any = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T
  const users = random() < 0.25 ? ['alice', 'bob'] : ['alice']
  const world = await connected({ kind: any(KINDS), random, users, life: any([300, 300, 5]) })
  const start = world.scheduler.now()
  const span = any([0, 50, 3_000, 30_000, 400_000])
  for (let acts = 3 + Math.floor(random() * 7); acts > 0; acts -= 1)
    world.ask(anyAct(any, random, users), start + Math.floor(random() * span))
  await disturb(world, any(TROUBLES), { random, any })
  return { world, users }
}

interface Chance {
  readonly random: () => number
  readonly any: <T>(of: readonly T[]) => T
}

function anyAct(any: Chance['any'], random: () => number, users: readonly string[]): Act {
  const at = any(INSTANCES)
  const user = any(users)
  const client = any(['one', 'one', 'two'])
  const what = any<Act['what']>([
    ...(['token', 'token', 'token', 'another token', 'another token', 'rotate', 'refused'] as const),
    ...(['disconnect', 'disconnect', 'connect', 'connect', 'no'] as const),
  ])
  if (what === 'disconnect' && random() < 0.6) return { at, what, user }
  return { at, what, user, client }
}

/** Takes steps until all is begun and over, or there were enough. */
async function disturb(world: World, trouble: Trouble, { random, any }: Chance): Promise<void> {
  const { scheduler } = world
  const still = new Map<string, number>()
  const cutOff = new Map<string, number>()
  const isCutOff = ({ instance, name }: Step): boolean =>
    OF_STORE.test(name) && (cutOff.get(instance) ?? 0) > scheduler.now()
  const openAt = ({ at, instance }: Step): number => Math.max(at, still.get(instance) ?? 0)
  for (let steps = 0; steps < MOST_STEPS; steps += 1) {
    const waiting = scheduler.waiting()
    const isOver =
      !waiting.some(({ kind }) => kind !== 'sleep' && kind !== 'timer') &&
      world.deeds.every(({ at, outcome }) => outcome !== undefined || !scheduler.isAlive(at))
    if (waiting.length === 0 || isOver) return
    const open = waiting.filter((step) => openAt(step) <= scheduler.now())
    if (open.length === 0) {
      scheduler.advanceTo(Math.min(...waiting.map(openAt)))
      continue
    }
    const step = any(open)
    const { instance } = step
    if (random() < trouble.crash) {
      // What was sent may arrive, and nobody hears the answer.
      if (step.kind === 'call' && random() < 0.5) await take(world, step, 'slow')
      scheduler.kill(instance)
    } else if (random() < trouble.pause) still.set(instance, scheduler.now() + any(PAUSES))
    else if (random() < trouble.delay) scheduler.advanceTo(scheduler.now() + any(DELAYS))
    else if (random() < trouble.outage) cutOff.set(instance, scheduler.now() + any(PAUSES))
    else if (isCutOff(step)) await take(world, step, 'lost')
    else await take(world, step, step.kind === 'call' ? faultOf(trouble, { random, any }) : undefined)
  }
}

function faultOf({ fault }: Trouble, { random, any }: Chance): Fault | undefined {
  if (random() < fault) return any(FAULTS)
  return random() < SLOW ? 'slow' : undefined
}
