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

/** What is learnt of the steps on the way. Whenever something new is, the exploration begins again. */
interface Lessons {
  /** The things that steps of several instances are about, one of which changes them. */
  readonly shared: Set<string>
  /** Steps with which something that was asked has ended, where the order of that is told. */
  readonly told: Set<string>
  readonly touched: Map<string, { readonly by: Set<string>; changed: boolean }>
  /** Instances that do several things at once. */
  readonly busy: ReadonlySet<string>
  readonly together: boolean
  isNew: boolean
}

/** A step as others are told from it. */
interface Taken extends Pick<Step, 'instance' | 'on' | 'name'> {
  /** Whether something that was asked has begun or ended with it, where the order of that is told. */
  readonly isTold: boolean
  /** Whether a refresh token was sent with it: that is judged by the lease, and by what was sent before. */
  readonly sends: boolean
  /** Whether it is about the lease, or about what was sent. */
  readonly isJudgedBy: boolean
}

/** Steps that were taken first in another course, and to which nothing that came since matters: taking them now repeats that course. */
type Sleeping = Map<string, Taken>

/** A moment at which there was a choice. */
interface Choice {
  readonly open: readonly string[]
  readonly sleeping: Sleeping
  chosen: string
  /** Of the chosen one. */
  taken: Taken | undefined
}

const MOST_STEPS = 2_000

/**
 * Explores every interleaving of a scenario, depth first over the choices, each from a fresh start. Of the courses that differ only in the
 * order of steps to which no order matters, one is followed: those of two instances about two things, or that both only read (sleep sets,
 * Godefroid 1996, https://doi.org/10.1007/3-540-60761-7). A step about something that nothing else touches is taken at once.
 */
export async function everyInterleaving(scenario: Scenario): Promise<Explored> {
  const { together } = scenario
  const places = scenario.acts.map(({ at }) => at)
  const busy = new Set(places.filter((at, index) => places.indexOf(at) !== index))
  const known = { shared: new Set<string>(), told: new Set<string>(), busy, together }
  for (;;) {
    const lessons: Lessons = { ...known, touched: new Map(), isNew: false }
    const explored = await explore(scenario, lessons)
    if (!lessons.isNew) return explored
  }
}

async function explore(scenario: Scenario, lessons: Lessons): Promise<Explored> {
  const choices: Choice[] = []
  let courses = 0
  let repeated = 0
  do {
    if (courses >= scenario.most) return { courses, repeated, isAll: false }
    const world = await begin(scenario)
    const isOver = await follow(world, lessons, choices)
    if (lessons.isNew) break
    if (!isOver) {
      repeated += 1
      continue
    }
    courses += 1
    const broken = await scenario.check(world)
    if (broken.length > 0) throw new Error(`${broken.join('\n')}\nafter\n${world.scheduler.log.join('\n')}`)
  } while (hasAnother(choices))
  return { courses, repeated, isAll: true }
}

async function begin({ start, acts }: Scenario): Promise<World> {
  const world = await start()
  for (const act of acts) world.ask(act)
  return world
}

/** Goes back to the last choice that leaves something to choose. False: there is none. */
function hasAnother(choices: Choice[]): boolean {
  for (let last = choices.at(-1); last !== undefined; last = choices.at(-1)) {
    if (last.taken !== undefined) last.sleeping.set(last.chosen, last.taken)
    const next = last.open.find((name) => !last.sleeping.has(name))
    if (next !== undefined) {
      Object.assign(last, { chosen: next, taken: undefined })
      return true
    }
    choices.pop()
  }
  return false
}

/**
 * Takes steps until all is done: those of the choices, and the first ones behind them, which become choices too. False if that repeats
 * another course, or teaches something.
 */
async function follow(world: World, lessons: Lessons, choices: Choice[]): Promise<boolean> {
  const { scheduler, deeds } = world
  let depth = 0
  let sleeping: Sleeping = new Map()
  for (let steps = 0; ; steps += 1) {
    if (steps > MOST_STEPS) throw new Error(`It never ends:\n${scheduler.log.slice(-100).join('\n')}`)
    const waiting = scheduler.waiting()
    const open = waiting.filter(({ kind, at }) => (kind !== 'timer' && kind !== 'sleep') || at <= scheduler.now())
    if (open.length === 0) {
      const [first] = waiting.toSorted((one, other) => one.at - other.at)
      if (first === undefined || deeds.every(({ outcome }) => outcome !== undefined)) return true
      scheduler.advanceTo(first.at)
      continue
    }
    const alone = open.find((step) => isAlone(step, open, lessons))
    let choice: Choice | undefined
    if (alone === undefined) {
      choice = choices[depth] ?? choiceAmong(open, sleeping)
      if (choice === undefined) return false
      choices[depth] = choice
      depth += 1
      sleeping = choice.sleeping
    }
    const names = namesOf(open)
    const step = alone ?? open.find((_, index) => names[index] === choice?.chosen)
    if (step === undefined) throw new Error(`${choice?.chosen} is not there the second time`)
    const taken = await takeAndTell(world, step, lessons)
    if (choice !== undefined) choice.taken = taken
    learn(lessons, step, choice === undefined && taken.isTold)
    if (lessons.isNew) return false
    sleeping = new Map([...sleeping].filter(([, other]) => isIndependent(other, taken)))
  }
}

/** Returns undefined where each step repeats another course. */
function choiceAmong(steps: readonly Step[], sleeping: Sleeping): Choice | undefined {
  const open = namesOf(steps)
  const chosen = open.find((name) => !sleeping.has(name))
  return chosen === undefined ? undefined : { open, sleeping, chosen, taken: undefined }
}

/** Steps of an instance that have one name are told apart by their number, which stays as it is until that instance takes a step. */
function namesOf(steps: readonly Step[]): string[] {
  const names = steps.map(nameOf)
  return names.map((name, index) => `${name} ${names.slice(0, index).filter((other) => other === name).length}`)
}

const nameOf = ({ instance, name, on }: Step): string => `${instance}: ${name} ${on}`

/** Whether no order matters to a step, whatever else is going to happen. */
function isAlone(step: Step, open: readonly Step[], { shared, told, busy, together }: Lessons): boolean {
  const { kind, on, instance } = step
  if (kind === 'begin') return together
  const isOnly = !busy.has(instance) && open.every((other) => other === step || other.instance !== instance)
  return isOnly && !told.has(nameOf(step)) && (kind !== 'call' || !shared.has(on))
}

async function takeAndTell(world: World, step: Step, { together }: Lessons): Promise<Taken> {
  const moments = (): number =>
    world.deeds
      .flatMap(({ begun, ended, agreed, given }) => [begun, ended, agreed, given])
      .filter((moment) => Number.isFinite(moment)).length
  const { spends } = world.server
  const before = { moments: moments(), spends: spends.length }
  await take(world, step)
  const { instance, on, name } = step
  const isTold = !together && moments() > before.moments
  const isJudgedBy = name.startsWith('refresh ') || world.deeds.some(({ user }) => on === world.leaseKey(user))
  return { instance, on, name, isTold, sends: spends.length > before.spends, isJudgedBy }
}

function isIndependent(one: Taken, other: Taken): boolean {
  if (one.instance === other.instance || (one.isTold && other.isTold)) return false
  if ((one.sends && other.isJudgedBy) || (other.sends && one.isJudgedBy)) return false
  return one.on !== other.on || one.on === '' || (isRead(one) && isRead(other))
}

const isRead = ({ name }: Pick<Step, 'name'>): boolean => name.startsWith('get ')

/** @param wasWrong whether the step was taken at once, although its order is told */
function learn(lessons: Lessons, step: Step, wasWrong: boolean): void {
  const { shared, told, touched, busy } = lessons
  const { kind, on, instance } = step
  if (wasWrong) told.add(nameOf(step))
  lessons.isNew ||= wasWrong
  if (kind !== 'call' || on === '' || shared.has(on)) return
  const touches = touched.get(on) ?? { by: new Set(), changed: false }
  touches.by.add(instance)
  touches.changed ||= !isRead(step)
  touched.set(on, touches)
  if ((touches.by.size < 2 && !busy.has(instance)) || !touches.changed) return
  shared.add(on)
  lessons.isNew = true
}
