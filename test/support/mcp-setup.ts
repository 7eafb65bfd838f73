import { setImmediate } from 'node:timers/promises'
import { NotProvisionedError, type ConnectLink, type McpAuth, type McpAuthOptions } from '../../src/index.js'
import { mcpClients, type McpClient, type McpClientKind, type McpClientOptions } from './mcp-clients.js'
import { startMcpServer, type McpServerKind, type ToolSetup } from './mcp-servers.js'
import { world, type Keeping, type World } from './world.js'

/** A server of some kind, in refresh-token mode, whose clients are told to connect on one link. */
export interface McpSetup {
  readonly grants: World & Keeping
  readonly auth: McpAuth
  readonly link: ConnectLink
  /** Every Nextcloud token that a tool had. */
  readonly tokens: string[]
  /** The client of a user; alice unless another is named. */
  readonly client: (
    kind: McpClientKind,
    options?: Partial<McpClientOptions> & { readonly subject?: string },
  ) => Promise<McpClient>
  /** The user connects Nextcloud, in this process. */
  readonly connect: () => Promise<void>
  /** The user connects Nextcloud at another instance, of which this process hears nothing. */
  readonly connectElsewhere: () => Promise<void>
  /** Every wait for a connection since the start. */
  readonly waits: Promise<boolean>[]
  /** Resolves when so many of them have begun. */
  readonly waitsBegun: (count: number) => Promise<void>
  /** Moves the clock on in steps of `ms`, while a call waits for the user, until the promise has settled; what it came to. */
  readonly advancing: <T>(promise: Promise<T>, ms: number) => Promise<T>
}

export interface McpSetupOptions extends Partial<Omit<ToolSetup, 'auth'>> {
  readonly auth?: McpAuthOptions
  /** Whether refusals have a link. Default true. */
  readonly links?: boolean
}

export async function setUpMcp(kind: McpServerKind, options: McpSetupOptions = {}): Promise<McpSetup> {
  const { links = true, auth: authOptions, body, ...toolOptions } = options
  const grants = await world({ mode: 'refresh-token' })
  const link = {
    connectUrl: 'https://mcp.example.com/nextcloud/connect?ticket=the-ticket',
    elicitationId: 'elicitation-1',
    expiresAt: Math.floor(grants.clock.now() / 1_000) + 600,
  }
  const waits: Promise<boolean>[] = []
  let expected: { readonly count: number; readonly resolve: () => void } | undefined
  let waiting = 0
  const auth = standIn(grants.open(authOptions), links ? link : undefined, (wait) => {
    waits.push(wait)
    waiting += 1
    void wait.finally(() => (waiting -= 1))
    if (expected !== undefined && waits.length >= expected.count) expected.resolve()
  })
  const tokens: string[] = []
  const url = await startMcpServer(kind, {
    ...toolOptions,
    auth,
    body(nextcloud, id) {
      tokens.push(nextcloud.token)
      return body === undefined ? `note ${id ?? 'list'}` : body(nextcloud, id)
    },
  })
  const alice = { issuer: grants.as.issuer, subject: 'alice' }
  const connectElsewhere = async (): Promise<void> => {
    await grants.connect()
  }
  return {
    grants,
    auth,
    link,
    tokens,
    client: async (clientKind, { subject = 'alice', ...more } = {}) =>
      mcpClients[clientKind]({ url, token: await grants.as.mint({ sub: subject }), ...more }),
    connectElsewhere,
    async connect() {
      await connectElsewhere()
      auth.onConnected(alice)
    },
    waits,
    waitsBegun: (count) =>
      new Promise((resolve) => {
        expected = { count, resolve }
        if (waits.length >= count) resolve()
      }),
    async advancing(promise, ms) {
      const progress = { settled: false }
      const done = (): void => {
        progress.settled = true
      }
      promise.then(done, done)
      while (!progress.settled) {
        // The looks at the store and the messages in between take their turns.
        for (let turn = 0; turn < 50; turn += 1) await setImmediate()
        // What does not wait for the user takes no time: a store or a server that is asked meanwhile must not seem slow.
        if (waiting > 0) grants.clock.advance(ms)
      }
      return promise
    },
  }
}

/** The middleware with the links that the connect pages give to refusals, and with an ear for waits. */
function standIn(auth: McpAuth, link: ConnectLink | undefined, onWait: (wait: Promise<boolean>) => void): McpAuth {
  const withLink = async <T>(outcome: Promise<T>): Promise<T> => {
    try {
      return await outcome
    } catch (error) {
      throw error instanceof NotProvisionedError ? new NotProvisionedError(error.reason, link) : error
    }
  }
  const same: McpAuth = Object.assign((...args: Parameters<McpAuth>) => auth(...args), auth)
  return Object.assign(same, {
    getNextcloudToken: (...args: Parameters<McpAuth['getNextcloudToken']>) => withLink(auth.getNextcloudToken(...args)),
    getNextcloudCredential: (...args: Parameters<McpAuth['getNextcloudCredential']>) =>
      withLink(auth.getNextcloudCredential(...args)),
    nextcloudFetch: (...args: Parameters<McpAuth['nextcloudFetch']>) => withLink(auth.nextcloudFetch(...args)),
    waitForConnection(...args: Parameters<McpAuth['waitForConnection']>) {
      const waiting = auth.waitForConnection(...args)
      onWait(waiting)
      return waiting
    },
  })
}

/** How often a tool was called, among messages as they were on the wire. */
export function toolCalls(sent: readonly string[]): number {
  return sent.filter((message) => message.includes('"method":"tools/call"')).length
}
