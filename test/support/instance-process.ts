import { systemClock, type Clock } from '../../src/clock.js'
import { McpAuthError, NotProvisionedError } from '../../src/errors/errors.js'
import type { StorageAdapter } from '../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from './grant-constants.js'
import type { FromChild, InstanceOptions, Order, Outcome, Point, ToChild, UserOutcome } from './instance-messages.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE } from './scripted-authorization-server.js'
import { openStore, type OpenStore } from './stores.js'

/** The program of a child process: instances of the middleware that do as they are told. See instances.ts. */

/** Milliseconds after which it ends, whatever becomes of its parent. */
const LONGEST_LIFE = 900_000

interface Pause {
  readonly reached: Promise<void>
  readonly go: () => void
}

interface RunningInstance {
  readonly carryOut: (order: Order) => unknown
}

async function openInstance(options: InstanceOptions): Promise<RunningInstance> {
  const { issuer, timeout = 5_000, wrongBy = 0 } = options
  let ahead = 0
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + ahead + wrongBy,
    monotonic: () => systemClock.monotonic() + ahead,
  }
  const store = await openStore(options.store)
  const { at, pause } = createPauses()
  let renewal: Promise<void> | undefined
  let renewed = (): void => undefined
  const auth = createMcpAuth(
    {
      issuer,
      resource: RESOURCE,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      storage: withPoints(store.adapter, at),
      encryptionKey: ENCRYPTION_KEY,
      nextcloud: { url: 'https://cloud.example.com', mode: options.mode },
      http: {
        timeout,
        fetch: (url, init) => {
          const send = (): Promise<Response> => fetch(url, init)
          return init.method === 'POST' ? at('request', send) : send()
        },
      },
      onEvent(event) {
        if (event.type === 'nextcloud.token' && event.source !== 'cache') renewed()
      },
    },
    clock,
  )
  let paused: Pause | undefined

  return {
    carryOut(order) {
      switch (order.do) {
        case 'call':
          return Promise.all(Array.from({ length: order.count }, () => call(auth, issuer, order.subject)))
        case 'exchange':
          return Promise.all(order.mcpTokens.map((mcpToken) => exchange(auth, mcpToken, order)))
        case 'revoke':
          return auth.revoke({ issuer, subject: order.subject })
        case 'advance':
          return void (ahead += order.ms)
        case 'pause':
          return void (paused = pause(order.at))
        case 'reach':
          return paused?.reached
        case 'go':
          return paused?.go()
        case 'await-renewal':
          return void (renewal = new Promise((resolve) => (renewed = resolve)))
        case 'renewal':
          return renewal
        case 'close':
          return close(auth, store)
        case 'open':
          throw new Error('It is open')
      }
    },
  }
}

async function close(auth: McpAuth, store: OpenStore): Promise<void> {
  await auth.close()
  await store.close()
}

/** A caller as a request with the MCP client's token has it, but for the token, which takes no part in a refresh. */
async function call(auth: McpAuth, issuer: string, subject: string): Promise<Outcome> {
  return outcomeOf(() => auth.getNextcloudToken({ issuer, subject, clientId: MCP_CLIENT }))
}

/** Callers with an MCP token. */
async function exchange(
  auth: McpAuth,
  mcpToken: string,
  { count, force }: { readonly count: number; readonly force: boolean },
): Promise<UserOutcome> {
  const { extra } = await auth.verify(mcpToken)
  const options = force ? { forceRefresh: true } : undefined
  const outcomes = await Promise.all(
    Array.from({ length: count }, () => outcomeOf(() => extra.getNextcloudToken(options))),
  )
  return {
    tokens: [...new Set(outcomes.flatMap(({ token }) => token ?? []))],
    failures: [...new Set(outcomes.flatMap(({ failure }) => failure ?? []))],
    ms: Math.max(...outcomes.map(({ ms }) => ms)),
  }
}

async function outcomeOf(call: () => Promise<string>): Promise<Outcome> {
  const start = performance.now()
  const since = (): number => Math.round(performance.now() - start)
  try {
    return { token: await call(), ms: since() }
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error
    const reason = error instanceof NotProvisionedError ? ` ${error.reason}` : ''
    return { failure: `${error.status} ${error.code}${reason}`, ms: since() }
  }
}

/** Stops the work of an instance where it is told to, for its parent to do its worst. */
function createPauses() {
  let point: Point | undefined
  let seen = 0
  let arrive = (): void => undefined
  let gate = Promise.resolve()

  async function pass(when: Point['when'], what: Point['what'], nth: number): Promise<void> {
    if (point?.when !== when || point.what !== what || point.nth !== nth) return
    point = undefined
    arrive()
    await gate
  }

  async function at<T>(what: Point['what'], work: () => Promise<T>): Promise<T> {
    const nth = point?.what === what ? (seen += 1) : 0
    await pass('before', what, nth)
    const result = await work()
    await pass('after', what, nth)
    return result
  }

  function pause(next: Point): Pause {
    point = next
    seen = 0
    let go = (): void => undefined
    gate = new Promise((resolve) => (go = resolve))
    const reached = new Promise<void>((resolve) => (arrive = resolve))
    return { reached, go }
  }

  return { at, pause }
}

function withPoints(adapter: StorageAdapter, at: ReturnType<typeof createPauses>['at']): StorageAdapter {
  return {
    shared: adapter.shared,
    get: (key) => at('get', () => adapter.get(key)),
    put: (key, value, expected, ttlMs) => at('put', () => adapter.put(key, value, expected, ttlMs)),
    delete: (key, expected) => at('delete', () => adapter.delete(key, expected)),
  }
}

const instances = new Map<number, RunningInstance>()

async function obey({ instance, order }: ToChild): Promise<unknown> {
  if (order.do === 'open') {
    instances.set(instance, await openInstance(order.options))
    return undefined
  }
  return instances.get(instance)?.carryOut(order)
}

process.on('message', (message: ToChild) => {
  const { id } = message
  const reply = (answer: FromChild): void => void process.send?.(answer)
  obey(message).then(
    (result) => reply({ id, result }),
    (error: unknown) => reply({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
process.on('disconnect', () => process.exit())
setTimeout(() => process.exit(), LONGEST_LIFE).unref()
process.send?.({ id: 0 } satisfies FromChild)
