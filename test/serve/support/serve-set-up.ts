import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { fresh } from '../../../src/testing/nextcloud/exchange.js'
import { startStandIn } from '../../support/nextcloud/stand-in.js'
import { ACCOUNT_PASSWORD, addAccount } from '../../support/nextcloud/state.js'
import { createVisitor } from '../../support/nextcloud/visitor.js'

const CLI = path.resolve(import.meta.dirname, '../../../dist/cli/main.js')
/** Milliseconds. */
const PATIENCE = 60_000

/** A finding of the doctor. */
export interface Finding {
  readonly id: string
  readonly status: string
  readonly found: string
  readonly fix?: string
}

/** A folder, a Nextcloud that knows a client, and the variables that lead `serve` to it. */
export async function serveSetUp({ redirectUri = (origin: string) => `${origin}/nextcloud/callback` } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'serve-'))
  const nextcloud = await startStandIn()
  const origin = await freeOrigin()
  const [clientId, secret] = [fresh(64), fresh(64)]
  const redirectUris = [redirectUri(origin)]
  nextcloud.state.oauth2Clients.push({ id: nextcloud.state.nextId(), name: 'MCP', clientId, secret, redirectUris })
  addAccount(nextcloud.state, 'anna')
  const children: ChildProcess[] = []
  onTestFinished(async () => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await nextcloud.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const environment = (other: Readonly<Record<string, string>>) => ({
    PATH: process.env['PATH'] ?? '',
    NEXTCLOUD_MCP_SERVER_URL: `${origin}/mcp`,
    NEXTCLOUD_HOST: nextcloud.url,
    NEXTCLOUD_OIDC_CLIENT_ID: clientId,
    NEXTCLOUD_OIDC_CLIENT_SECRET: secret,
    PORT: new URL(origin).port,
    ...other,
  })
  const run = (args: readonly string[], other: Readonly<Record<string, string>> = {}) => {
    const child = spawn(process.execPath, [CLI, ...args], { cwd: folder, env: environment(other) })
    children.push(child)
    const told = { output: '' }
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (told.output += String(data)))
    return { child, told }
  }
  return {
    folder,
    nextcloud,
    origin,
    clientId,
    secret,
    /** Runs a command to its end. */
    ended: async (args: readonly string[], other?: Readonly<Record<string, string>>) => {
      const { child, told } = run(args, other)
      const [code] = (await once(child, 'close')) as [number]
      return { code, output: told.output }
    },
    /** Runs `serve` until it has said all that it says at the start. */
    started: async (other?: Readonly<Record<string, string>>) => {
      const { child, told } = run(['serve'], other)
      const deadline = Date.now() + PATIENCE
      while (!told.output.includes('Listening on') && child.exitCode === null && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      if (!told.output.includes('Listening on')) throw new Error(`It does not start: ${told.output}`)
      const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
        child.kill(signal)
        await once(child, 'exit')
      }
      return Object.assign(told, { stop })
    },
    doctor: async (other?: Readonly<Record<string, string>>) => {
      const { child, told } = run(['doctor', '--serve', '--json'], other)
      await once(child, 'close')
      const { checks } = JSON.parse(told.output) as { checks: readonly Finding[] }
      return { checks, words: told.output, of: (id: string) => checks.find((check) => check.id === id) }
    },
    visitor: () => createVisitor({ name: 'anna', password: ACCOUNT_PASSWORD }),
  }
}

async function freeOrigin(): Promise<string> {
  const held = createServer().listen(0, '127.0.0.1')
  await once(held, 'listening')
  const { port } = held.address() as AddressInfo
  held.close()
  await once(held, 'close')
  return `http://127.0.0.1:${port}`
}
