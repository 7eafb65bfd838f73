import { context, metrics, SpanKind, SpanStatusCode, trace, type Span } from '@opentelemetry/api'
import { InvalidTokenError, McpAuthError } from '../errors/errors.js'
import { nameOfFailure } from '../errors/failure-name.js'
import type { McpAuth } from '../mcp-auth.js'
import type { Attributes, Work } from '../watchers.js'
import { instrumentsOf, type Instruments } from './instruments.js'

/** An instrumented middleware: how many have asked for it, and what ends it. */
interface Instrumented {
  count: number
  readonly end: () => void
}

const SCOPE = 'mcp-nextcloud-auth'
const instrumented = new WeakMap<McpAuth, Instrumented>()

/**
 * Reports what a middleware does to OpenTelemetry, by the tracer and meter providers that are registered at this moment: spans
 * `mcp.auth.verify`, `mcp.auth.introspect`, `mcp.auth.token_exchange`, `mcp.auth.token_refresh`, `mcp.auth.connect`, `mcp.auth.storage` and
 * `nextcloud.request`, each below the span that is active, a histogram of the seconds of each, and counters of decisions. Work that several
 * calls wait for has one span, in the trace of the call that began it. A token that was verified before has none.
 *
 * No attribute, event or status has a token, a secret, a subject, a path or a query; of a URL there is the host.
 *
 * @param auth calls of this function for the same one report once, until each of them is ended
 * @returns a function that ends it
 * @throws {TypeError} `auth` is not the result of `mcpAuth()`
 *
 * @example
 * import { mcpAuth } from 'mcp-nextcloud-auth'
 * import { instrument } from 'mcp-nextcloud-auth/opentelemetry'
 *
 * const auth = mcpAuth()
 * const end = instrument(auth) // behind the registration of your SDK
 * process.once('SIGTERM', end)
 */
export function instrument(auth: McpAuth): () => void {
  if (typeof (auth as Partial<McpAuth> | undefined)?.watch !== 'function')
    throw new TypeError('instrument() takes the result of mcpAuth()')
  const known = instrumented.get(auth) ?? { count: 0, end: start(auth) }
  known.count += 1
  instrumented.set(auth, known)
  let isOver = false
  return () => {
    if (isOver) return
    isOver = true
    known.count -= 1
    if (known.count > 0) return
    instrumented.delete(auth)
    known.end()
  }
}

function start(auth: McpAuth): () => void {
  const tracer = trace.getTracer(SCOPE)
  const instruments = instrumentsOf(metrics.getMeter(SCOPE))
  const stopObserving = instruments.observe(auth)
  const begin = <T>({ name, at, attributes }: Work<T>): { readonly span: Span; readonly about: Attributes } => {
    const about = { ...attributes, ...(at !== undefined && addressOf(at)) }
    const kind = KINDS[name]
    return { span: tracer.startSpan(name, { kind, attributes: about }), about }
  }
  const stopWatching = auth.watch({
    event: (event) => quietly(() => instruments.count(event)),
    during: async (work, run) => {
      const begun = quietly(() => begin(work))
      if (begun === undefined) return run()
      const startedAt = performance.now()
      const end = (said: Attributes): void =>
        quietly(() => ended(instruments, { ...begun, name: work.name, startedAt, said }))
      try {
        const result = await context.with(trace.setSpan(context.active(), begun.span), run)
        end(quietly(() => work.told?.(result)) ?? {})
        return result
      } catch (error) {
        end({ 'error.type': typeOf(error) })
        throw error
      }
    },
  })
  return () => {
    stopWatching()
    stopObserving()
  }
}

const KINDS: Readonly<Record<Work<unknown>['name'], SpanKind>> = {
  'mcp.auth.verify': SpanKind.INTERNAL,
  'mcp.auth.introspect': SpanKind.CLIENT,
  'mcp.auth.token_exchange': SpanKind.CLIENT,
  'mcp.auth.token_refresh': SpanKind.CLIENT,
  'mcp.auth.connect': SpanKind.INTERNAL,
  'mcp.auth.storage': SpanKind.CLIENT,
  'nextcloud.request': SpanKind.CLIENT,
}

/** A span that comes to its end. */
interface Ending {
  readonly span: Span
  readonly name: Work<unknown>['name']
  /** The attributes that it began with. */
  readonly about: Attributes
  /** Monotonic milliseconds. */
  readonly startedAt: number
  readonly said: Attributes
}

/** The status has no text, because that of an error may be somebody else's. */
function ended(instruments: Instruments, { span, name, about, startedAt, said }: Ending): void {
  span.setAttributes(said)
  if ('error.type' in said) span.setStatus({ code: SpanStatusCode.ERROR })
  span.end()
  instruments.took(name, (performance.now() - startedAt) / 1_000, { ...about, ...said })
}

function addressOf(url: string): Attributes {
  const { protocol, hostname, port } = new URL(url)
  const standard = protocol === 'https:' ? 443 : 80
  return { 'server.address': hostname, 'server.port': port === '' ? standard : Number(port) }
}

/** Returns a word of a small set for a failure: never its text, which may be somebody else's. */
function typeOf(error: unknown): string {
  if (error instanceof InvalidTokenError) return error.reason
  if (error instanceof McpAuthError) return error.code
  if (error instanceof Error && error.name === 'AbortError') return error.name
  return nameOfFailure(error) ?? '_OTHER'
}

/** Telemetry that fails disturbs nothing. */
function quietly<T>(report: () => T): T | undefined {
  try {
    return report()
  } catch {
    return undefined
  }
}
