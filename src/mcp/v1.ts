import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js'
import {
  ElicitResultSchema,
  UrlElicitationRequiredError,
  type CallToolResult,
  type ServerNotification,
  type ServerRequest,
} from '@modelcontextprotocol/sdk/types.js'
import type { McpAuth } from '../mcp-auth.js'
import { answersInJson, askWithinCall, declaresUrlElicitation, elicitationOf, type Ask } from './elicitation.js'
import { instructions, refusalResult } from './texts.js'
import { createToolCall, readToolOptions, type Nextcloud, type WithNextcloudOptions } from './tool-call.js'

export type { ClientSide, Nextcloud, WithNextcloudOptions } from './tool-call.js'

/** What MCP SDK v1 tells a tool handler about its call. */
export type ToolExtra = RequestHandlerExtra<ServerRequest, ServerNotification>

/** What MCP SDK v1 calls a tool handler with: first its arguments, where the tool has an input schema. */
export type ToolArguments = [extra: ToolExtra] | [args: unknown, extra: ToolExtra]

/** Milliseconds beyond `wait` after which the SDK gives up a question by itself; this package's clock comes first. */
const BEYOND_WAIT = 60_000

/**
 * A tool handler for MCP SDK v1 (2025-11-25 and older) that reaches Nextcloud as the user of the call.
 *
 * `handler` gets one more argument, the last: `(args, extra, nextcloud)`, or `(extra, nextcloud)` for a tool without an input
 * schema. When the user has to connect Nextcloud first ({@link NotProvisionedError}, also one that the handler throws), the client
 * hears of it in the way that it understands:
 *
 * - It declared `elicitation.url` and can be asked within the call, on a stream of a session or over stdio: it is asked there
 *   (`elicitation/create`). As soon as the user is connected, the handler runs, from its start, and its result is that of this very
 *   call. That is preferred to the error below because the model need not call the tool a second time.
 * - It declared `elicitation.url` but a question would not arrive, or its answer would not come back here (JSON responses, no
 *   session): the call fails with the error that is made for this, `URLElicitationRequiredError` (-32042), and the client calls again.
 * - Else the result is a text with `isError` that holds the link. So it is without `server`, and on a server without sessions,
 *   which does not know what its client declared.
 *
 * Declined, closed, or not done within `wait`: a text with `isError`; a call asks once. Other errors pass unchanged.
 *
 * @param handler runs anew after the user has connected, so what it does before it first needs Nextcloud may happen twice. Written
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
    const call = createToolCall(auth, extra.authInfo, extra.signal, wait, (nextcloud) => handler(...args, nextcloud))
    const { result, refusal } = await call.attempt()
    if (refusal === undefined) return result
    const elicitation = elicitationOf(refusal)
    if (elicitation === undefined || server === undefined || !declaresUrlElicitation(server.getClientCapabilities()))
      return refusalResult(refusal)
    if (!canAsk(extra) || answersInJson(server.transport)) {
      throw new UrlElicitationRequiredError([elicitation], instructions(refusal))
    }
    const ask: Ask = (params, signal) =>
      extra.sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema, {
        signal,
        timeout: wait + BEYOND_WAIT,
      })
    return askWithinCall(call, refusal, server, elicitation, ask)
  }
}

/** Over HTTP only a session leads the client's answer back to the server that asked. */
function canAsk({ sessionId, requestInfo }: ToolExtra): boolean {
  return sessionId !== undefined || requestInfo === undefined
}
