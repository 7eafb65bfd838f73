import {
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  inputRequired,
  inputResponse,
  PROTOCOL_VERSION_META_KEY,
  UrlElicitationRequiredError,
  type CallToolResult,
  type InputRequiredResult,
  type ScopeChallenge,
  type ScopeChallengeHandler,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { advertisedScopes } from '../config/values.js'
import type { NotProvisionedError } from '../errors/errors.js'
import type { McpAuth } from '../mcp-auth.js'
import { answerRefusal, BEYOND_WAIT, elicitationOf, endingOf, lastAttempt } from './elicitation.js'
import { registeredTools, scopeTools, type RefusalOf, type ToolScopes } from './scoped-tools.js'
import { refusalResult, type RefusalResult } from './texts.js'
import {
  createToolCall,
  readToolOptions,
  type ClientSide,
  type McpServerLike,
  type Nextcloud,
  type ToolCall,
  type WithNextcloudOptions,
} from './tool-call.js'

export type { ToolScopes } from './scoped-tools.js'
export type { ClientSide, McpServerLike, Nextcloud, WithNextcloudOptions } from './tool-call.js'

/** The parameters of a tool handler in MCP SDK v2: first its arguments, where the tool has an input schema. */
export type ToolArguments = [ctx: ServerContext] | [args: unknown, ctx: ServerContext]

/** Names this package's question among the inputs that a call requires. */
const QUESTION = 'connect_nextcloud'

/**
 * A tool handler for MCP SDK v2 that reaches Nextcloud as the user of the call.
 *
 * `handler` gets one more argument, the last: `(args, ctx, nextcloud)`, or `(ctx, nextcloud)` for a tool without an input schema.
 * When the user must connect Nextcloud first ({@link NotProvisionedError}, also one that the handler throws), the client hears of
 * it in the way that it understands:
 *
 * - A client of 2026-07-28 whose request declares `elicitation.url` gets an input-required result. It sends the request again by
 *   itself, at once, with the user's answer. After `accept` that request waits until the user is connected, and then the handler
 *   runs.
 * - A client of 2025-11-25 or older on a server with sessions, or over stdio, that declared `elicitation.url` is asked within the
 *   call (`elicitation/create`). Where its transport answers in JSON, which has no place for a question, the call fails with
 *   `URLElicitationRequiredError` (-32042). Both take `server`.
 * - Any other client gets a text with `isError` that holds the link. So do clients of 2025-11-25 at `createMcpHandler`, which
 *   serves them without sessions and does not know what they declared.
 *
 * Declined, closed, or not done within `wait`: a text with `isError`. A user is asked once. Other errors pass unchanged.
 *
 * @param handler runs again after the user has connected, so what it does before it first needs Nextcloud may happen twice. Written
 *   in place, its parameters have their types from the tool; written apart, it names them all (`ctx` is a `ServerContext`)
 * @throws {ConfigurationError} an option is unknown or of the wrong type
 *
 * @example
 * server.registerTool(
 *   'read_note',
 *   { inputSchema: z.object({ id: z.number() }) },
 *   withNextcloud(auth, async ({ id }, ctx, nextcloud) => {
 *     const response = await nextcloud.fetch(`/index.php/apps/notes/api/v1/notes/${id}`)
 *     return { content: [{ type: 'text', text: await response.text() }] }
 *   }),
 * )
 */
export function withNextcloud<
  A extends ToolArguments = [ctx: ServerContext],
  R extends CallToolResult | InputRequiredResult = CallToolResult,
>(
  auth: McpAuth,
  handler: (...args: [...A, nextcloud: Nextcloud]) => R | Promise<R>,
  options: WithNextcloudOptions = {},
): (...args: A) => Promise<R | CallToolResult | InputRequiredResult> {
  const { server, wait } = readToolOptions(options)
  return async (...args) => {
    const ctx = args[args.length - 1] as ServerContext
    const { mcpReq } = ctx
    const { signal } = mcpReq
    const call = createToolCall(
      auth,
      { who: ctx.http?.authInfo, signal, wait, callsItself: nameOfClient(ctx, server) },
      (nextcloud) => handler(...args, nextcloud),
    )
    const { result, refusal } = await call.attempt()
    if (refusal === undefined) return result
    if (isPerRequest(ctx)) return answerPerRequest(call, refusal, mcpReq)
    return answerRefusal(call, refusal, {
      server,
      // Over HTTP only a session leads the client's answer back to the server that asked.
      canAsk: ctx.sessionId !== undefined || ctx.http?.req === undefined,
      ask: (params, until) =>
        mcpReq.send(
          { method: 'elicitation/create', params: { ...params } },
          { signal: until, timeout: wait + BEYOND_WAIT },
        ),
      UrlElicitationRequiredError,
    })
  }
}

/** Returns what the client calls itself: in the request itself (2026-07-28), or when its session began. */
function nameOfClient({ mcpReq: { envelope } }: ServerContext, server: ClientSide | undefined): unknown {
  const { [CLIENT_INFO_META_KEY]: info } = (envelope ?? {}) as { readonly [key: string]: unknown }
  return (info as { readonly name?: unknown } | null | undefined)?.name ?? server?.getClientVersion?.()?.name
}

/** Whether the request itself says which revision it speaks and what its client can do: 2026-07-28. */
function isPerRequest({ mcpReq }: ServerContext): boolean {
  return mcpReq.envelope !== undefined && PROTOCOL_VERSION_META_KEY in mcpReq.envelope
}

/** Asks for the user's answer, or goes on with it as far as it says. */
async function answerPerRequest<R>(
  call: ToolCall<R>,
  refusal: NotProvisionedError,
  { envelope, inputResponses, droppedInputResponseKeys, signal }: ServerContext['mcpReq'],
): Promise<R | RefusalResult | InputRequiredResult> {
  const { [CLIENT_CAPABILITIES_META_KEY]: capabilities } = envelope as Readonly<Record<string, unknown>>
  const elicitation = elicitationOf(refusal, capabilities)
  if (elicitation === undefined) return refusalResult(refusal)
  // An answer that cannot be read counts too, because the client would give it again.
  const wasAsked =
    Object.hasOwn(inputResponses ?? {}, QUESTION) || droppedInputResponseKeys?.includes(QUESTION) === true
  if (!wasAsked) {
    const { message, url } = elicitation
    return inputRequired({ inputRequests: { [QUESTION]: inputRequired.elicitUrl({ message, url }) } })
  }
  const answer = inputResponse(inputResponses, QUESTION)
  const action = answer.kind === 'elicit' ? answer.action : 'failed'
  if (action !== 'accept') return refusalResult(refusal, endingOf(action))
  // The client would ask again at once, ten times in a blink: the wait is here.
  return (await call.waitForConnection(signal)) ? lastAttempt(call) : refusalResult(refusal, 'late')
}

/**
 * Gives the tools of a server scopes: a call needs all scopes of its tool, and `tools/list` shows what the caller's access token may call. It
 * is called once for a server, before or after the tools are registered. A tool that is not named is free. `scopeSatisfies` of the
 * middleware says which scope includes another.
 *
 * A call without its scopes is a 403 `insufficient_scope` over Streamable HTTP, whose challenge names all of them (`scopeChallenge` of the SDK,
 * from 2.1 on), so that the client asks its user for more and calls again. A batch gets the challenge of its first such call. Elsewhere it gets a
 * text with `isError` that names them. A call without the middleware before it, over stdio say, has no scopes. For clients in browsers, expose
 * `WWW-Authenticate` in your CORS handler, because the answer is the SDK's.
 *
 * @param server the `McpServer`, or a `Server` with handlers of your own, whose pages of a list are filtered one by one. At
 *   `createMcpHandler`, a `Server` of your own gives texts
 * @param tools the scopes of each tool, one at least. When an `McpServer` is connected it must have a tool of each name
 * @throws {ConfigurationError} the scopes are malformed, or the server has some already. `connect()` rejects with it when a tool is unknown
 *
 * @example
 * scopedTools(auth, server, { read_note: ['notes:read'], write_note: ['notes:read', 'notes:write'] })
 */
export function scopedTools(auth: McpAuth, server: McpServerLike, tools: ToolScopes): void {
  const whole = server as { resolveScopeChallenge?: ScopeChallengeHandler } | undefined
  const own = whole?.resolveScopeChallenge
  const refusalOf = scopeTools<ServerContext>(auth, server, tools, {
    callerOf: ({ http }) => http?.authInfo,
    // A list for one token is not for a cache that others share.
    listMembers: (ctx) => (isPerRequest(ctx) ? { cacheScope: 'private' } : {}),
    onConnect: (transport, refusalOf) => {
      if (own === undefined) challengeAt(transport, challengeBy(refusalOf))
    },
  })
  if (whole === undefined || own === undefined) return
  const isThere = (name: unknown): boolean =>
    typeof name === 'string' && registeredTools(server)?.[name]?.enabled === true
  const challenge = challengeBy((name, caller) => (isThere(name) ? refusalOf(name, caller) : undefined))
  whole.resolveScopeChallenge = (context) => challenge(context) ?? own(context)
}

/** Returns the look at a request before its HTTP answer begins. Without a token the call itself is refused: there is nothing to step up from. */
function challengeBy(refusalOf: RefusalOf): (...of: Parameters<ScopeChallengeHandler>) => ScopeChallenge | undefined {
  return ({ request, authInfo }) => {
    if (request.method !== 'tools/call' || authInfo === undefined) return undefined
    const refusal = refusalOf(request.params?.['name'], authInfo)
    if (refusal === undefined) return undefined
    const [first, ...others] = advertisedScopes(refusal.requiredScopes)
    if (first === undefined) return undefined
    return { scopes: [first, ...others], errorDescription: refusal.body.error_description }
  }
}

/** A transport over which a challenge can be answered, with the private parts of it and of the one within it. */
interface ChallengingTransport {
  setScopeChallengeResolver?: (resolver: ScopeChallengeHandler) => void
  readonly _scopeChallengeResolver?: ScopeChallengeHandler
  readonly _webStandardTransport?: ChallengingTransport
}

/** Has a transport ask, beside the resolver of an `McpServer` that it may have already. */
function challengeAt(transport: ChallengingTransport, challenge: ReturnType<typeof challengeBy>): void {
  const { _scopeChallengeResolver: own } = transport._webStandardTransport ?? transport
  transport.setScopeChallengeResolver?.((context) => challenge(context) ?? own?.(context))
}
