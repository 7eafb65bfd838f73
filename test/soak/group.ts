import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Front } from '../support/front.js'
import { standStill } from '../support/instances.js'
import type { StoreAddress, StoreKind } from '../support/stores.js'
import type { SoakServer } from './authorization-server.js'
import type { FromSoakInstance, SoakInstance } from './instance.js'
import { EVERYBODY, type Judge } from './judge.js'

/** `http.timeout`, in milliseconds. */
export const TIMEOUT = 5_000
/** `cache.grantCheck`, in seconds. */
export const GRANT_CHECK = 2
const PROCESSES = 3
/** Seconds: longer than a lease, `http.timeout` and 5 s, and the 3 s after it in which others wait. */
const BEYOND_LEASE = 15
/** Milliseconds for which a lease lasts at least that cannot be renewed: it is, each third of `http.timeout` and 5 s. */
const SURE_LEASE = ((TIMEOUT + 5_000) * 2) / 3
/** Milliseconds of an outage of the store: shorter than that, so that it costs no connection by itself; a slow start makes it longer. */
const OUTAGE = 4_000
/** Milliseconds that a process has to end beyond `http.timeout`, on a machine that has much else to do. */
const BUSY_MACHINE = 15_000
/** Milliseconds that a process has to store what came, when nothing happens to it. */
const TO_STORE = 5_000
/** Milliseconds after an outage for which a process may serve without waiting for the store: a last look fails, and is believed. */
const STILL_BELIEVED = TIMEOUT + 2 * GRANT_CHECK * 1_000
/** Samples of the heap of a process that are enough to judge by. */
const ENOUGH_SAMPLES = 8
/** Bytes by which a heap may grow: caches of few users fill within them. */
const GROWTH = 12_000_000

/** Processes on one store behind one address. */
export interface Group {
  readonly kind: StoreKind
  readonly front: Front
  readonly resource: string
  /** Ports of the processes that take requests. */
  readonly ports: () => readonly number[]
  /** Kills a process and starts another in its place. */
  readonly kill: () => Promise<void>
  readonly stop: () => Promise<void>
  /** Restarts the store, or makes it stand still, in turns. */
  readonly harmStore: () => Promise<void>
  /** Replaces every process by one with these encryption keys, as a rolling restart does. */
  readonly rollOut: (encryptionKey: string) => Promise<void>
  /** Ends every process with SIGTERM. */
  readonly close: () => Promise<void>
  /** Ends at once whatever is left. */
  readonly killAll: () => void
}

export interface Store {
  readonly address: StoreAddress
  /** Makes it stand still, or ends it as a crash does. Call what it resolves to for it to go on. */
  readonly pause: () => Promise<() => unknown>
  readonly crash: () => Promise<() => unknown>
  /** Whether a process that stands still keeps all others from writing: one that was stopped during a write to a file can. */
  readonly isHeld?: () => Promise<boolean>
}

interface GroupRooms {
  readonly judge: Judge
  readonly program: string
  readonly server: () => SoakServer
  readonly disturbances: Disturbances
  /** Milliseconds. */
  readonly longestLife: number
}

/** When processes were killed or stood still, and when their stores did. */
export interface Disturbances {
  readonly note: (whom: string, from?: number) => () => void
  /** Whether a process was killed or stood still before it can have stored what came in this time, and before that was seen to be missing. */
  readonly wasDisturbed: (
    process: string,
    of: { readonly from: number; readonly until: number; readonly seenAt: number },
  ) => boolean
  /** What a process and its store met from a time on, in milliseconds from it. */
  readonly about: (process: string, from: number) => string
  /** Whether processes on a store were cut off from it: they serve living tokens on then, without a look. */
  readonly wasCutOff: (kind: StoreKind, from: number, until: number) => boolean
}

export function createDisturbances(): Disturbances {
  const all: { readonly whom: string; readonly from: number; until: number }[] = []
  const within = (from: number, until: number) => all.filter((one) => one.from <= until && one.until >= from)
  const meets = (whom: string, from: number, until: number) => within(from, until).filter((one) => one.whom === whom)
  return {
    note(whom, from = Date.now()) {
      const one = { whom, from, until: Infinity }
      all.push(one)
      return () => (one.until = Date.now())
    },
    wasCutOff: (kind, from, until) => within(from - STILL_BELIEVED, until).some(({ whom }) => whom.startsWith(kind)),
    about: (process, from) =>
      [process, process.split('-')[0] ?? '', EVERYBODY]
        .flatMap((whom) => meets(whom, from, Infinity))
        .map((one) => `${one.whom} ${one.from - from} to ${one.until - from}`)
        .join(', '),
    wasDisturbed(process, { from, until, seenAt }) {
      // What came while the store failed is stored when it is back.
      const outages = meets(process.split('-')[0] ?? '', from, Math.min(until + TO_STORE, seenAt))
      if (outages.some((outage) => Math.min(outage.until, seenAt) - outage.from > SURE_LEASE)) return true
      const latest = Math.max(until, ...outages.map((outage) => outage.until))
      return [process, EVERYBODY].some((whom) => meets(whom, from, Math.min(latest + TO_STORE, seenAt)).length > 0)
    },
  }
}

interface Running {
  readonly name: string
  readonly child: ChildProcess
  port: number
  readonly heap: number[]
  /** Whether its end is expected. */
  ending: boolean
}

export async function startGroup(
  rooms: GroupRooms,
  { store, front, encryptionKey: firstKey }: { store: Store; front: Front; encryptionKey: string },
): Promise<Group> {
  const { judge, disturbances } = rooms
  const { kind } = store.address
  const resource = `${front.origin}/mcp`
  const running: Running[] = []
  const children = new Set<ChildProcess>()
  let started = 0
  let harms = 0
  let encryptionKey = firstKey
  let work = Promise.resolve()

  /** One thing happens to the processes at a time. */
  const inTurn = (happens: () => Promise<void>): Promise<void> => (work = work.then(happens))

  async function start(): Promise<Running> {
    started += 1
    const name = `${kind}-${started}`
    const server = rooms.server()
    const given: SoakInstance = {
      ...{ issuer: server.issuer, tokenEndpoint: server.tokenEndpointFor(name), resource, store: store.address },
      ...{ encryptionKey, timeout: TIMEOUT, grantCheck: GRANT_CHECK, longestLife: rooms.longestLife },
    }
    const child = fork(rooms.program, [JSON.stringify(given)], { execArgv: ['--expose-gc'] })
    children.add(child)
    const one: Running = { name, child, port: 0, heap: [], ending: false }
    await new Promise<void>((resolve, reject) => {
      child.once('exit', () => reject(new Error(`${name} ended before it listened`)))
      child.on('message', (said: FromSoakInstance) => {
        if (!('listening' in said)) return hear(one, said)
        one.port = said.listening
        resolve()
      })
    })
    child.once('exit', (code, signal) => {
      children.delete(child)
      if (!one.ending) judge.violation('a process ended by itself', `${name}: ${code ?? signal ?? ''}`)
    })
    front.ports.push(one.port)
    running.push(one)
    return one
  }

  function hear(one: Running, said: FromSoakInstance): void {
    if ('heap' in said) one.heap.push(said.heap)
    if ('crashed' in said) judge.violation('a process crashed', `${one.name}: ${said.crashed}`)
    if ('stoodStill' in said) {
      const from = Date.now() - said.stoodStill
      disturbances.note(one.name, from)()
      judge.fault(kind, 'a process stood still by itself', from)()
    }
  }

  const leave = (one: Running): unknown => front.ports.splice(front.ports.indexOf(one.port), 1)
  const remove = (one: Running): void => {
    leave(one)
    running.splice(running.indexOf(one), 1)
  }
  /** Any but the first, which lives on to show that its memory stays flat. */
  const victim = (): Running | undefined => running[1 + Math.floor(Math.random() * (running.length - 1))]

  async function end(one: Running): Promise<void> {
    one.ending = true
    const exit = once(one.child, 'exit')
    const askedAt = Date.now()
    one.child.kill('SIGTERM')
    const late = setTimeout(() => {
      judge.violation('a process did not end on SIGTERM', one.name)
      one.child.kill('SIGKILL')
    }, TIMEOUT + BUSY_MACHINE)
    await exit
    clearTimeout(late)
    // It gives up what it still holds when `http.timeout` is over.
    if (Date.now() - askedAt >= TIMEOUT) disturbances.note(one.name, askedAt)()
    judge.count('processes that ended on SIGTERM')
    judgeMemory(judge, one)
  }

  for (let count = 0; count < PROCESSES; count += 1) await start()
  return {
    ...{ kind, front, resource },
    ports: () => front.ports,
    kill: () =>
      inTurn(async () => {
        const one = victim()
        if (one === undefined) return
        const over = judge.fault(kind, 'a process is killed')
        disturbances.note(one.name)()
        one.ending = true
        one.child.kill('SIGKILL')
        remove(one)
        await start()
        over()
      }),
    stop: () =>
      inTurn(async () => {
        const one = victim()
        if (one === undefined) return
        const overs = [
          judge.fault(kind, 'a process stands still for longer than its lease'),
          disturbances.note(one.name),
        ]
        leave(one)
        const from = Date.now()
        const stoodStill = standStill(one.child, BEYOND_LEASE)
        if (await store.isHeld?.()) {
          judge.count('a process stands still within a write that no other can pass')
          overs.push(disturbances.note(kind, from))
        }
        await stoodStill
        front.ports.push(one.port)
        for (const over of overs) over()
      }),
    async harmStore() {
      harms += 1
      const isCrash = harms % 2 === 1
      // In the moment in which it is needed most: the server has replaced a refresh token, and the new one is on its way.
      const happened = new Promise<void>((resolve) =>
        rooms.server().atNextRefresh(kind, async () => {
          const from = Date.now()
          const overs = [
            judge.fault(kind, isCrash ? 'the store crashes' : 'the store stands still'),
            disturbances.note(kind),
          ]
          const goOn = await (isCrash ? store.crash() : store.pause())
          // The answer is sent meanwhile.
          void sleep(OUTAGE)
            .then(goOn)
            .finally(() => {
              for (const over of overs) over()
              if (Date.now() - from > SURE_LEASE) judge.count('outages of a store that may outlast a lease')
              resolve()
            })
        }),
      )
      await Promise.race([happened, sleep(60_000, undefined, { ref: false })])
    },
    rollOut: (key) =>
      inTurn(async () => {
        encryptionKey = key
        for (const one of [...running]) {
          await start()
          remove(one)
          await end(one)
        }
        judge.count('rolling restarts')
      }),
    close: () =>
      inTurn(async () => {
        await Promise.all(running.map(end))
      }),
    killAll() {
      for (const child of children) {
        child.kill('SIGCONT')
        child.kill('SIGKILL')
      }
    },
  }
}

/** A heap is flat when its last quarter is about as its first, once it has warmed up. */
function judgeMemory(judge: Judge, { name, heap }: Running): void {
  const samples = heap.slice(2)
  if (samples.length < ENOUGH_SAMPLES) return
  const quarter = Math.floor(samples.length / 4)
  const [before, after] = [median(samples.slice(0, quarter)), median(samples.slice(-quarter))]
  judge.count('processes whose memory was looked at')
  if (after > before + GROWTH) judge.violation('memory grows', `${name}: ${before} to ${after} bytes`)
}

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? NaN
