import type { McpAuthInfo } from '../auth-info.js'
import { isPlainObject, isScopeToken, nearName } from '../config/values.js'
import { ConfigurationError, type InsufficientScopeError } from '../errors/errors.js'
import type { McpAuth } from '../mcp-auth.js'
import { scopeResult } from './texts.js'
import { lowLevelServer, type ClientSide, type McpServerLike } from './tool-call.js'

/** The scopes that a tool needs, all of them, by the name of the tool. */
export type ToolScopes = Readonly<Record<string, readonly string[]>>

/** The caller of a request, as the SDK hands it on. */
export type ToolCaller = Partial<Pick<McpAuthInfo, 'scopes'>> | undefined

/** A request as it came, of which nothing is checked yet. */
interface RawRequest {
  readonly method: string
  readonly params?: { readonly name?: unknown } | undefined
}

type Handler<E> = (request: RawRequest, extra: E) => unknown

/** The `Server` of an SDK with its private parts, because no public one leads to the handlers that are there. */
interface Dispatcher<E> extends ClientSide {
  connect: (transport: object) => Promise<void>
  readonly fallbackRequestHandler?: Handler<E> | undefined
  readonly _requestHandlers?: unknown
}

/** The parts in which the SDKs differ. */
export interface OfSdk<E> {
  readonly callerOf: (extra: E) => ToolCaller
  /** Members of the list of tools, which is another one for each token. */
  readonly listMembers: (extra: E) => object
  /** Called before a transport is connected. */
  readonly onConnect: (transport: object, refusalOf: RefusalOf) => void
}

/** Returns the refusal of a call, which it reports. Undefined: the tool is free, or the caller has all of its scopes. */
export type RefusalOf = (name: unknown, caller: ToolCaller) => InsufficientScopeError | undefined

/** By this code both SDKs answer with an error of JSON-RPC 2.0 §5.1. */
const INVALID_PARAMS = { code: -32602 }

/** Servers whose tools are scoped. */
const scopedServers = new WeakSet<object>()

/**
 * Has a server list and run its tools by the scopes of the caller.
 *
 * @throws {ConfigurationError} an argument is of the wrong kind, or the server's tools are scoped already
 */
export function scopeTools<E>(auth: McpAuth, given: McpServerLike, map: ToolScopes, sdk: OfSdk<E>): RefusalOf {
  if (typeof (auth as Partial<McpAuth> | undefined)?.scopeRefusal !== 'function') {
    throw new ConfigurationError('scopedTools takes the middleware that mcpAuth() returns', 'auth')
  }
  const server = lowLevelServer(given) as Dispatcher<E>
  const needs = readToolScopes(map)
  const handlers = server._requestHandlers
  if (!(handlers instanceof Map)) {
    throw new ConfigurationError('scopedTools does not know this version of the MCP SDK', 'server')
  }
  if (scopedServers.has(server)) {
    throw new ConfigurationError('scopedTools is called once for a server, with all of its tools', 'server')
  }
  // A tool that was there once may be removed.
  let unseen = unregistered(given, [...needs.keys()])
  const check = (): void => {
    unseen = unregistered(given, unseen)
    if (unseen[0] !== undefined) throw auth.reported(unknownTool(given, unseen[0]))
  }
  if (server.transport !== undefined) check()
  scopedServers.add(server)

  const missing = (name: unknown, caller: ToolCaller): InsufficientScopeError | undefined => {
    const scopes = typeof name === 'string' ? needs.get(name) : undefined
    if (scopes === undefined) return undefined
    try {
      return auth.scopeRefusal(caller, scopes)
    } catch (error) {
      // The app's own scopeSatisfies failed, and its words are not for a client.
      throw auth.reported(error)
    }
  }
  const refusalOf: RefusalOf = (name, caller) => {
    const refusal = missing(name, caller)
    if (refusal !== undefined) auth.reported(refusal)
    return refusal
  }
  guardHandlers(server, handlers as Map<string, Handler<E>>, {
    'tools/list': (list) => async (request, extra) => {
      const result = (await list(request, extra)) as { readonly tools?: unknown }
      if (!Array.isArray(result.tools)) return result
      const caller = sdk.callerOf(extra)
      const tools = (result.tools as { readonly name?: unknown }[]).filter(
        ({ name }) => missing(name, caller) === undefined,
      )
      return { ...result, tools, ...sdk.listMembers(extra) }
    },
    'tools/call': (call) => (request, extra) => {
      const name = request.params?.name
      // A handler for all methods may take ['write_note'] for write_note.
      if (typeof name !== 'string')
        throw Object.assign(new Error('The name of a tool must be a string'), INVALID_PARAMS)
      const refusal = refusalOf(name, sdk.callerOf(extra))
      return refusal === undefined ? call(request, extra) : scopeResult(refusal)
    },
  })
  beforeConnect(server, (transport) => {
    check()
    sdk.onConnect(transport, refusalOf)
  })
  if (server.transport !== undefined) sdk.onConnect(server.transport as object, refusalOf)
  return refusalOf
}

/** @throws {ConfigurationError} it is not a list of scopes for each tool */
function readToolScopes(map: unknown): ReadonlyMap<string, readonly string[]> {
  const refuse = (problem: string): never => {
    throw new ConfigurationError(`The scopes of tools ${problem}`, 'scopedTools')
  }
  // A Map has no members, and would leave every tool free.
  if (!isPlainObject(map) || Symbol.iterator in map)
    return refuse('must be an object of lists, by the name of the tool')
  const needs = new Map<string, readonly string[]>()
  for (const [name, scopes] of Object.entries(map)) {
    if (!Array.isArray(scopes) || scopes.length === 0 || !scopes.every(isScopeToken)) {
      return refuse(
        `must be a list for each tool that is named (${name}), with one scope at least, each without spaces and quotes`,
      )
    }
    needs.set(name, [...new Set(scopes)])
  }
  return needs
}

/**
 * Puts guards before handlers, whenever those are set. At the look-up, because a handler may be set, replaced and removed at any time, and one
 * for all methods stands in where there is none.
 */
function guardHandlers<E>(
  server: Dispatcher<E>,
  handlers: Map<string, Handler<E>>,
  guards: Readonly<Record<string, (handler: Handler<E>) => Handler<E>>>,
): void {
  const get = handlers.get.bind(handlers)
  handlers.get = (method) => {
    const handler = get(method)
    const guard = Object.hasOwn(guards, method) ? guards[method] : undefined
    if (guard === undefined) return handler
    const behind = handler ?? server.fallbackRequestHandler
    return behind && guard(behind.bind(server))
  }
}

function beforeConnect<E>(server: Dispatcher<E>, look: (transport: object) => void): void {
  const connect = server.connect.bind(server)
  server.connect = async (transport) => {
    look(transport)
    await connect(transport)
  }
}

/** Returns the names that no tool bears. None of a `Server`, which names its tools only when it is asked. */
function unregistered(given: object, names: readonly string[]): readonly string[] {
  const tools = registeredTools(given)
  return tools === undefined ? [] : names.filter((name) => !Object.hasOwn(tools, name))
}

/** A name that is misspelt leaves the tool that is meant free for all. */
function unknownTool(given: object, name: string): ConfigurationError {
  const near = nearName(name, Object.keys(registeredTools(given) ?? {}))
  const advice = near === undefined ? '' : ` Did you mean ${near}?`
  return new ConfigurationError(
    `scopedTools names the tool ${name}, and the server has none of that name when it is connected.${advice} ` +
      'A tool that comes later is registered before and disabled',
    'scopedTools',
  )
}

/** Returns the tools of an `McpServer`, disabled ones included, which only a private member holds. */
export function registeredTools(given: object): Readonly<Record<string, { readonly enabled?: unknown }>> | undefined {
  const { _registeredTools: tools } = given as { readonly _registeredTools?: unknown }
  return isPlainObject(tools) && !(Symbol.iterator in tools)
    ? (tools as Record<string, { readonly enabled?: unknown }>)
    : undefined
}
