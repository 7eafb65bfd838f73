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
  /** Courses at most. */
  readonly most: number
}

/** The extent of an exploration. */
export interface Explored {
  /** Courses of events that were followed to their end. */
  readonly courses: number
  /** Courses that were left because they differ from another one only in the order of steps to which no order matters. */
  readonly repeated: number
  /** Whether that is all of them. */
  readonly isAll: boolean
}

/**
 * Moments whose order the rules tell: whether a connection was agreed to before a disconnection began, and whether a credential came, or a
 * call began, before that had ended.
 */
type Moment = 'beginning' | 'end'

/** A step as others are told from it. */
interface Taken extends Pick<Step, 'instance' | 'on'> {
  /** Whether it has changed anything that others see: a write that is refused has not. */
  readonly hasChanged: boolean
  /** The moments that came with it. */
  readonly moments: readonly Moment[]
  /** Whether a refresh token was sent with it: that is judged by the lease, and by what was sent before. */
  readonly sends: boolean
  /** Whether it is about the lease, or about what was sent. */
  readonly isJudgedBy: boolean
}

/** Steps that were taken first in another course, and to which nothing that came since matters: taking them now repeats that course. */
type Sleeping = Map<string, Taken>

/** A moment at which a step is chosen. */
interface Choice {
  readonly sleeping: Sleeping
  /** Steps with which another order of what follows begins, those that were taken included. */
  readonly wanted: Set<string>
  chosen: string
}

/** A step of a course. */
interface Passed {
  readonly name: string
  readonly taken: Taken
  /** The place in the course of the step that it came from. -1: it was there from the start. */
  readonly cause: number
  /** How often time had passed. It does so when nothing else can happen. */
  readonly era: number
}

/** What came of following the choices. */
interface Followed {
  readonly course: readonly Passed[]
  /** False: it was left, because going on would repeat another one. */
  readonly isOver: boolean
}

/** Steps that wait, or did. */
type Met = Map<Step, Pick<Passed, 'name' | 'cause'>>

const MOST_STEPS = 2_000

/**
 * Explores every interleaving of a scenario, depth first, each from a fresh start. Of the courses that differ only in the order of steps to
 * which no order matters, one is followed. Where two steps of a course could have come in the other order, and that matters, a course is
 * begun in which they do (source sets and sleep sets: Abdulla, Aronis, Jonsson, Sagonas 2014, https://doi.org/10.1145/2535838.2535845).
 */
export async function everyInterleaving(scenario: Scenario): Promise<Explored> {
  const choices: Choice[] = []
  const extent = { courses: 0, repeated: 0 }
  for (;;) {
    if (extent.courses >= scenario.most) return { ...extent, isAll: false }
    const world = await scenario.start()
    for (const act of scenario.acts) world.ask(act)
    const { course, isOver } = await follow(world, scenario, choices)
    extent[isOver ? 'courses' : 'repeated'] += 1
    if (isOver) await check(scenario, world)
    wantOtherOrders(course, choices)
    if (!goBack(course, choices)) return { ...extent, isAll: true }
  }
}

async function check(scenario: Scenario, world: World): Promise<void> {
  const log = world.scheduler.log.join('\n')
  const broken = await scenario.check(world)
  if (broken.length > 0) throw new Error(`${broken.join('\n')}\nafter\n${log}`)
}

/** Goes back to the last choice that leaves something to choose, and chooses it. False: there is none. */
function goBack(course: readonly Passed[], choices: Choice[]): boolean {
  for (let last = choices.at(-1); last !== undefined; last = choices.at(-1)) {
    const { sleeping, wanted, chosen } = last
    const passed = course[choices.length - 1]
    if (passed !== undefined) sleeping.set(chosen, passed.taken)
    const next = [...wanted].find((name) => !sleeping.has(name))
    if (next !== undefined) {
      last.chosen = next
      return true
    }
    choices.pop()
  }
  return false
}

/** Takes steps until all is done: those of the choices, and the first ones behind them, which become choices too. */
async function follow(world: World, { together }: Scenario, choices: Choice[]): Promise<Followed> {
  const { scheduler, deeds } = world
  const met: Met = new Map()
  const course: Passed[] = []
  let sleeping: Sleeping = new Map()
  for (let era = 0; ;) {
    if (course.length > MOST_STEPS) throw new Error(`It never ends:\n${scheduler.log.slice(-100).join('\n')}`)
    const waiting = scheduler.waiting()
    meet(waiting, met, course.length - 1)
    const open = waiting.filter(({ kind, at }) => (kind !== 'timer' && kind !== 'sleep') || at <= scheduler.now())
    if (open.length === 0) {
      const [first] = waiting.toSorted((one, other) => one.at - other.at)
      if (first === undefined || deeds.every(({ outcome }) => outcome !== undefined)) return { course, isOver: true }
      scheduler.advanceTo(first.at)
      era += 1
      continue
    }
    const names = open.map((step) => named(step, met).name)
    const choice = choices[course.length] ?? choiceAmong(names, sleeping)
    if (choice === undefined) return { course, isOver: false }
    choices[course.length] = choice
    const step = open.find((_, index) => names[index] === choice.chosen)
    if (step === undefined) throw new Error(`${choice.chosen} is not there the second time`)
    const taken = await takeAndTell(world, step, together)
    course.push({ ...named(step, met), taken, era })
    sleeping = new Map([...choice.sleeping].filter(([, other]) => isIndependent(other, taken)))
  }
}

/** Returns undefined where each step repeats another course. */
function choiceAmong(open: readonly string[], sleeping: Sleeping): Choice | undefined {
  const chosen = open.find((name) => !sleeping.has(name))
  return chosen === undefined ? undefined : { sleeping, wanted: new Set([chosen]), chosen }
}

/** Names the steps that have just come: by their number at their instance, which is the same in each course that is the same for it. */
function meet(waiting: readonly Step[], met: Met, cause: number): void {
  for (const step of waiting) {
    if (met.has(step)) continue
    const before = [...met.keys()].filter(({ instance }) => instance === step.instance).length
    met.set(step, { name: `${step.instance} ${before}`, cause })
  }
}

function named(step: Step, met: Met): Pick<Passed, 'name' | 'cause'> {
  const found = met.get(step)
  if (found === undefined) throw new Error(`${step.name} was never met`)
  return found
}

async function takeAndTell(world: World, step: Step, together: boolean): Promise<Taken> {
  const { spends } = world.server
  const before = { moments: together ? [] : momentsOf(world), seen: whatIsSeen(world), spends: spends.length }
  await take(world, step)
  const { instance, on, name } = step
  return {
    ...{ instance, on },
    hasChanged: whatIsSeen(world) !== before.seen,
    moments: together ? [] : momentsOf(world).slice(before.moments.length),
    sends: spends.length > before.spends,
    isJudgedBy: name.startsWith('refresh ') || world.deeds.some(({ user }) => on === world.leaseKey(user)),
  }
}

function isIndependent(one: Taken, other: Taken): boolean {
  if (one.instance === other.instance || one.moments.some((moment) => other.moments.includes(moment))) return false
  if ((one.sends && other.isJudgedBy) || (other.sends && one.isJudgedBy)) return false
  return one.on !== other.on || one.on === '' || !(one.hasChanged || other.hasChanged)
}

/** What the calls of instances depend on. */
function whatIsSeen({ store, server: { sessions, spends } }: World): string {
  const records = store.keys().map((key) => `${key} ${store.entry(key)?.version}`)
  const lives = sessions.map(({ alive, secrets }) => `${alive} ${secrets.length}`)
  const arrived = spends.filter((spend) => spend.arrived).length
  return [...records, ...lives, arrived].join('\n')
}

/** The moments that have come, in their order. */
function momentsOf({ deeds }: World): Moment[] {
  return deeds
    .flatMap(({ what, begun, ended, agreed, given }) => {
      const ends = what === 'disconnect' || what === 'no'
      const [beginning, end] = what === 'connect' ? [agreed, given] : ends ? [begun, ended] : [Infinity, begun]
      return [{ at: beginning, moment: 'beginning' } as const, { at: end, moment: 'end' } as const]
    })
    .filter(({ at }) => Number.isFinite(at))
    .toSorted((one, other) => one.at - other.at)
    .map(({ moment }) => moment)
}

/** Wants, wherever two steps could have come in the other order, a course in which they do. */
function wantOtherOrders(course: readonly Passed[], choices: readonly Choice[]): void {
  /** For each step, those that had to come before it. */
  const needs: Set<number>[] = []
  for (const [at, later] of course.entries()) {
    const needed = new Set<number>()
    needs.push(needed)
    for (const [before, earlier] of [...course.entries()].slice(0, at).reverse()) {
      if (needed.has(before)) continue
      const isOlder = earlier.era < later.era
      if (!isOlder && isIndependent(earlier.taken, later.taken)) continue
      // What comes first of the steps that did not need the earlier one, the later one among them, can come in its place.
      const instead = course.find((_, index) => index > before && needs[index]?.has(before) === false)
      if (!isOlder && later.cause !== before && instead !== undefined) choices[before]?.wanted.add(instead.name)
      needed.add(before)
      for (const each of needs[before] ?? []) needed.add(each)
    }
  }
}
