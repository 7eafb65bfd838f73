import { hash } from 'node:crypto'
import type { Step } from './scheduler.js'
import { take, type Act, type World } from './world.js'

/** A start, what is asked of the instances, and what must hold in the end. */
export interface Scenario {
  readonly start: () => Promise<World>
  readonly acts: readonly Act[]
  /** Returns the rules that were broken. */
  readonly check: (world: World) => Promise<readonly string[]>
  /** Whether all is asked at once: no order of beginnings and ends is told from another then, and the rest has to say what came of it. */
  readonly together: boolean
  /** Pauses of each instance that may be over before anything else that waits. */
  readonly early: number
  /** States at most. */
  readonly most: number
}

/** The extent of an exploration. */
export interface Explored {
  /** Different states at which there was a choice. */
  readonly states: number
  /** Courses of events that were followed to their end. */
  readonly courses: number
  /** Whether that is all of them. */
  readonly isAll: boolean
}

/** The things that steps are about, and the instances that touch them. */
interface Things {
  /** Those that steps of several instances are about, one of which changes them. */
  readonly shared: Set<string>
  readonly touched: Map<string, { readonly by: Set<string>; changed: boolean }>
  /** Instances that do several things at once. */
  readonly busy: ReadonlySet<string>
  hasGrown: boolean
}

/**
 * Explores every interleaving of a scenario, depth first over the choices, each from a fresh start. Two courses after which every instance
 * has done and learnt the same, and what they share is the same, have the same future, so that one of them is followed. A step about
 * something that nothing else touches is taken at once, because no order matters to it: whenever that turns out to be wrong, the
 * exploration begins again.
 */
export async function everyInterleaving(scenario: Scenario): Promise<Explored> {
  const shared = new Set<string>()
  const places = scenario.acts.map(({ at }) => at)
  const busy = new Set(places.filter((at, index) => places.indexOf(at) !== index))
  for (;;) {
    const things: Things = { shared, touched: new Map(), busy, hasGrown: false }
    const explored = await explore(scenario, things)
    if (!things.hasGrown) return explored
  }
}

async function explore(scenario: Scenario, things: Things): Promise<Explored> {
  const seen = new Set<string>()
  const prefixes: (readonly number[])[] = [[]]
  let courses = 0
  for (let prefix = prefixes.pop(); prefix !== undefined; prefix = prefixes.pop()) {
    if (seen.size >= scenario.most) return { states: seen.size, courses, isAll: false }
    const world = await begin(scenario)
    const path: number[] = []
    const given = prefix
    const choose = (open: number): number | undefined => {
      const next = given[path.length]
      if (next === undefined) {
        const state = stateOf(world, scenario)
        if (seen.has(state)) return undefined
        seen.add(state)
        for (let other = 1; other < open; other += 1) prefixes.push([...path, other])
      }
      path.push(next ?? 0)
      return next ?? 0
    }
    const isOver = await follow(world, scenario, { things, choose })
    if (things.hasGrown) break
    if (!isOver) continue
    courses += 1
    const broken = await scenario.check(world)
    if (broken.length > 0)
      throw new Error(`${broken.join('\n')}\nafter the choices ${path.join(' ')}:\n${world.scheduler.log.join('\n')}`)
  }
  return { states: seen.size, courses, isAll: true }
}

async function begin({ start, acts }: Scenario): Promise<World> {
  const world = await start()
  for (const act of acts) world.ask(act)
  return world
}

/** Takes steps until all is done. False if the chooser has had enough, or things are shared that were not known to be. */
async function follow(
  world: World,
  { early, together }: Pick<Scenario, 'early' | 'together'>,
  { things, choose }: { readonly things: Things; readonly choose: (open: number) => number | undefined },
): Promise<boolean> {
  const pauses = new Map<string, number>()
  const isOpen = ({ kind, instance }: Step): boolean =>
    kind !== 'timer' && (kind !== 'sleep' || (pauses.get(instance) ?? 0) < early)
  for (;;) {
    const waiting = world.scheduler.waiting()
    const open = waiting.filter(isOpen)
    let step = open.find(({ kind, on }) => (kind === 'call' ? !things.shared.has(on) : kind === 'begin' && together))
    if (step === undefined && open.some(({ kind }) => kind !== 'sleep')) {
      const chosen = open.length === 1 ? 0 : choose(open.length)
      if (chosen === undefined) return false
      step = open[chosen]
      if (step?.kind === 'sleep') pauses.set(step.instance, (pauses.get(step.instance) ?? 0) + 1)
    }
    if (step === undefined) {
      step = waiting.toSorted((one, other) => one.at - other.at)[0]
      if (step === undefined || world.deeds.every(({ outcome }) => outcome !== undefined)) return true
      world.scheduler.advanceTo(step.at)
    }
    note(things, step)
    if (things.hasGrown) return false
    await take(world, step)
  }
}

function note(things: Things, { kind, on, instance, name }: Step): void {
  if (kind !== 'call' || on === '' || things.shared.has(on)) return
  const touched = things.touched.get(on) ?? { by: new Set(), changed: false }
  touched.by.add(instance)
  touched.changed ||= !name.startsWith('get ')
  things.touched.set(on, touched)
  if ((touched.by.size < 2 && !things.busy.has(instance)) || !touched.changed) return
  things.shared.add(on)
  things.hasGrown = true
}

/** Stands for everything that the future depends on, and for the order in which deeds have begun and ended where that is told. */
function stateOf({ scheduler, store, server, deeds }: World, { together }: Pick<Scenario, 'together'>): string {
  const order = (together ? [] : deeds)
    .flatMap(({ begun, ended, agreed, given, at, what }) =>
      [begun, ended, agreed, given].map((moment, index) => [moment, `${at}${what}${index}`] as const),
    )
    .filter(([moment]) => moment !== Infinity)
    .sort(([one], [other]) => one - other)
    .map(([, name]) => name)
  const versions = store.keys().map((key) => store.entry(key)?.version)
  const sessions = server.sessions.map(({ secrets, alive }) => [secrets.length, alive])
  return hash('sha1', JSON.stringify([scheduler.now(), [...scheduler.lives], versions, sessions, order]))
}
