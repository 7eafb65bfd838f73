import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js'
import {
  ElicitResultSchema,
  UrlElicitationRequiredError,
  type CallToolResult,
  type ServerNotification,
  type ServerRequest,
} from '@modelcontextprotocol/sdk/types.js'
import type { McpAuth } from '../mcp-auth.js'
import { answerRefusal, BEYOND_WAIT } from './elicitation.js'
import { scopeTools, type ToolScopes } from './scoped-tools.js'
import {
  createToolCall,
  readToolOptions,
  type McpServerLike,
  type Nextcloud,
  type WithNextcloudOptions,
} from './tool-call.js'

export type { ToolScopes } from './scoped-tools.js'
export type { ClientSide, McpServerLike, Nextcloud, WithNextcloudOptions } from './tool-call.js'

/** The call, as MCP SDK v1 describes it to a tool handler. */
export type ToolExtra = RequestHandlerExtra<ServerRequest, ServerNotification>

/** The parameters of a tool handler in MCP SDK v1: first its arguments, where the tool has an input schema. */
export type ToolArguments = [extra: ToolExtra] | [args: unknown, extra: ToolExtra]

/**
 * A tool handler for MCP SDK v1 (2025-11-25 and older) that reaches Nextcloud as the user of the call.
 *
 * `handler` gets one more argument, the last: `(args, extra, nextcloud)`, or `(extra, nextcloud)` for a tool without an input
 * schema. When the user must connect Nextcloud first ({@link NotProvisionedError}, also one that the handler throws), the client
 * hears of it in the way that it understands:
 *
 * - A client that declared `elicitation.url` and can be asked within the call, on a stream of a session or over stdio, is asked
 *   there (`elicitation/create`). As soon as the user is connected, the handler runs from its start, and its result is that of the
 *   same call. This is preferred to the error below because the model need not call the tool a second time.
 * - If such a client would not get the question, or its answer would not come back here (JSON responses, no session), the call
 *   fails with the error for this case, `URLElicitationRequiredError` (-32042), and the client calls again.
 * - Any other client gets a text with `isError` that holds the link. So does every client without `server`, and on a server
 *   without sessions, which does not know what its client declared.
 *
 * Declined, closed, or not done within `wait`: a text with `isError`. A call asks once. Other errors pass unchanged.
 *
 * @param handler runs again after the user has connected, so what it does before it first needs Nextcloud may happen twice. Written
 *   in place, its parameters have their types from the tool; written apart, it names them all (`extra` is a {@link ToolExtra})
 * @throws {ConfigurationError} an option is unknown or of the wrong type
 *
 * @example
 * server.registerTool(
 *   'read_note',
 *   { inputSchema: { id: z.number() } },
 *   withNextcloud(
 *     auth,
 *     async ({ id }, extra, nextcloud) => {
 *       const response = await nextcloud.fetch(`/index.php/apps/notes/api/v1/notes/${id}`)
 *       return { content: [{ type: 'text', text: await response.text() }] }
 *     },
 *     { server },
 *   ),
 * )
 */
export function withNextcloud<A extends ToolArguments = [extra: ToolExtra], R extends CallToolResult = CallToolResult>(
  auth: McpAuth,
  handler: (...args: [...A, nextcloud: Nextcloud]) => R | Promise<R>,
  options: WithNextcloudOptions = {},
): (...args: A) => Promise<R | CallToolResult> {
  const { server, wait } = readToolOptions(options)
  return async (...args) => {
    const extra = args[args.length - 1] as ToolExtra
    const { authInfo: who, signal } = extra
    const call = createToolCall(
      auth,
      { who, signal, wait, callsItself: server?.getClientVersion?.()?.name },
      (nextcloud) => handler(...args, nextcloud),
    )
    const { result, refusal } = await call.attempt()
    if (refusal === undefined) return result
    return answerRefusal(call, refusal, {
      server,
      // Over HTTP only a session leads the client's answer back to the server that asked.
      canAsk: extra.sessionId !== undefined || extra.requestInfo === undefined,
      ask: (params, until) =>
        extra.sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema, {
          signal: until,
          timeout: wait + BEYOND_WAIT,
        }),
      UrlElicitationRequiredError,
    })
  }
}

/**
 * Gives the tools of a server scopes: a call needs all scopes of its tool, and `tools/list` shows what the caller's access token may call. It
 * is called once for a server, before or after the tools are registered. A tool that is not named is free. `scopeSatisfies` of the
 * middleware says which scope includes another.
 *
 * A call without its scopes gets a text with `isError` that names them: MCP SDK v1 answers a call only after its HTTP answer has begun. For a
 * 403, with which a client asks its user for more, put `auth.requireScopes` before the transport. A call without the middleware before it, over
 * stdio say, has no scopes.
 *
 * @param server the `McpServer`, or a `Server` with handlers of your own, whose pages of a list are filtered one by one
 * @param tools the scopes of each tool, one at least. When an `McpServer` is connected it must have a tool of each name
 * @throws {ConfigurationError} the scopes are malformed, or the server has some already. `connect()` rejects with it when a tool is unknown
 *
 * @example
 * scopedTools(auth, server, { read_note: ['notes:read'], write_note: ['notes:read', 'notes:write'] })
 */
export function scopedTools(auth: McpAuth, server: McpServerLike, tools: ToolScopes): void {
  scopeTools<ToolExtra>(auth, server, tools, {
    callerOf: ({ authInfo }) => authInfo,
    listMembers: () => ({}),
    onConnect: () => undefined,
  })
}
