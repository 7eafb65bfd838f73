import {
  CLIENT_CAPABILITIES_META_KEY,
  inputRequired,
  inputResponse,
  PROTOCOL_VERSION_META_KEY,
  UrlElicitationRequiredError,
  type CallToolResult,
  type InputRequiredResult,
  type ServerContext,
} from '@modelcontextprotocol/server'
import type { McpAuth } from '../mcp-auth.js'
import {
  answersInJson,
  askWithinCall,
  declaresUrlElicitation,
  elicitationOf,
  endingOf,
  lastAttempt,
  type Ask,
} from './elicitation.js'
import { instructions, refusalResult } from './texts.js'
import { createToolCall, readToolOptions, type Nextcloud, type WithNextcloudOptions } from './tool-call.js'

export type { ClientSide, Nextcloud, WithNextcloudOptions } from './tool-call.js'

/** What MCP SDK v2 calls a tool handler with: first its arguments, where the tool has an input schema. */
export type ToolArguments = [ctx: ServerContext] | [args: unknown, ctx: ServerContext]

/** Names this package's question among the inputs that a call requires. */
const QUESTION = 'connect_nextcloud'
/** Milliseconds beyond `wait` after which the SDK gives up a question by itself; this package's clock comes first. */
const BEYOND_WAIT = 60_000

/**
 * A tool handler for MCP SDK v2 that reaches Nextcloud as the user of the call.
 *
 * `handler` gets one more argument, the last: `(args, ctx, nextcloud)`, or `(ctx, nextcloud)` for a tool without an input schema.
 * When the user has to connect Nextcloud first ({@link NotProvisionedError}, also one that the handler throws), the client hears of
 * it in the way that it understands:
 *
 * - A client of 2026-07-28 whose request declares `elicitation.url` gets an input-required result. It sends the request again by
 *   itself, at once, with the user's answer; after `accept` that request waits until the user is connected, and then the handler
 *   runs.
 * - A client of 2025-11-25 or older on a server with sessions, or over stdio, that declared `elicitation.url` is asked within the
 *   call (`elicitation/create`); where its transport answers in JSON, which has no place for a question, the call fails with
 *   `URLElicitationRequiredError` (-32042). That takes `server`.
 * - Else the result is a text with `isError` that holds the link. So it is for clients of 2025-11-25 at `createMcpHandler`, which
 *   serves them without sessions and does not know what they declared.
 *
 * Declined, closed, or not done within `wait`: a text with `isError`; a user is asked once. Other errors pass unchanged.
 *
 * @param handler runs anew after the user has connected, so what it does before it first needs Nextcloud may happen twice. Written
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
    const call = createToolCall(auth, ctx.http?.authInfo, mcpReq.signal, wait, (nextcloud) =>
      handler(...args, nextcloud),
    )
    const { result, refusal } = await call.attempt()
    if (refusal === undefined) return result
    const elicitation = elicitationOf(refusal)
    const capabilities = declaredCapabilities(ctx, server?.getClientCapabilities())
    if (elicitation === undefined || !declaresUrlElicitation(capabilities)) return refusalResult(refusal)

    if (isPerRequest(ctx)) {
      const { message, url } = elicitation
      if (!wasAsked(mcpReq)) {
        return inputRequired({ inputRequests: { [QUESTION]: inputRequired.elicitUrl({ message, url }) } })
      }
      const answer = inputResponse(mcpReq.inputResponses, QUESTION)
      const action = answer.kind === 'elicit' ? answer.action : 'failed'
      if (action !== 'accept') return refusalResult(refusal, endingOf(action))
      // The client asks again at once, and would do so ten times in a blink: the wait is here.
      return (await call.waitForConnection(mcpReq.signal)) ? lastAttempt(call) : refusalResult(refusal, 'late')
    }

    if (server === undefined) return refusalResult(refusal)
    if (!canAsk(ctx) || answersInJson(server.transport)) {
      throw new UrlElicitationRequiredError([elicitation], instructions(refusal))
    }
    const ask: Ask = (params, signal) =>
      mcpReq.send({ method: 'elicitation/create', params: { ...params } }, { signal, timeout: wait + BEYOND_WAIT })
    return askWithinCall(call, refusal, server, elicitation, ask)
  }
}

/** 2026-07-28: each request says for itself which revision it speaks and what its client can do. */
function isPerRequest({ mcpReq }: ServerContext): boolean {
  return mcpReq.envelope !== undefined && PROTOCOL_VERSION_META_KEY in mcpReq.envelope
}

function declaredCapabilities(ctx: ServerContext, atInitialization: object | undefined): unknown {
  if (!isPerRequest(ctx)) return atInitialization
  return (ctx.mcpReq.envelope as Readonly<Record<string, unknown>>)[CLIENT_CAPABILITIES_META_KEY]
}

/** Also with an answer that cannot be read, since a client that gave one would give it again. */
function wasAsked({ inputResponses, droppedInputResponseKeys }: ServerContext['mcpReq']): boolean {
  return Object.hasOwn(inputResponses ?? {}, QUESTION) || droppedInputResponseKeys?.includes(QUESTION) === true
}

/** Over HTTP only a session leads the client's answer back to the server that asked. */
function canAsk({ sessionId, http }: ServerContext): boolean {
  return sessionId !== undefined || http?.req === undefined
}
