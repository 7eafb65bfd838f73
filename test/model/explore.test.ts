import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { chance } from '../support/chance.js'
import { turn } from '../support/promises.js'
import { everyInterleaving, type Scenario } from './support/explore.js'
import { call, clockOf, type Step } from './support/scheduler.js'
import { createWorld, type Act, type Deed, type World } from './support/world.js'

const PROGRAMS = 100
const LEASE = 'lease'
const KEYS = ['one', LEASE]
const USER = 'alice'
/** Milliseconds. */
const PAUSE = 10

/** Something that an instance does, after what was before it, or at once with it. */
interface Asked {
  readonly what: 'get' | 'put' | 'delete' | 'pause' | 'send'
  readonly key: string
  readonly isAtOnce: boolean
}

type Program = Readonly<Record<string, readonly Asked[]>>

beforeAll(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterAll(() => void vi.useRealTimers())

it.each(Array.from({ length: PROGRAMS }, (_, seed) => seed))(
  'what instances see is what they see in any order of their calls (%i)',
  async (seed) => {
    const program = anyProgram(seed)
    const together = seed % 2 === 0
    const seen = new Set<string>()
    const { isAll, courses } = await everyInterleaving({
      ...scenarioOf(program, together),
      check(world) {
        seen.add(outcomeOf(world, together))
        return Promise.resolve([])
      },
    })
    const { outcomes, orders } = await everyOrder(program, together)
    expect(isAll).toBe(true)
    expect([...seen].toSorted()).toEqual([...outcomes].toSorted())
    expect(courses).toBeLessThanOrEqual(orders)
  },
)

const get = (key = 'one'): Asked => ({ what: 'get', key, isAtOnce: false })
const put = (key = 'one'): Asked => ({ what: 'put', key, isAtOnce: false })

it.each<[what: string, program: Program, courses: number]>([
  ['reads of one record, and a write of another one', { A: [get(), get()], B: [get(), get()], C: [put(LEASE)] }, 1],
  ['two reads, each before or behind a write', { A: [put()], B: [get()], C: [get()] }, 4],
  ['three writes, of which the first one is carried out', { A: [put()], B: [put()], C: [put()] }, 3],
  [
    'reads of two records, each before or behind the write of its own',
    { A: [put()], B: [put(LEASE)], C: [get(), get(LEASE)] },
    4,
  ],
  ['writes that follow writes', { A: [put(), get(LEASE)], B: [put(), get(LEASE)], C: [put(LEASE)] }, 8],
])('of orders that nothing tells apart, one is followed: %s', async (_, program, courses) => {
  const explored = await everyInterleaving(scenarioOf(program, true))
  expect(explored).toEqual({ courses, repeated: 0, isAll: true })
})

function scenarioOf(program: Program, together: boolean): Scenario {
  return {
    start: () => Promise.resolve(start(program)),
    acts: actsOf(program),
    check: () => Promise.resolve([]),
    together,
    most: Infinity,
  }
}

/** What the rules call that which an instance does. */
const WHAT: Readonly<Record<string, Act['what']>> = { A: 'connect', B: 'disconnect', C: 'token' }

const actsOf = (program: Program): readonly Act[] =>
  Object.keys(program).map((at) => ({ at, what: WHAT[at] ?? 'token', user: USER }))

function anyProgram(seed: number): Program {
  const random = chance(seed)
  const any = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T
  // More would be too many orders to go through them all.
  const [instances, calls, atOnce] = any([
    [['A', 'B'], 3, 0.2],
    [['A', 'B'], 2, 0.5],
    [['A', 'B', 'C'], 1, 0],
  ] as const)
  const anyCall = (): Asked => ({
    what: any(['get', 'put', 'put', 'delete', 'pause', 'send']),
    key: any(KEYS),
    isAtOnce: random() < atOnce,
  })
  return Object.fromEntries(instances.map((name) => [name, Array.from({ length: calls }, anyCall)]))
}

/** Goes through every order of the steps by trying each, as a plain reference. */
async function everyOrder(
  program: Program,
  together: boolean,
): Promise<{ readonly outcomes: ReadonlySet<string>; readonly orders: number }> {
  const outcomes = new Set<string>()
  let orders = 0
  const path: number[] = []
  const ways: number[] = []
  do {
    const world = start(program)
    for (const act of actsOf(program)) world.ask(act)
    for (let depth = 0; world.scheduler.waiting().length > 0; depth += 1) {
      const open = openOf(world)
      ways[depth] = open.length
      path[depth] ??= 0
      const step = open[path[depth] ?? 0]
      if (step === undefined) throw new Error('It is not there the second time')
      world.scheduler.take(step)
      await turn()
    }
    outcomes.add(outcomeOf(world, together))
    orders += 1
    while (path.length > 0 && path.at(-1) === (ways[path.length - 1] ?? 0) - 1) path.pop()
    if (path.length > 0) path.push((path.pop() ?? 0) + 1)
  } while (path.length > 0)
  return { outcomes, orders }
}

/** Time passes when nothing else can happen. */
function openOf(world: World): readonly Step[] {
  const { scheduler } = world
  const waiting = scheduler.waiting()
  const open = waiting.filter(({ at }) => at <= scheduler.now())
  if (open.length > 0) return open
  scheduler.advanceTo(Math.min(...waiting.map(({ at }) => at)))
  return openOf(world)
}

/** What each instance of a world has been answered. */
const answers = new WeakMap<World, Map<string, unknown[]>>()

function start(program: Program): World {
  const world = createWorld('revoked', () => 0.5)
  const { scheduler } = world
  const deeds: Deed[] = []
  const own: World = {
    ...world,
    deeds,
    leaseKey: () => LEASE,
    ask: (act) =>
      void scheduler.offer({
        ...{ instance: act.at, name: 'begins', on: '', kind: 'begin' },
        take: () => void run(own, act, program[act.at] ?? []),
      }),
  }
  answers.set(own, new Map(Object.keys(program).map((at) => [at, []])))
  return own

  async function run(of: World, act: Act, asked: readonly Asked[]): Promise<void> {
    const moment = (): number => scheduler.log.length
    const never = { ended: Infinity, endedAt: Infinity, agreed: Infinity, given: Infinity }
    const deed: Deed = { ...act, begun: moment(), begunAt: scheduler.now(), ...never }
    deeds.push(deed)
    const does = doer(of, act.at)
    let before: Promise<unknown> = Promise.resolve()
    for (const [index, each] of asked.entries()) {
      if (!each.isAtOnce) await before
      if (index === 1) deed.agreed = moment()
      before = Promise.all([before, does(each, index)])
    }
    await before
    deed.given = moment()
    Object.assign(deed, { outcome: 'done', ended: moment(), endedAt: scheduler.now() })
  }
}

/** Does what is asked, and notes the answers. */
function doer(world: World, at: string): (asked: Asked, index: number) => Promise<void> {
  const { scheduler, server } = world
  const store = world.store.of(at)
  const versions = new Map<string, string>()
  const note = (...answer: unknown[]): void => void answers.get(world)?.get(at)?.push(answer)
  return async ({ what, key }, index) => {
    const expected = versions.get(key) ?? null
    if (what === 'get') {
      const version = (await store.get(key))?.version
      if (version === undefined) versions.delete(key)
      else versions.set(key, version)
      note(index, version)
    } else if (what === 'put') {
      const version = await store.put(key, 'value', expected)
      if (version !== null) versions.set(key, version)
      note(index, version)
    } else if (what === 'delete') note(index, expected !== null && (await store.delete(key, expected)))
    else if (what === 'pause') await clockOf(scheduler, at, () => 0.5).sleep(PAUSE)
    else {
      const spend = { token: '', instance: at, sentAt: 0, arrived: false, next: undefined, answered: false }
      note(index, world.store.entry(LEASE)?.version, server.spends.filter(({ arrived }) => arrived).length)
      server.spends.push(spend)
      const carryOut = (): void => void (spend.arrived = true)
      await call({
        scheduler,
        instance: at,
        name: 'refresh it',
        on: 'token',
        carryOut,
        failure: (fault) => new Error(fault),
      })
    }
  }
}

function outcomeOf(world: World, together: boolean): string {
  const { store, deeds } = world
  const left = store
    .keys()
    .toSorted()
    .map((key) => [key, store.entry(key)?.version])
  const moment = (at: string, of: 'begun' | 'ended' | 'agreed' | 'given'): number =>
    deeds.find((deed) => deed.at === at)?.[of] ?? Infinity
  const told = [
    moment('A', 'agreed') < moment('B', 'begun'),
    moment('A', 'given') < moment('B', 'ended'),
    moment('C', 'begun') < moment('B', 'ended'),
  ]
  return JSON.stringify([[...(answers.get(world) ?? [])], left, together ? [] : told])
}
