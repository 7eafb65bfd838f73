import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import type { Surroundings } from '../../../src/cli/command-line.js'
import { doctor } from '../../../src/cli/doctor/doctor.js'
import { serve } from '../../../src/cli/serve.js'
import { fresh } from '../../../src/testing/nextcloud/exchange.js'
import { callCommand, stoppableBy } from '../../support/command.js'
import { startStandIn } from '../../support/nextcloud/stand-in.js'
import { ACCOUNT_PASSWORD, addAccount } from '../../support/nextcloud/state.js'
import { createVisitor } from '../../support/nextcloud/visitor.js'
import { until } from '../../support/promises.js'

const NEVER = stoppableBy(() => false)()

type Variables = Readonly<Record<string, string>>

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
  const running: (() => Promise<unknown>)[] = []
  onTestFinished(async () => {
    for (const stop of running) await stop()
    await nextcloud.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const environment = (other: Variables) => ({
    NEXTCLOUD_MCP_SERVER_URL: `${origin}/mcp`,
    NEXTCLOUD_HOST: nextcloud.url,
    NEXTCLOUD_OIDC_CLIENT_ID: clientId,
    NEXTCLOUD_OIDC_CLIENT_SECRET: secret,
    PORT: new URL(origin).port,
    ...other,
  })
  const run = (
    command: typeof serve,
    args: readonly string[],
    { variables = {}, ...more }: Partial<Surroundings> & { readonly variables?: Variables | undefined },
  ) => {
    const told = { output: '', isOver: false }
    const tell = (text: string): unknown => (told.output += text)
    const surroundings = {
      environment: environment(variables),
      directory: folder,
      print: tell,
      complain: tell,
      ...more,
    }
    const ended = callCommand(command, args, surroundings).then(({ status }) => {
      told.isOver = true
      return status
    })
    return { told, ended }
  }
  return {
    folder,
    nextcloud,
    origin,
    clientId,
    secret,
    /** Runs `serve` to its end. */
    ended: async (variables?: Variables) => {
      const { told, ended } = run(serve, [], { variables })
      return { code: await ended, output: told.output }
    },
    /** Runs `serve` until it has said all that it says at the start. */
    started: async (variables?: Variables) => {
      const signals = new EventEmitter()
      const stoppable = () => ({ ...NEVER, stopped: once(signals, 'stop').then(() => undefined) })
      const { told, ended } = run(serve, [], { variables, stoppable })
      const stop = () => {
        signals.emit('stop')
        return ended
      }
      running.push(stop)
      await until(() => told.isOver || told.output.includes('Listening on'))
      if (!told.output.includes('Listening on')) throw new Error(`It does not start: ${told.output}`)
      return Object.assign(told, { stop })
    },
    doctor: async (variables?: Variables) => {
      const { told, ended } = run(doctor, ['--serve', '--json'], { variables })
      const code = await ended
      const { checks } = (code === 2 ? { checks: [] } : JSON.parse(told.output)) as { checks: readonly Finding[] }
      return { code, checks, words: told.output, of: (id: string) => checks.find((check) => check.id === id) }
    },
    /** What a person sees of it. */
    doctorLines: async (variables?: Variables) => {
      const { told, ended } = run(doctor, ['--serve'], { variables })
      await ended
      return told.output.trimEnd().split('\n')
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
