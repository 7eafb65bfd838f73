import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { systemClock } from '../../src/clock.js'
import type { McpAuthEvent } from '../../src/index.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import { createNextcloudSignIn } from '../../src/nextcloud-sign-in/nextcloud-sign-in.js'
import { ENCRYPTION_KEY } from './grant-constants.js'
import { openStore } from './stores.js'

/** The program of a child process: a server where people sign in with their Nextcloud, as `SIGN_IN` in its environment says. */

/** Milliseconds after which it ends, whatever becomes of its parent. */
const LONGEST_LIFE = 300_000

export interface SignInProcessOptions {
  /** An SQLite file. */
  readonly file: string
  readonly nextcloud: { readonly url: string; readonly clientId: string; readonly clientSecret: string }
  /** The public origin. Default: that of this process. */
  readonly origin?: string
  /** Milliseconds by which its clock is ahead. */
  readonly ahead?: number
}

export type FromSignInProcess = { readonly listening: string } | { readonly event: McpAuthEvent }

const { file, nextcloud, origin, ahead = 0 } = JSON.parse(process.env['SIGN_IN'] ?? '{}') as SignInProcessOptions
const send = (message: FromSignInProcess): void => void process.send?.(message)

async function run(): Promise<void> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const own = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const clock = {
    ...systemClock,
    now: () => systemClock.now() + ahead,
    monotonic: () => systemClock.monotonic() + ahead,
  }
  const { adapter } = await openStore({ kind: 'SQLite', file })
  const signIn = await createNextcloudSignIn(
    {
      resource: `${origin ?? own}/mcp`,
      nextcloud,
      storage: adapter,
      encryptionKey: ENCRYPTION_KEY,
      onEvent: (event) => send({ event }),
    },
    clock,
  )
  const auth = createMcpAuth(signIn.options, clock)
  const routes = [signIn.routes(), auth.routes()]
  server.on('request', (req, res) => {
    const [first, second] = routes
    first?.(req, res, () => second?.(req, res, () => res.writeHead(404).end()))
  })
  await auth.ready()
  send({ listening: own })
}

process.on('disconnect', () => process.exit())
setTimeout(() => process.exit(), LONGEST_LIFE).unref()
void run()
