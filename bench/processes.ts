import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** Milliseconds after which a process of a measurement is taken to hang. */
const LONGEST = 900_000

/** A program of this folder in a process of its own, which ends with this one. */
export interface Program {
  readonly process: ChildProcess
  /** Its first message. */
  readonly said: unknown
  readonly stop: () => void
}

export async function startProgram(
  file: string,
  args: readonly string[],
  nodeOptions: readonly string[] = [],
): Promise<Program> {
  const child = fork(new URL(file, import.meta.url), args, { execArgv: ['--import', 'tsx', ...nodeOptions] })
  const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST).unref()
  child.once('exit', () => clearTimeout(timer))
  const failed = once(child, 'exit').then(() => {
    throw new Error(`${file} ended before it said anything`)
  })
  const [said] = (await Promise.race([once(child, 'message'), failed])) as [unknown]
  failed.catch(() => undefined)
  return { process: child, said, stop: () => child.connected && child.disconnect() }
}

/** Returns the output of a program, which ends by itself. */
export async function resultOf<T>(
  file: string,
  args: readonly string[],
  nodeOptions: readonly string[] = [],
): Promise<T> {
  const { said, stop } = await startProgram(file, args, nodeOptions)
  stop()
  return said as T
}

/** Milliseconds from the start of a Node.js process to its end. */
export async function lifeOf(file: string, cwd: string): Promise<number> {
  const start = performance.now()
  const [code] = (await once(spawn(process.execPath, [file], { cwd, stdio: 'inherit' }), 'exit')) as [number]
  if (code !== 0) throw new Error(`${file} ended with status ${code}`)
  return performance.now() - start
}
