import type { Frame, Point } from './load.js'

/** One panel of the dashboard, of which both Grafana's query and the picture are made. */
export interface Panel {
  readonly title: string
  /** `rate`: of a counter, a second. `p95`: of a histogram, in seconds. `value`: of a gauge. */
  readonly shows: 'rate' | 'p95' | 'value'
  readonly metric: string
  readonly by?: string
}

export const PANELS: readonly Panel[] = [
  { title: 'Accepted requests', shows: 'rate', metric: 'mcp.auth.accepted', by: 'mcp.auth.cached' },
  { title: 'Requests turned away', shows: 'rate', metric: 'mcp.auth.rejected', by: 'error.type' },
  { title: 'Requests that could not be judged', shows: 'rate', metric: 'mcp.auth.failed', by: 'error.type' },
  { title: 'Nextcloud tokens, by source', shows: 'rate', metric: 'mcp.auth.nextcloud_tokens', by: 'mcp.auth.source' },
  { title: 'Nextcloud tokens not got', shows: 'rate', metric: 'mcp.auth.nextcloud_token.failures', by: 'error.type' },
  { title: 'Outages of the provider', shows: 'rate', metric: 'mcp.auth.outages', by: 'mcp.auth.operation' },
  { title: 'Cool-downs that began', shows: 'rate', metric: 'mcp.auth.cool_downs' },
  { title: 'Verification, 95 %', shows: 'p95', metric: 'mcp.auth.verify.duration' },
  { title: 'Token exchange, 95 %', shows: 'p95', metric: 'mcp.auth.token_exchange.duration' },
  { title: 'Token refresh, 95 %', shows: 'p95', metric: 'mcp.auth.token_refresh.duration' },
  { title: 'Storage, 95 %', shows: 'p95', metric: 'mcp.auth.storage.duration', by: 'db.operation.name' },
  { title: 'Nextcloud, 95 %', shows: 'p95', metric: 'nextcloud.request.duration', by: 'http.response.status_code' },
  { title: 'Grants lost', shows: 'rate', metric: 'mcp.auth.grants.lost', by: 'error.type' },
  { title: 'Entries of the caches', shows: 'value', metric: 'mcp.auth.cache.size', by: 'mcp.auth.cache' },
  { title: 'Entries that a full cache dropped', shows: 'rate', metric: 'mcp.auth.cache.evictions' },
]

/** Returns the name that the Prometheus exporters of OpenTelemetry give to a metric or an attribute. */
export const prometheusName = (name: string): string => name.replaceAll('.', '_')

/** Returns the query of a panel (PromQL). */
export function queryOf({ shows, metric, by }: Panel): string {
  const name = prometheusName(metric)
  const label = by === undefined ? '' : prometheusName(by)
  const labels = label === '' ? '' : ` by (${label})`
  if (shows === 'value') return `sum${labels} (${name})`
  if (shows === 'rate') return `sum${labels} (rate(${name}_total[$__rate_interval]))`
  const buckets = ['le', ...(label === '' ? [] : [label])].join(', ')
  return `histogram_quantile(0.95, sum by (${buckets}) (rate(${name}_seconds_bucket[$__rate_interval])))`
}

/** Returns the dashboard as Grafana imports it. */
export function dashboardOf(panels: readonly Panel[]): object {
  const datasource = { type: 'prometheus', uid: '${datasource}' }
  return {
    title: 'mcp-nextcloud-auth',
    uid: 'mcp-nextcloud-auth',
    schemaVersion: 39,
    timezone: 'browser',
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: { list: [{ name: 'datasource', type: 'datasource', query: 'prometheus' }] },
    panels: panels.map((panel, index) => ({
      id: index + 1,
      type: 'timeseries',
      title: panel.title,
      datasource,
      gridPos: { x: (index % 3) * 8, y: Math.floor(index / 3) * 8, w: 8, h: 8 },
      fieldConfig: { defaults: { unit: UNITS[panel.shows], min: 0 }, overrides: [] },
      targets: [{ refId: 'A', datasource, expr: queryOf(panel), legendFormat: legendOf(panel) }],
    })),
  }
}

const UNITS = { rate: 'ops', p95: 's', value: 'short' }

const legendOf = ({ by, title }: Panel): string => (by === undefined ? title : `{{${prometheusName(by)}}}`)

/** A line of a panel. */
export interface Series {
  readonly label: string
  /** Milliseconds since the start, and the value then. */
  readonly points: readonly (readonly [at: number, value: number])[]
}

/** Evaluates the query of a panel on recorded metrics. */
export function seriesOf({ shows, metric, by }: Panel, frames: readonly Frame[]): Series[] {
  const labelOf = ({ labels }: Point): string => (by === undefined ? '' : String(labels[by] ?? ''))
  const pointsIn = ({ points }: Frame): Point[] => points.filter((point) => point.metric === metric)
  const labels = [...new Set(frames.flatMap((frame) => pointsIn(frame).map(labelOf)))].sort()
  return labels.map((label) => {
    const values = frames.map((frame) => summed(pointsIn(frame).filter((point) => labelOf(point) === label)))
    const points = frames.flatMap(({ at }, index) => {
      const [before, now] = [values[index - 1], values[index]]
      if (index === 0 || now === undefined) return []
      const seconds = (at - (frames[index - 1]?.at ?? 0)) / 1_000
      if (seconds < SHORTEST) return []
      const value =
        shows === 'value'
          ? now.count
          : shows === 'rate'
            ? (now.count - (before?.count ?? 0)) / seconds
            : p95(before, now)
      return value === undefined ? [] : [[at, value] as const]
    })
    return { label, points }
  })
}

/** Seconds: the last export may follow another one at once. */
const SHORTEST = 0.1

interface Sum {
  readonly count: number
  readonly boundaries: readonly number[]
  readonly counts: readonly number[]
}

function summed(points: readonly Point[]): Sum | undefined {
  if (points.length === 0) return undefined
  let sum: Sum = { count: 0, boundaries: [], counts: [] }
  for (const { value } of points) {
    if (typeof value === 'number') sum = { ...sum, count: sum.count + value }
    else {
      const counts = value.counts.map((count, index) => count + (sum.counts[index] ?? 0))
      sum = { count: sum.count + value.count, boundaries: value.boundaries, counts }
    }
  }
  return sum
}

/** The 95 % quantile as Prometheus has it: within a bucket, values are spread evenly. */
function p95(before: Sum | undefined, now: Sum): number | undefined {
  const counts = now.counts.map((count, index) => count - (before?.counts[index] ?? 0))
  const wanted = 0.95 * counts.reduce((total, count) => total + count, 0)
  if (wanted === 0) return undefined
  let below = 0
  for (const [index, count] of counts.entries()) {
    const [from, to] = [now.boundaries[index - 1] ?? 0, now.boundaries[index] ?? now.boundaries.at(-1) ?? 0]
    if (below + count >= wanted) return from + ((to - from) * (wanted - below)) / count
    below += count
  }
  return undefined
}
