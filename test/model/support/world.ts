import { vi } from 'vitest'
import { turn } from '../../support/promises.js'
import { recordKey } from '../../../src/grants/record-key.js'
import type { Secret } from '../../../src/nextcloud/credential.js'
import { createInstance, type Instance, type Kind, type Surroundings } from './instance.js'
import { createScheduler, type Step } from './scheduler.js'
import { createServer, ISSUER, type Spend } from './server.js'
import { createStore } from './store.js'

/** What is asked of an instance. */
export interface Act {
  readonly at: string
  readonly what: 'token' | 'another token' | 'rotate' | 'refused' | 'disconnect' | 'connect' | 'no'
  readonly user: string
  /** The MCP client; undefined for the operator's own work, and for a disconnection from all. */
  readonly client?: string
}

/** What came of it. Moments are counted in steps. */
export interface Deed extends Act {
  begun: number
  /** Milliseconds. */
  begunAt: number
  ended: number
  endedAt: number
  /** Undefined while it is under way. `no`: the user has taken the consent back. */
  outcome?: 'done' | 'no' | 'failed'
  /** When the yes of a connection counted, and when its credential was there. */
  agreed: number
  given: number
}

/** Instances on one store and one server, what they have done, and what must not have happened. */
export interface World extends Surroundings {
  readonly instance: (name: string) => Instance
  readonly deeds: readonly Deed[]
  /** Has an instance do something, as soon as the scheduler lets it begin, and not before a time in milliseconds. */
  readonly ask: (act: Act, notBefore?: number) => void
  /** Whether a call to the store has failed at an instance. */
  readonly troubled: Set<string>
  readonly leaseKey: (user: string) => string
  readonly grantKey: (user: string) => string
  /** Rules that were broken. */
  readonly broken: string[]
}

/** Milliseconds for which the store may take for one call. */
const STORE_TIMEOUT = 'timer of 5000 ms'
/** Steps until everything rests. */
const MOST_STEPS = 5_000
const NEVER = Infinity

/** @param life seconds of an access token */
export function createWorld(kind: Kind, random: () => number, life = 300): World {
  const scheduler = createScheduler()
  const instances = new Map<string, Instance>()
  const deeds: Deed[] = []
  const broken: string[] = []
  const leases = new Map<string, string>()
  const around: Surroundings = {
    ...{ kind, scheduler, random },
    store: createStore(scheduler),
    server: createServer(scheduler, life, kind !== 'ends alone'),
    onSend: (spend) => checkSpend(world, spend),
  }
  const world: World = {
    ...around,
    instance(name) {
      const known = instances.get(name) ?? createInstance(name, around)
      instances.set(name, known)
      return known
    },
    deeds,
    ask(act, at = 0) {
      const name = `${act.what} ${act.user} ${act.client ?? ''}`
      scheduler.offer({
        ...{ instance: act.at, name, on: '', kind: 'begin', at },
        take: () => void carryOut(world, act, deeds),
      })
    },
    troubled: new Set(),
    grantKey: (user) => world.instance('A').grants.store.keyOf({ issuer: ISSUER, subject: user }),
    leaseKey(user) {
      const key = leases.get(user) ?? recordKey('lease', world.instance('A').grants.owner, world.grantKey(user))
      leases.set(user, key)
      return key
    },
    broken,
  }
  return world
}

async function carryOut(world: World, act: Act, deeds: Deed[]): Promise<void> {
  const { scheduler } = world
  const moment = (): number => scheduler.log.length
  const deed: Deed = {
    ...act,
    ...{ begun: moment(), begunAt: scheduler.now(), ended: NEVER, endedAt: NEVER, agreed: NEVER, given: NEVER },
  }
  deeds.push(deed)
  const heard = { agreed: () => void (deed.agreed = moment()), given: () => void (deed.given = moment()) }
  const outcome = await perform(world, act, heard).catch((error: unknown) => {
    scheduler.log.push(`${scheduler.now()} ${act.at}: ${String(error)}`)
    return 'failed' as const
  })
  Object.assign(deed, { outcome, ended: moment(), endedAt: scheduler.now() })
  scheduler.log.push(`${scheduler.now()} ${act.at}: ${act.what} ${act.user} is over, ${outcome}`)
}

async function perform(world: World, act: Act, heard: Parameters<Instance['connect']>[2]): Promise<Deed['outcome']> {
  const { at, what, user, client = 'one' } = act
  const instance = world.instance(at)
  const take = (secret: Secret | undefined): 'done' => {
    if (secret !== undefined) checkOwner(world, act, secret)
    return 'done'
  }
  switch (what) {
    case 'token':
      return take(await instance.getSecret(user, client))
    case 'another token':
      return take(await instance.getSecret(user, client, true))
    case 'refused':
      return take(await instance.replaceSecret(user, client, await instance.getSecret(user, client)))
    case 'rotate':
      return instance.rotate(user).then(() => 'done')
    case 'disconnect':
      return instance.disconnect(user, act.client).then(() => 'done')
    case 'connect':
      return (await instance.connect(user, client, heard)) ? 'done' : 'no'
    case 'no':
      return instance.withdraw(user, client).then(() => 'done')
  }
}

/** Rule: nobody gets the secret of another person. */
function checkOwner({ server, broken }: World, { user, at }: Act, secret: Secret): void {
  const owner = server.ownerOf('token' in secret ? secret.token : secret.password)
  if (owner !== user) broken.push(`${at} gives a secret of ${owner} to ${user}`)
}

/** Rule: a refresh token is sent by the holder of its lease, and once, unless a lease ran out or the answer cannot have been stored. */
function checkSpend(world: World, { token, instance }: Spend): void {
  const { server, store, scheduler, broken, troubled } = world
  const user = server.ownerOf(token) ?? ''
  const lease = store.entry(world.leaseKey(user))
  if (lease === undefined || lease.version.replace(/\d+$/, '') !== instance)
    broken.push(`${instance} sends ${token} without the lease`)
  // Where Nextcloud ends a token, an attempt at that may send what a renewal has just spent, and then leaves the rest to it.
  if (world.kind === 'ends alone' && world.deeds.some(({ what }) => what === 'disconnect' || what === 'connect')) return
  for (const before of server.spends) {
    if (before.token !== token || !before.arrived || !before.answered) continue
    const ranOut = scheduler.now() - before.sentAt >= world.instance('A').grants.leaseLife
    if (ranOut || troubled.has(before.instance) || !scheduler.isAlive(before.instance)) continue
    broken.push(`${instance} sends ${token}, which ${before.instance} has spent`)
  }
}

/** Takes a step, and lets everything follow from it that can follow by itself. */
export async function take(world: World, step: Step, fault?: Parameters<Step['take']>[0]): Promise<void> {
  if (step.name === STORE_TIMEOUT || (fault !== undefined && fault !== 'slow')) world.troubled.add(step.instance)
  world.scheduler.take(step, fault)
  await turn()
  // A process that stood still gives what came meanwhile a moment, by the timers of Node. It passes at once here.
  while (vi.getTimerCount() > 0) {
    vi.runOnlyPendingTimers()
    await turn()
  }
}

/** Lets everything come to rest, one step after the other, as time passes by itself. */
export async function rest(world: World, ms: number): Promise<void> {
  const { scheduler } = world
  const end = scheduler.now() + ms
  for (let steps = 0; ; steps += 1) {
    if (steps > MOST_STEPS) throw new Error(`It never comes to rest:\n${scheduler.log.slice(-100).join('\n')}`)
    await turn()
    const waiting = scheduler.waiting()
    const [first] = waiting.filter((step) => step.kind !== 'sleep' && step.kind !== 'timer')
    const next = first ?? waiting.toSorted((one, other) => one.at - other.at)[0]
    if (next === undefined || next.at > end) break
    scheduler.advanceTo(next.at)
    await take(world, next)
  }
  scheduler.advanceTo(end)
}

/** The start of a world. */
interface Start {
  readonly kind: Kind
  readonly random: () => number
  readonly users: readonly string[]
  /** Seconds of an access token. */
  readonly life?: number
  /** Instances that have looked for deletions already. */
  readonly ready?: readonly string[]
}

/** A world in which users are connected, each to the client `one`, and the access tokens of that have ended. */
export async function connected({ kind, random, users, life, ready = [] }: Start): Promise<World> {
  const world = createWorld(kind, random, life)
  for (const name of ready) world.instance(name).deletions.start()
  for (const user of users) world.ask({ at: 'A', what: 'connect', user, client: 'one' })
  await rest(world, 3_600_000)
  if (world.deeds.some(({ outcome }) => outcome !== 'done'))
    throw new Error(`The users are not connected:\n${world.scheduler.log.join('\n')}`)
  return world
}
