import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileProgram } from './compiled-program.js'
import { startFront } from './front.js'
import { fresh } from '../../src/testing/nextcloud/exchange.js'
import { startStandIn, type NextcloudStandIn } from './nextcloud/stand-in.js'
import { ACCOUNT_PASSWORD, addAccount } from './nextcloud/state.js'
import { createVisitor, type Visitor } from './nextcloud/visitor.js'
import type { SignInOrder } from './sign-in-process.js'
import type { StoreAddress } from './stores.js'

const PROGRAM = fileURLToPath(new URL('./sign-in-process.ts', import.meta.url))

/** A process of sign-in servers. */
interface SignInProcess {
  /** The result of the order. Rejects with what the process says. */
  readonly obey: (order: SignInOrder) => Promise<number>
  readonly end: () => Promise<void>
}

/** Sign-in servers in processes of their own, behind one public name at which each request goes to the next of them. */
export interface SignInInstances {
  readonly url: string
  readonly origin: string
  readonly nextcloud: NextcloudStandIn
  /** The same servers, each at an address of its own. */
  readonly each: readonly { readonly url: string; readonly origin: string }[]
  readonly person: (uid: string) => Visitor
  /** The instance that has the next request. */
  readonly begin: (instance: number) => void
  /** The instances that had a request, in their order. */
  readonly visited: number[]
  readonly advance: (instance: number, ms: number) => Promise<unknown>
  readonly close: () => Promise<void>
}

/** The processes of a test file. */
export interface SignInProcesses {
  /** Opens one instance in each process on the same store, all at once. */
  readonly open: (store: StoreAddress) => Promise<SignInInstances>
  readonly end: () => Promise<void>
}

export async function startSignInProcesses(count: number): Promise<SignInProcesses> {
  const folder = mkdtempSync(path.join(tmpdir(), 'sign-in-'))
  const program = await compileProgram(PROGRAM, folder)
  const processes = await Promise.all(Array.from({ length: count }, () => startProcess(program)))
  return {
    open: (store) => openInstances(processes, store),
    async end() {
      await Promise.all(processes.map(({ end }) => end()))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function startProcess(program: string): Promise<SignInProcess> {
  const child: ChildProcess = fork(program, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await once(child, 'message')
  return {
    async obey(order) {
      const answered = once(child, 'message')
      child.send(order)
      const [{ result, error }] = (await answered) as [{ result?: number; error?: string }]
      if (result === undefined) throw new Error(`In an instance: ${error}`)
      return result
    },
    async end() {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function openInstances(processes: readonly SignInProcess[], store: StoreAddress): Promise<SignInInstances> {
  const nextcloud = await startStandIn()
  const { origin, ports, begin, visited, close } = await startFront()
  const client = { id: 1, name: 'MCP', clientId: fresh(64), secret: fresh(64) }
  nextcloud.state.oauth2Clients.push({ ...client, redirectUris: [`${origin}/nextcloud/callback`] })
  const { url, state } = nextcloud
  const options = { store, origin, nextcloud: { url, clientId: client.clientId, clientSecret: client.secret } }
  ports.push(...(await Promise.all(processes.map(({ obey }) => obey({ do: 'open', options })))))
  const resource = `${origin}/mcp`
  return {
    url: resource,
    origin,
    nextcloud,
    each: ports.map((port) => ({ url: resource, origin: `http://127.0.0.1:${port}` })),
    person(uid) {
      addAccount(state, uid)
      return createVisitor({ name: uid, password: ACCOUNT_PASSWORD })
    },
    begin,
    visited,
    advance: async (instance, ms) => processes[instance]?.obey({ do: 'advance', ms }),
    async close() {
      close()
      await nextcloud.close()
    },
  }
}
