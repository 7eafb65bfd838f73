import type { ServerResponse } from 'node:http'
import { createClient } from 'redis'
import type { InstanceOptions, Outcome, Point } from './instance-messages.js'
import type { Instance, InstanceProcess, InstanceProcesses } from './instances.js'
import { startMariaDbServer } from './mariadb-server.js'
import { startPostgresServer } from './postgres-server.js'
import { startRedisReplica, startRedisServer } from './redis-server.js'
import { startScene, type RealStores, type Scene, type SceneOptions } from './scene.js'
import type { ReceivedRequest } from './scripted-authorization-server.js'
import type { StoreAddress, StoreKind } from './stores.js'
import { startTcpGate, type TcpGate } from './tcp-gate.js'

/** What came of a fault. */
export interface FaultResult {
  /** What callers get, in order, each kind of answer once. */
  readonly callers: string
  readonly stored: string
  /** How often a refresh token was presented at most. */
  readonly presented: number
  /** Whether the user has to connect again. */
  readonly reconnect: boolean
  /** Milliseconds until a caller got the last of its answers, from the moment that it could be helped. */
  readonly ms: number
}

/** The steps of a refresh at which something happens, in their order. */
const STEPS = {
  reading: { when: 'before', what: 'get', nth: 1 },
  leasing: { when: 'before', what: 'put', nth: 1 },
  leased: { when: 'after', what: 'put', nth: 1 },
  marking: { when: 'before', what: 'put', nth: 2 },
  marked: { when: 'after', what: 'put', nth: 2 },
  sending: { when: 'before', what: 'request', nth: 1 },
  storing: { when: 'before', what: 'put', nth: 3 },
  stored: { when: 'after', what: 'put', nth: 3 },
  releasing: { when: 'before', what: 'delete', nth: 1 },
} as const satisfies Record<string, Point>
export type Step = keyof typeof STEPS

/** What an authorization server does with a refresh that meets a fault. */
export type Processing = 'processed' | 'not processed'

export interface FaultOptions {
  readonly grace?: boolean
  /** `http.timeout`, in milliseconds. */
  readonly timeout?: number
}

const SERVERS = { Redis: startRedisServer, PostgreSQL: startPostgresServer, MariaDB: startMariaDbServer }

const CALLERS = 5
const LIFE = 300_000
/** Milliseconds. */
const LEASE_WAIT = 9_000
/** For longer than a lease lives: whether it can be given back while a store comes and goes is a matter of chance on a busy machine. */
const AFTER_AN_OUTAGE = 15_000
const LAST_ANSWER = /^(?:a token|403 .*)$/

/** A user with a grant, an instance that meets the fault, and another one that does not. */
interface Stage {
  readonly scene: Scene
  readonly holder: Instance
  readonly other: Instance
}

/** `http.timeout` where it takes no part: a busy machine is no outage. */
const PATIENT = { timeout: 30_000 }
/** The same where the process stands still until that time is over: a busy machine must have begun by then. */
const UNTIL_STOPPED = { timeout: 2_000 }

/** Seconds after which another instance may have sent the refresh token too. It may take longer to do so on a busy machine. */
const LEASE_AND_GRACE = 10
/** Milliseconds that a caller waits for another instance, with the timeout of `UNTIL_STOPPED`. */
const PATIENCE = 12_000

/** A process that stands still, whom others wait for or take over from, and the calls that it holds. */
interface Stall {
  readonly over: Promise<void>
  /** Given once another instance has served its callers. */
  readonly served: Signal
  readonly held: Promise<readonly Outcome[]>
}

interface Signal {
  readonly given: Promise<void>
  readonly give: () => void
}

function createSignal(): Signal {
  let give = (): void => undefined
  const given = new Promise<void>((resolve) => (give = resolve))
  return { given, give: () => give() }
}

export function createFaults(
  stores: RealStores,
  processes: InstanceProcesses,
  bystander: () => Promise<InstanceProcess>,
) {
  /** An instance in a process of its own, where something befalls the process. */
  const ownProcess = (): Promise<InstanceProcess> => processes.start()

  async function setStage(
    kind: StoreKind,
    { grace = false, timeout = 5_000 }: FaultOptions,
    holderProcess: () => Promise<InstanceProcess>,
    { store, holderOptions = {}, ...more }: Partial<SceneOptions> & { holderOptions?: Partial<InstanceOptions> } = {},
  ): Promise<Stage> {
    const [itsProcess, othersProcess] = await Promise.all([holderProcess(), bystander()])
    const scene = await startScene({ store: store ?? (await stores.address(kind)), grace, ...more })
    await scene.connect()
    const holder = await scene.open(itsProcess, { timeout, ...holderOptions })
    const other = await scene.open(othersProcess, { timeout })
    return { scene, holder, other }
  }

  /** What is there in the end, and whether the connection lives on past the next expiry. */
  async function close(
    { scene, other }: Stage,
    seen: readonly string[],
    ms: number,
    survivors: readonly Instance[] = [other],
    leaseWait = LEASE_WAIT,
  ): Promise<FaultResult> {
    const times = new Map<string, number>()
    for (const token of scene.refreshTokens.presented) times.set(token, (times.get(token) ?? 0) + 1)
    const presented = Math.max(...times.values())
    const before = await describeStored(scene, leaseWait)
    await Promise.all(survivors.map((instance) => instance.advance(LIFE)))
    const [last] = await other.call()
    const reconnect = last?.token === undefined
    // Until the next refresh, nobody knows of a token that it is dead.
    const stored = reconnect ? await describeStored(scene, leaseWait) : before
    await Promise.all(survivors.map((instance) => instance.close()))
    await scene.close()
    return { callers: seen.join(', then '), stored, presented, reconnect, ms }
  }

  /** The holder is killed at a step that it takes by itself. */
  async function killed(kind: StoreKind, step: Step, options: FaultOptions = {}): Promise<FaultResult> {
    const stage = await setStage(kind, options, ownProcess)
    const pause = await stage.holder.pauseAt(STEPS[step])
    void stage.holder.call(CALLERS)
    await pause.reached
    await stage.holder.process.kill()
    const { seen, ms } = await insist(stage.scene, [stage.other])
    // Of an instance that is dead with its work done, the lease stays.
    return close(stage, seen, ms, [stage.other], step === 'stored' ? 0 : LEASE_WAIT)
  }

  /** The holder is killed while the authorization server has its request. */
  async function killedWhileAsking(kind: StoreKind, processing: Processing, options: FaultOptions = {}) {
    const stage = await setStage(kind, options, ownProcess)
    const { as, refreshTokens } = stage.scene
    const killing = new Promise<void>((resolve, reject) => {
      as.script(
        '/token',
        ({ form }: ReceivedRequest, res: ServerResponse) => {
          if (processing === 'processed') refreshTokens.process(form)
          else refreshTokens.presented.push(form.get('refresh_token') ?? '')
          stage.holder.process.kill().then(resolve, reject)
          res.destroy()
        },
        refreshTokens.answer,
      )
    })
    void stage.holder.call(CALLERS)
    await killing
    const { seen, ms } = await insist(stage.scene, [stage.other])
    return close(stage, seen, ms)
  }

  /** The answer does not come through. */
  async function answerLost(kind: StoreKind, processing: Processing, options: FaultOptions = {}) {
    const stage = await setStage(kind, { ...PATIENT, ...options }, bystander)
    const { as, refreshTokens } = stage.scene
    as.script(
      '/token',
      ({ form }: ReceivedRequest, res: ServerResponse) => {
        if (processing === 'processed') refreshTokens.process(form)
        else refreshTokens.presented.push(form.get('refresh_token') ?? '')
        res.destroy()
      },
      refreshTokens.answer,
    )
    const { seen, ms } = await insist(stage.scene, [stage.holder, stage.other])
    return close(stage, seen, ms, [stage.holder, stage.other])
  }

  /** The authorization server answers otherwise for a while. */
  async function answered(kind: StoreKind, answer: { readonly status: number; readonly json?: unknown }) {
    const stage = await setStage(kind, PATIENT, bystander)
    const { as, refreshTokens } = stage.scene
    as.script('/token', ({ form }: ReceivedRequest, res: ServerResponse) => {
      refreshTokens.presented.push(form.get('refresh_token') ?? '')
      res.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.json ?? {}))
    })
    const during = await outcomesOf(stage.scene, [stage.holder])
    as.script('/token', refreshTokens.answer)
    const { seen, ms } = await insist(stage.scene, [stage.holder, stage.other])
    return close(stage, distinct([...during, ...seen]), ms, [stage.holder, stage.other])
  }

  /** The holder's process stands still at a step, for longer than its lease. */
  async function stalled(kind: StoreKind, step: Step, seconds: number, options: FaultOptions = {}) {
    const stage = await setStage(kind, { ...UNTIL_STOPPED, ...options }, ownProcess)
    const pause = await stage.holder.pauseAt(STEPS[step])
    const held = stage.holder.call(CALLERS)
    await pause.reached
    const served = createSignal()
    const { over } = stage.holder.process.stall(seconds, seconds > LEASE_AND_GRACE ? served.given : undefined)
    // It is read once the process goes on.
    void pause.go()
    return afterStall(stage, { over, served, held })
  }

  /** The same while the authorization server has its request, whose answer then waits for it. */
  async function stalledWhileAsking(kind: StoreKind, seconds: number, options: FaultOptions = {}) {
    const stage = await setStage(kind, { ...UNTIL_STOPPED, ...options }, ownProcess)
    const { as, refreshTokens } = stage.scene
    const served = createSignal()
    const stalling = new Promise<{ over: Promise<void> }>((resolve) => {
      as.script(
        '/token',
        (request: ReceivedRequest, res: ServerResponse) => {
          const stall = stage.holder.process.stall(seconds, seconds > LEASE_AND_GRACE ? served.given : undefined)
          refreshTokens.answer(request, res)
          resolve(stall)
        },
        refreshTokens.answer,
      )
    })
    const held = stage.holder.call(CALLERS)
    const { over } = await Promise.race([stalling, neverAsked(held)])
    return afterStall(stage, { over, served, held })
  }

  async function afterStall(stage: Stage, { over, served, held }: Stall) {
    const { scene, holder, other } = stage
    const { seen: ofOther, ms } = await insist(scene, [other])
    served.give()
    await over
    // On a busy machine its patience may end before the lease and the grace have: by less than two seconds it is longer.
    const seen = ms < PATIENCE ? ofOther : ofOther.filter((outcome) => outcome !== '503 ERR_UPSTREAM_UNAVAILABLE')
    // Whether a process that goes on looks first at its timers or at its sockets is a matter of chance.
    const expected = [...seen, 'a token', '503 ERR_UPSTREAM_UNAVAILABLE', '503 ERR_STORAGE']
    const ofHolder = (await held).map((outcome) => describeOutcome(scene, outcome))
    await insist(scene, [holder])
    const others = ofHolder.filter((outcome) => !expected.includes(outcome))
    return close(stage, distinct([...seen, ...others]), ms, [holder, other])
  }

  /** The store is away from a step on, for so many seconds; for the holder some longer, where its client is slow to connect anew. */
  async function storeAway(kind: StoreKind, step: Step, seconds: number, { longerForHolder = 0, ...options } = {}) {
    const address = await stores.address(kind)
    const [near, far] = await Promise.all([throughGate(address), throughGate(address)])
    const stage = await setStage(kind, options, bystander, {
      store: far.store,
      ownStore: address,
      holderOptions: { store: near.store },
    })
    const { scene, holder, other } = stage
    const pause = await holder.pauseAt(STEPS[step])
    const held = holder.call(CALLERS)
    await pause.reached
    near.gate.close()
    far.gate.close()
    // Until the clients know.
    await sleep(200)
    await pause.go()
    await sleep(seconds * 1_000)
    await far.gate.open()
    const back = insist(scene, longerForHolder === 0 ? [other, holder] : [other])
    await sleep(longerForHolder * 1_000)
    await near.gate.open()
    const { seen, ms } = await back
    const ofHolder = (await held).map((outcome) => describeOutcome(scene, outcome))
    const after = await insist(scene, [holder])
    const result = await close(
      stage,
      distinct([...ofHolder, ...seen, ...after.seen]),
      ms,
      [holder, other],
      AFTER_AN_OUTAGE,
    )
    near.gate.close()
    far.gate.close()
    return result
  }

  /** The server of the store is killed at a step, and started again. */
  async function restarted(kind: keyof typeof SERVERS, step: Step) {
    const server = await SERVERS[kind]()
    const stage = await setStage(kind, { timeout: 30_000 }, bystander, { store: { kind, url: server.url } })
    const { scene, holder, other } = stage
    const pause = await holder.pauseAt(STEPS[step])
    const held = holder.call(CALLERS)
    await pause.reached
    const restart = server.restart()
    await pause.go()
    await restart
    const { seen, ms } = await insist(scene, [other, holder])
    const ofHolder = (await held).map((outcome) => describeOutcome(scene, outcome))
    const result = await close(stage, distinct([...ofHolder, ...seen]), ms, [holder, other], AFTER_AN_OUTAGE)
    await server.stop()
    return result
  }

  /**
   * A replica takes over from a Redis that was killed, and did not get what was stored last.
   *
   * @param settings of the Redis that is killed
   */
  async function failedOver(settings: readonly string[] = []): Promise<FaultResult> {
    const primary = await startRedisServer(settings)
    const replication = await startTcpGate(primary.port)
    const replica = await startRedisReplica(replication.port)
    const { store, gate } = await throughGate({ kind: 'Redis', url: primary.url })
    const stage = await setStage('Redis', {}, bystander, { store })
    const { scene, holder, other } = stage
    const pause = await holder.pauseAt(STEPS.storing)
    const held = holder.call(CALLERS)
    await pause.reached
    replication.close()
    await pause.go()
    // What is refused is tried again: the callers have their answer by then, or have it from the other server.
    await Promise.race([held, sleep(1_000)])
    gate.close()
    await primary.kill()
    await promote(replica.url)
    await gate.open(replica.port)
    const ofHolder = (await held).map((outcome) => describeOutcome(scene, outcome))
    const { seen, ms } = await insist(scene, [other])
    const result = await close(stage, distinct([...ofHolder, ...seen]), ms, [holder, other])
    gate.close()
    await Promise.all([primary.stop(), replica.stop()])
    return result
  }

  /** The file is locked by another process from a step on. */
  async function fileLocked(step: Step, seconds: number, options: FaultOptions = {}) {
    const store = await stores.address('SQLite')
    if (store.kind !== 'SQLite') throw new Error('That is no file')
    const stage = await setStage('SQLite', options, ownProcess, { store })
    const { scene, holder, other } = stage
    const pause = await holder.pauseAt(STEPS[step])
    const held = holder.call(CALLERS)
    await pause.reached
    const { Database } = await import('@mcp-nextcloud-auth/sqlite-driver')
    if (Database === undefined) throw new Error('better-sqlite3 is not on this machine')
    const database = new Database(store.file)
    database.exec('BEGIN EXCLUSIVE')
    await pause.go()
    await sleep(seconds * 1_000)
    database.exec('ROLLBACK')
    database.close()
    const { seen, ms } = await insist(scene, [other, holder])
    const ofHolder = (await held).map((outcome) => describeOutcome(scene, outcome))
    return close(stage, distinct([...ofHolder, ...seen]), ms, [holder, other], AFTER_AN_OUTAGE)
  }

  /** Something happens to the grant while the authorization server has the request. */
  async function meanwhile(kind: StoreKind, happens: (stage: Stage) => Promise<unknown>) {
    const stage = await setStage(kind, PATIENT, bystander)
    const { as, refreshTokens } = stage.scene
    const arrival = new Promise<() => void>((resolve) => {
      as.script(
        '/token',
        (request: ReceivedRequest, res: ServerResponse) => resolve(() => refreshTokens.answer(request, res)),
        refreshTokens.answer,
      )
    })
    const held = stage.holder.call(CALLERS)
    const answer = await arrival
    await happens(stage)
    const start = performance.now()
    answer()
    const ofHolder = (await held).map((outcome) => describeOutcome(stage.scene, outcome))
    const ms = performance.now() - start
    const { seen } = await insist(stage.scene, [stage.other])
    return close(stage, distinct([...ofHolder, ...seen]), ms, [stage.holder, stage.other])
  }

  /** Clocks that differ: every caller has to get a token that lives, whoever got it. */
  async function clocksDiffer(kind: StoreKind, minutes: number) {
    const stage = await setStage(kind, PATIENT, bystander, { holderOptions: { wrongBy: minutes * 60_000 } })
    const { scene, holder, other } = stage
    const { accessTokens } = scene.refreshTokens
    const both = [holder, other]
    const issuedAt = new Map<string, number>()
    const seen: string[] = []
    let now = 0
    let ms = 0
    for (const [instances, pause] of [
      [[holder], 0],
      [[other], 200_000],
      [both, 60_000],
      [both, 60_000],
      [[other], 200_000],
      [[holder], 60_000],
      [both, 60_000],
    ] as const) {
      await Promise.all(both.map((instance) => instance.advance(pause)))
      now += pause
      const start = performance.now()
      const outcomes = (await Promise.all(instances.map((instance) => instance.call(CALLERS)))).flat()
      ms = Math.max(ms, performance.now() - start)
      await quiet(scene)
      for (const token of accessTokens) if (!issuedAt.has(token)) issuedAt.set(token, now)
      for (const outcome of outcomes) {
        // Whose clock is behind takes another's token for younger than it is, by no more than that.
        const pastItsEnd = now - (issuedAt.get(outcome.token ?? '') ?? now) - LIFE
        const tolerated = Math.abs(minutes) * 60_000
        seen.push(pastItsEnd < tolerated ? describeOutcome(scene, outcome) : `a token dead for ${pastItsEnd} ms`)
      }
    }
    return close(stage, distinct(seen), ms, both)
  }

  return {
    setStage,
    close,
    killed,
    killedWhileAsking,
    answerLost,
    answered,
    stalled,
    stalledWhileAsking,
    storeAway,
    restarted,
    failedOver,
    fileLocked,
    meanwhile,
    clocksDiffer,
  }
}

async function promote(url: string): Promise<void> {
  const client = await createClient({ url }).connect()
  await client.sendCommand(['REPLICAOF', 'NO', 'ONE'])
  client.destroy()
}

/** Runs work in the order in which it comes, so many at a time. */
export function createQueue(atOnce: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0
  const waiting: (() => void)[] = []
  return async (work) => {
    if (running >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve))
    running += 1
    try {
      return await work()
    } finally {
      running -= 1
      waiting.shift()?.()
    }
  }
}

/** Callers who were answered although nobody asked for a token: without this, the row would wait for ever. */
async function neverAsked(held: Promise<readonly Outcome[]>): Promise<never> {
  const outcomes = (await held).map(({ failure }) => failure)
  throw new Error(`The authorization server was not asked: ${outcomes.join()}`)
}

/** A store's address behind a gate. */
async function throughGate(address: StoreAddress): Promise<{ store: StoreAddress; gate: TcpGate }> {
  if (address.kind === 'SQLite') throw new Error('There is no network in front of a file')
  const url = new URL(address.url)
  const gate = await startTcpGate(Number(url.port))
  url.port = String(gate.port)
  return { store: { ...address, url: url.href }, gate }
}

/** What callers of some instances get, until each of them gets a token or is told to connect again. */
async function insist(scene: Scene, instances: readonly Instance[]): Promise<{ seen: string[]; ms: number }> {
  const start = performance.now()
  const seen: string[] = []
  for (;;) {
    const outcomes = await outcomesOf(scene, instances)
    seen.push(...outcomes)
    const ms = performance.now() - start
    if (outcomes.every((outcome) => LAST_ANSWER.test(outcome)) || ms > 90_000) return { seen: distinct(seen), ms }
    await sleep(200)
  }
}

/** Resolves when nobody refreshes. */
async function quiet(scene: Scene): Promise<void> {
  for (let looks = 0; looks < 400; looks += 1) {
    await sleep(50)
    if (!(await scene.isLeased()) && (await scene.stored())?.state !== 'presented') return
  }
}

async function outcomesOf(scene: Scene, instances: readonly Instance[]): Promise<string[]> {
  const outcomes = await Promise.all(instances.map((instance) => instance.call(CALLERS)))
  return distinct(outcomes.flat().map((outcome) => describeOutcome(scene, outcome)))
}

function describeOutcome({ refreshTokens }: Scene, { token, failure }: Outcome): string {
  if (token === undefined) return failure ?? 'nothing'
  return refreshTokens.accessTokens.includes(token) ? 'a token' : 'a token of nobody'
}

/** @param leaseWait milliseconds for the lease to be given back, which comes after the answer */
async function describeStored(scene: Scene, leaseWait: number): Promise<string> {
  let leased = await scene.isLeased()
  for (const start = performance.now(); leased && performance.now() - start < leaseWait;) {
    await sleep(50)
    leased = await scene.isLeased()
  }
  const grant = await scene.stored()
  const lease = leased ? ', and a lease' : ''
  if (grant?.refreshToken === undefined) return `${grant?.state ?? 'nothing'}${lease}`
  const family = scene.refreshTokens.familyOf(grant.refreshToken)
  const age = family.tokens.at(-1) === grant.refreshToken ? 'the latest refresh token' : 'an old refresh token'
  return `${grant.state}, ${age}${lease}`
}

/** Each once; how it ended comes last. */
function distinct(texts: readonly string[]): string[] {
  const isEnd = (text: string): number => Number(LAST_ANSWER.test(text))
  return [...new Set(texts)].sort((a, b) => isEnd(a) - isEnd(b))
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
