import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileProgram } from './compiled-program.js'
import type { FromChild, InstanceOptions, Order, Outcome, Point, ToChild, UserOutcome } from './instance-messages.js'

/** One instance of the middleware in another process. Its clock stands where it is told, and goes on from there. */
export interface Instance {
  readonly process: InstanceProcess
  /** So many concurrent callers want a token for a user. */
  readonly call: (count?: number, subject?: string) => Promise<readonly Outcome[]>
  /** So many concurrent callers with each of these MCP tokens want one for Nextcloud. */
  readonly exchange: (mcpTokens: readonly string[], count?: number, force?: boolean) => Promise<readonly UserOutcome[]>
  readonly revoke: (subject?: string) => Promise<unknown>
  readonly advance: (ms: number) => Promise<void>
  /** Stops its work at a point, which it reaches later. */
  readonly pauseAt: (point: Point) => Promise<Paused>
  /** The next time from now on that a token comes from the authorization server or the store. */
  readonly nextRenewal: () => Promise<{ readonly ended: Promise<void> }>
  readonly close: () => Promise<void>
}

export interface Paused {
  readonly reached: Promise<void>
  readonly go: () => Promise<void>
}

/** A process with instances of the middleware in it. */
export interface InstanceProcess {
  readonly open: (options: InstanceOptions) => Promise<Instance>
  /** Ends it as a crash does. */
  readonly kill: () => Promise<void>
  /** Stops it where it stands, for so many seconds, and until something else is done. */
  readonly stall: (seconds: number, done?: Promise<unknown>) => { readonly over: Promise<void> }
}

const PROGRAM = fileURLToPath(new URL('./instance-process.ts', import.meta.url))
/** At one time in one test file. */
const MOST_PROCESSES = 64
/** More at a time would only wait for each other. */
const STARTS_AT_ONCE = 4

/** The processes of a test file. */
export interface InstanceProcesses {
  /** Gets processes ready, for `start` to have them at once. */
  readonly prepare: (count: number) => Promise<void>
  readonly start: () => Promise<InstanceProcess>
  /** Ends them all. */
  readonly end: () => Promise<void>
}

export function createInstanceProcesses(): InstanceProcesses {
  const children = new Set<ChildProcess>()
  const killAll = (): void => {
    for (const child of children) child.kill('SIGKILL')
  }
  process.once('exit', killAll)

  const ready: InstanceProcess[] = []
  const folder = mkdtempSync(path.join(tmpdir(), 'instances-'))
  let program: Promise<string> | undefined

  async function start(): Promise<InstanceProcess> {
    if (children.size >= MOST_PROCESSES) throw new Error('That would be too many processes')
    const child = fork(await (program ??= compileProgram(PROGRAM, folder)), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    children.add(child)
    child.once('exit', () => children.delete(child))
    await once(child, 'message')
    return createInstanceProcess(child)
  }

  return {
    async prepare(count) {
      let left = count
      const prepareOthers = async (): Promise<void> => {
        while (left-- > 0) ready.push(await start())
      }
      await Promise.all(Array.from({ length: STARTS_AT_ONCE }, prepareOthers))
    },
    start: async () => ready.pop() ?? start(),
    async end() {
      const ended = [...children].map((child) => once(child, 'exit'))
      killAll()
      await Promise.all(ended)
      process.off('exit', killAll)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function createInstanceProcess(child: ChildProcess): InstanceProcess {
  const waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  let orders = 0
  let instances = 0
  const ended = (): Error => new Error('The process of the instance has ended')
  child.on('message', ({ id, result, error }: FromChild) => {
    const order = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) order?.resolve(result)
    else order?.reject(new Error(`In an instance: ${error}`))
  })
  // Orders to one that was killed.
  child.on('error', () => undefined)
  child.once('exit', () => {
    for (const { reject } of waiting.values()) reject(ended())
  })

  function tell(instance: number, order: Order): Promise<unknown> {
    orders += 1
    const message: ToChild = { id: orders, instance, order }
    const answered = new Promise((resolve, reject) => waiting.set(message.id, { resolve, reject }))
    // What a killed process was told to do has no end, and nobody asks for it.
    answered.catch(() => undefined)
    if (child.connected) child.send(message)
    else waiting.get(message.id)?.reject(ended())
    return answered
  }

  const self: InstanceProcess = {
    async open(options) {
      instances += 1
      const number = instances
      const give = (order: Order): Promise<unknown> => tell(number, order)
      await give({ do: 'open', options })
      return {
        process: self,
        call: (count = 1, subject = 'alice') => give({ do: 'call', count, subject }) as Promise<Outcome[]>,
        exchange: (mcpTokens, count = 1, force = false) =>
          give({ do: 'exchange', mcpTokens, count, force }) as Promise<UserOutcome[]>,
        revoke: (subject = 'alice') => give({ do: 'revoke', subject }),
        advance: (ms) => give({ do: 'advance', ms }) as Promise<void>,
        async pauseAt(at) {
          await give({ do: 'pause', at })
          return {
            reached: give({ do: 'reach' }) as Promise<void>,
            go: () => give({ do: 'go' }) as Promise<void>,
          }
        },
        async nextRenewal() {
          await give({ do: 'await-renewal' })
          return { ended: give({ do: 'renewal' }) as Promise<void> }
        },
        close: () => give({ do: 'close' }) as Promise<void>,
      }
    },
    async kill() {
      child.kill('SIGKILL')
      if (child.signalCode === null) await once(child, 'exit')
    },
    stall: (seconds, done) => ({ over: standStill(child, seconds, done) }),
  }
  return self
}

/** Stops a process where it stands, for so many seconds, and until something else is done. Resolves when it goes on. */
export async function standStill(child: ChildProcess, seconds: number, done?: Promise<unknown>): Promise<void> {
  // It goes on again even if this process ends meanwhile.
  const rescue = spawn('/bin/sh', ['-c', 'sleep "$1"; kill -CONT "$0"', String(child.pid), String(seconds + 60)], {
    stdio: 'ignore',
  })
  rescue.unref()
  child.kill('SIGSTOP')
  await Promise.all([new Promise<void>((resolve) => setTimeout(resolve, seconds * 1_000)), done])
  child.kill('SIGCONT')
  rescue.kill()
}
