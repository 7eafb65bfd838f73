import type { NextcloudCredential } from '../auth-info.js'
import { anything, number } from '../config/kinds.js'
import { readOptions } from '../config/read-options.js'
import { ConfigurationError, NotProvisionedError } from '../errors/errors.js'
import type { McpAuth, Who } from '../mcp-auth.js'

/** Nextcloud as the user of the call, for a tool handler. */
export interface Nextcloud {
  /**
   * A Nextcloud token that is good when the handler starts. It may end while the handler runs, and `fetch` replaces it then. In
   * app-password mode there is none, and reading it throws a {@link ConfigurationError}: use `fetch` or `credential`.
   */
  readonly token: string
  /** The credential in any mode, for HTTP clients of your own: see `auth.getNextcloudCredential`. */
  readonly credential: NextcloudCredential
  /** `auth.nextcloudFetch` for this user. A call that the MCP client cancels ends its requests too. */
  readonly fetch: (
    path: Parameters<McpAuth['nextcloudFetch']>[1],
    init?: Parameters<McpAuth['nextcloudFetch']>[2],
  ) => Promise<Response>
  /** `auth.nextcloudUser` for this user: their id in Nextcloud, which DAV paths are built from. */
  readonly user: () => ReturnType<McpAuth['nextcloudUser']>
}

/** The part of a `Server` of an MCP SDK that knows its client. */
export interface ClientSide {
  getClientCapabilities(): object | undefined
  getClientVersion?(): { readonly name?: unknown } | undefined
  readonly transport?: unknown
}

/** The `McpServer` or the `Server` of an MCP SDK. */
export type McpServerLike = ClientSide | { readonly server: ClientSide }

/** Options of `withNextcloud`. */
export interface WithNextcloudOptions {
  /**
   * The `McpServer` or `Server` that serves the tool: it alone knows what a client of 2025-11-25 or older can do. Default none:
   * such a client gets the link as text.
   */
  readonly server?: McpServerLike | undefined
  /**
   * Milliseconds for the user to answer the client's question, and again from there to connect Nextcloud. Default 55,000, because
   * MCP SDK clients give up a request after 60 s and should hear of its outcome before that. At most 600,000, the life of a link.
   */
  readonly wait?: number | undefined
}

const OPTIONS = {
  server: { kind: anything },
  wait: { kind: number({ unit: 'milliseconds', most: 600_000 }), default: 55_000 },
}

/** @throws {ConfigurationError} an option is unknown or of the wrong type */
export function readToolOptions(options: WithNextcloudOptions): {
  readonly server: ClientSide | undefined
  readonly wait: number
} {
  const { wait } = readOptions(OPTIONS, options).values
  const { server } = options
  return { server: server === undefined ? undefined : lowLevelServer(server), wait }
}

/**
 * Returns the `Server` of an `McpServer`, or the one that it is given.
 *
 * @throws {ConfigurationError} it is neither
 */
export function lowLevelServer(given: McpServerLike): ClientSide {
  const whole = ((given as unknown) ?? {}) as { readonly server?: unknown }
  const server = (whole.server ?? whole) as Partial<ClientSide>
  if (typeof server.getClientCapabilities !== 'function') {
    throw new ConfigurationError('server must be the McpServer or Server of an MCP SDK', 'server')
  }
  return server as ClientSide
}

/** One call of a tool, which may take more than one attempt. */
export interface ToolCall<R> {
  /** The handler's result, or the refusal when the user must connect Nextcloud first. Other errors pass. */
  readonly attempt: () => Promise<Attempt<R>>
  /** Waits for the user's connection: see `auth.waitForConnection`. */
  readonly waitForConnection: (signal: AbortSignal) => Promise<boolean>
  /** Aborts when the client cancels the call. */
  readonly signal: AbortSignal
}

/** The outcome of an attempt. */
export type Attempt<R> =
  | { readonly result: R; readonly refusal?: undefined }
  | { readonly result?: undefined; readonly refusal: NotProvisionedError }

/**
 * @param of the call's `authInfo` and signal, milliseconds to wait, and what the client calls itself
 * @param run calls the handler
 */
export function createToolCall<R>(
  auth: McpAuth,
  of: {
    readonly who: Who | undefined
    readonly signal: AbortSignal
    readonly wait: number
    readonly callsItself: unknown
  },
  run: (nextcloud: Nextcloud) => R | Promise<R>,
): ToolCall<R> {
  const { who, signal, wait, callsItself } = of
  const fetch: Nextcloud['fetch'] = (path, init) => {
    const own = init?.signal ?? (path instanceof Request ? AbortSignal.any([path.signal, signal]) : signal)
    return auth.nextcloudFetch(who, path, { ...init, signal: own })
  }
  return {
    signal,
    async attempt() {
      try {
        const credential = await auth.getNextcloudCredential(who, { signal })
        return { result: await run(nextcloudOf(credential, { fetch, user: () => auth.nextcloudUser(who) })) }
      } catch (error) {
        if (!(error instanceof NotProvisionedError)) throw error
        if (error.connectUrl !== undefined) await auth.callsItself(error.connectUrl, callsItself)
        return { refusal: error }
      }
    },
    waitForConnection: (until) => auth.waitForConnection(who, wait, until),
  }
}

function nextcloudOf(credential: NextcloudCredential, ways: Pick<Nextcloud, 'fetch' | 'user'>): Nextcloud {
  const shown = { credential, ...ways }
  // A getter, because not every mode has one. Not enumerable, so that no logger, JSON or copy holds the token by accident.
  return Object.defineProperty(shown, 'token', { get: () => tokenIn(credential) }) as typeof shown &
    Pick<Nextcloud, 'token'>
}

function tokenIn(credential: NextcloudCredential): string {
  if (credential.type === 'bearer') return credential.token
  throw new ConfigurationError(
    'There is no nextcloud.token in app-password mode: use nextcloud.fetch or nextcloud.credential',
    'nextcloud.mode',
  )
}
