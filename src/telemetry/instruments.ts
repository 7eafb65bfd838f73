import type { Attributes as Labels, Counter, Histogram, Meter } from '@opentelemetry/api'
import type { McpAuthEvent, McpAuthStats } from '../events.js'
import type { McpAuth } from '../mcp-auth.js'
import type { Work } from '../watchers.js'

/** The metrics of one meter, for all that is instrumented by it. */
export interface Instruments {
  readonly count: (event: McpAuthEvent) => void
  readonly took: (name: Work<unknown>['name'], seconds: number, labels: Labels) => void
  /** Has the sizes and counters of a middleware observed. Returns the function that ends it. */
  readonly observe: (auth: Pick<McpAuth, 'stats'>) => () => void
}

/** Seconds: those of the semantic conventions of HTTP, and shorter ones for work without a network. */
const BOUNDARIES = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** The SDK returns the same meter for the same name, so that two middlewares have one set of metrics. */
const made = new WeakMap<Meter, Instruments>()

export function instrumentsOf(meter: Meter): Instruments {
  const known = made.get(meter) ?? createInstruments(meter)
  made.set(meter, known)
  return known
}

const WORK: Readonly<Record<Work<unknown>['name'], string>> = {
  'mcp.auth.verify': 'Verification of a token that was not verified before',
  'mcp.auth.introspect': 'Introspection of a token at the authorization server',
  'mcp.auth.token_exchange': 'Exchange of an MCP token for a Nextcloud token',
  'mcp.auth.token_refresh': 'Refresh of a Nextcloud token',
  'mcp.auth.connect': 'Request of a browser to the connect pages',
  'mcp.auth.storage': 'Call of the storage',
  'nextcloud.request': 'Request to Nextcloud, until its headers are there',
}

function createInstruments(meter: Meter): Instruments {
  const seconds = (name: string, description: string): Histogram =>
    meter.createHistogram(name, { unit: 's', description, advice: { explicitBucketBoundaries: BOUNDARIES } })
  const durations = Object.fromEntries(
    Object.entries(WORK).map(([name, description]) => [name, seconds(`${name}.duration`, description)]),
  ) as Record<Work<unknown>['name'], Histogram>
  const counters = createCounters(meter)
  const waited = seconds(
    'mcp.auth.nextcloud_token.duration',
    'Time until a Nextcloud token was there that was not cached',
  )
  return {
    count: (event) => {
      const labels = labelsOf(event)
      if (labels !== undefined) counters[event.type]?.add(1, labels)
      if (event.type === 'nextcloud.token' && event.source !== 'cache') waited.record(event.durationMs / 1_000, labels)
    },
    took: (name, duration, labels) => durations[name].record(duration, labels),
    observe: createObserver(meter),
  }
}

function createCounters(meter: Meter): Partial<Record<McpAuthEvent['type'], Counter>> {
  const counter = (name: string, unit: string, description: string): Counter =>
    meter.createCounter(`mcp.auth.${name}`, { unit: `{${unit}}`, description })
  return {
    'token.accepted': counter('accepted', 'request', 'Requests with a good token'),
    'token.rejected': counter('rejected', 'request', 'Requests that were turned away, by error.type'),
    'request.failed': counter('failed', 'request', 'Requests that could not be judged, by error.type'),
    'nextcloud.token': counter('nextcloud_tokens', 'token', 'Nextcloud tokens that were handed out, by their source'),
    'nextcloud.failed': counter('nextcloud_token.failures', 'failure', 'Nextcloud tokens that could not be got'),
    'idp.unavailable': counter('outages', 'outage', 'Calls of the authorization server without a usable answer'),
    'storage.failed': counter('storage.failures', 'failure', 'Calls of the storage that failed'),
    'grant.stored': counter('connected', 'connection', 'Users who connected Nextcloud'),
    'connect.failed': counter('connect.failures', 'failure', 'Users who did not get to connect, by error.type'),
    'grant.lost': counter('grants.lost', 'grant', 'Grants that no longer work: the user must connect again'),
    'grant.revoked': counter('disconnected', 'connection', 'Connections that users, or the app, have ended'),
    'config.warning': counter('warnings', 'warning', 'Warnings about an option'),
  }
}

/** Returns the labels of an event: words of small sets, none of which is of a user. Undefined: it is not counted. */
function labelsOf(event: McpAuthEvent): Labels | undefined {
  switch (event.type) {
    case 'token.accepted':
      return { 'mcp.auth.cached': event.cached }
    case 'nextcloud.token':
      return { 'mcp.auth.source': event.source, 'mcp.auth.mode': event.mode }
    case 'nextcloud.failed':
      return { 'error.type': event.code, 'mcp.auth.mode': event.mode }
    case 'request.failed':
      return { 'error.type': event.code }
    case 'token.rejected':
    case 'connect.failed':
    case 'grant.lost':
      return { 'error.type': event.reason }
    case 'idp.unavailable':
      return { 'mcp.auth.operation': event.operation, 'error.type': String(event.httpStatus ?? 'unreachable') }
    case 'storage.failed':
      return { 'db.operation.name': event.operation }
    case 'grant.revoked':
      return { 'mcp.auth.revoked': String(event.revoked) }
    case 'config.warning':
      return { 'mcp.auth.option': event.option }
    case 'grant.stored':
      return {}
    default:
      return undefined
  }
}

/** The counters of `stats()` that no event tells. */
const COUNTED = {
  idpRequests: ['idp.requests', 'request', 'HTTP requests to the authorization server'],
  coolDowns: ['cool_downs', 'cool_down', 'Failures after which nothing more is tried for a while'],
  evictions: ['cache.evictions', 'entry', 'Entries that a full cache dropped'],
} as const satisfies Partial<Record<keyof McpAuthStats, readonly string[]>>

type Counted = keyof typeof COUNTED

/** Observes the sum of all middlewares, because each metric has one value for its labels. */
function createObserver(meter: Meter): Instruments['observe'] {
  const size = meter.createObservableGauge('mcp.auth.cache.size', {
    unit: '{entry}',
    description: 'Entries of a cache',
  })
  const counters = (Object.keys(COUNTED) as Counted[]).map((member) => {
    const [name, unit, description] = COUNTED[member]
    const metric = meter.createObservableCounter(`mcp.auth.${name}`, { unit: `{${unit}}`, description })
    return { member, metric }
  })
  const observed = new Map<Pick<McpAuth, 'stats'>, McpAuthStats>()
  /** What those have counted that are observed no more: a counter never falls. */
  const past = { idpRequests: 0, coolDowns: 0, evictions: 0 }
  const sum = (of: (now: McpAuthStats, start: McpAuthStats) => number): number =>
    [...observed].reduce((total, [auth, start]) => total + of(auth.stats(), start), 0)
  const since = (member: Counted): number => sum((now, start) => now[member] - start[member])
  const look: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
    for (const cache of ['verifiedTokens', 'nextcloudTokens'] as const)
      result.observe(
        size,
        sum(({ sizes }) => sizes[cache]),
        { 'mcp.auth.cache': CACHES[cache] },
      )
    for (const { member, metric } of counters) result.observe(metric, past[member] + since(member))
  }
  const all = [size, ...counters.map(({ metric }) => metric)]
  return (auth) => {
    if (observed.size === 0) meter.addBatchObservableCallback(look, all)
    const start = auth.stats()
    observed.set(auth, start)
    return () => {
      const now = auth.stats()
      for (const { member } of counters) past[member] += now[member] - start[member]
      observed.delete(auth)
      if (observed.size === 0) meter.removeBatchObservableCallback(look, all)
    }
  }
}

const CACHES = { verifiedTokens: 'verified_tokens', nextcloudTokens: 'nextcloud_tokens' } as const
