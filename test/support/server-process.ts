import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, chownSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** A user of this machine to run a server as, where the tests run as root and the server will not. */
export interface RunAs {
  readonly uid: number
  readonly gid: number
}

/** How a server program is run. */
export interface ServerProgram {
  /** Its short name, for the directory and for messages. */
  readonly name: string
  /** Its command line, for a port of 127.0.0.1 and a directory that exists. */
  readonly command: (port: number, directory: string) => readonly string[]
  /** What is done once to an empty directory. */
  readonly prepare?: (directory: string) => Promise<unknown>
  readonly runAs?: RunAs | undefined
  /** What ends it at once, its own children included; TERM where it takes another signal for its children to hear of it. */
  readonly killSignal: 'KILL' | 'QUIT' | 'TERM'
  /** Its environment, beside that of this process. */
  readonly environment?: Readonly<Record<string, string>> | undefined
  /** Milliseconds until it has to answer. Default 60,000. */
  readonly patience?: number | undefined
  /** Resolves once it answers on this port; a rejection means not yet. */
  readonly answers: (port: number) => Promise<unknown>
}

/** A server on 127.0.0.1 with data of its own, which ends with this process at the latest. */
export interface RunningServer {
  readonly port: number
  /** Where its data are. */
  readonly directory: string
  /** Stops it and its children where they stand: connections stay open and nothing is answered. */
  readonly pause: () => void
  readonly resume: () => void
  /** Ends it at once, as a crash does; its data stay. */
  readonly kill: () => Promise<void>
  /** Starts it again on the same port and data, killing it first if it still runs. */
  readonly restart: () => Promise<void>
  /** Ends it and removes its data. */
  readonly stop: () => Promise<void>
}

/**
 * A shell that outlives the test process by a moment: when its fd 3 ends, for whatever reason, it ends the server and removes
 * the data. So no server is left behind by a test run that was killed.
 */
const WATCHDOG = `
signal=$1 directory=$2; shift 2
"$@" </dev/null >"$directory/output" 2>&1 3<&- &
server=$!
echo $server
{ read -r word <&3; kill -CONT $server; kill -$signal $server
  test "$word" = keep || {
    tries=0; while kill -0 $server && test $tries -lt 100; do sleep 0.1; tries=$((tries + 1)); done
    sleep 1; rm -rf "$directory"; }; } >/dev/null 2>&1 &
wait $server`

export async function startServer(program: ServerProgram): Promise<RunningServer> {
  const directory = mkdtempSync(path.join(tmpdir(), `${program.name}-`))
  if (program.runAs) chownSync(directory, program.runAs.uid, program.runAs.gid)
  await program.prepare?.(directory)
  // Somebody else may take a port between its choice and its use.
  let port = await freePort()
  let server = await startProcess(program, port, directory).catch(async () => {
    port = await freePort()
    return startProcess(program, port, directory)
  })
  return {
    port,
    directory,
    pause: () => server.signalAll('SIGSTOP'),
    resume: () => server.signalAll('SIGCONT'),
    kill: () => server.kill(),
    async restart() {
      await server.kill()
      server = await startProcess(program, port, directory)
    },
    async stop() {
      await server.kill()
      rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
    },
  }
}

async function startProcess(program: ServerProgram, port: number, directory: string) {
  const { command, runAs, killSignal, answers, name, environment, patience = 60_000 } = program
  const child = spawn('/bin/sh', ['-c', WATCHDOG, 'watchdog', killSignal, directory, ...command(port, directory)], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    env: { ...process.env, ...environment },
    ...(runAs ?? {}),
  })
  const lifeline = child.stdio[3] as Socket
  // It may be gone by the time that something is said to it.
  lifeline.on('error', () => undefined)
  const ended = once(child, 'exit')
  const pid = await firstLine(child)
  // The server is no reason for this process to go on.
  child.unref()
  lifeline.unref()
  const kill = async () => {
    child.ref()
    lifeline.end('keep\n')
    if (child.exitCode === null && child.signalCode === null) await ended
  }
  for (const deadline = Date.now() + patience; ;) {
    if (
      await answers(port).then(
        () => true,
        () => false,
      )
    )
      break
    if (child.exitCode !== null || Date.now() > deadline) {
      await kill()
      throw new Error(`${name} does not answer: ${readFileSync(path.join(directory, 'output'), 'utf8')}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const signalAll = (signal: NodeJS.Signals) => {
    for (const one of [pid, ...childrenOf(pid)]) process.kill(one, signal)
  }
  return { kill, signalAll }
}

async function firstLine(child: ChildProcess): Promise<number> {
  let text = ''
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk)
    if (text.includes('\n')) break
  }
  return Number.parseInt(text, 10)
}

function childrenOf(parent: number): number[] {
  const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  return rows
    .map((row) => row.trim().split(/\s+/).map(Number))
    .flatMap(([pid, ppid]) => (pid && ppid === parent ? [pid] : []))
}

/** The full path of a program, or undefined where it is not on this machine. */
export function findProgram(name: string, folders: readonly string[] = []): string | undefined {
  const places = [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin', ...folders]
  return places.map((folder) => path.join(folder, name)).find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Some servers refuse to run as root: the user to run them as, or undefined where there is no need. */
export function otherThanRoot(user: string): RunAs | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/** A port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
