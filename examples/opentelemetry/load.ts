import { randomBytes } from 'node:crypto'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  type DataPoint,
  type Histogram,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics'
import type { Attributes } from '@opentelemetry/api'
import { InMemorySpanExporter, type ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { mcpAuth, type McpAuth } from 'mcp-nextcloud-auth'
import { instrument } from 'mcp-nextcloud-auth/opentelemetry'
import { createBrowser } from '../demo/browser.js'
import { listenOnLoopback } from '../demo/loopback.js'
import { createApp } from './app.js'
import { CONNECTING, startServices, type Services } from './services.js'
import { startTelemetry } from './telemetry.js'

/** Values of one metric at one moment. */
export interface Point {
  readonly metric: string
  readonly unit: string
  readonly labels: Attributes
  readonly value: number | { readonly count: number; readonly boundaries: number[]; readonly counts: number[] }
}

/** All metrics at one moment, in milliseconds since the start. */
export interface Frame {
  readonly at: number
  readonly points: readonly Point[]
}

interface Instrumented {
  readonly auth: McpAuth
  readonly resource: string
}

export interface Run {
  readonly spans: readonly ReadableSpan[]
  readonly frames: readonly Frame[]
}

/** Subjects, the client's secret, tokens and queries of the run have this word in them. */
export const CANARY = 'canary'

const USERS = 60
/** More than one request of the load at a time. */
const CALLERS = 8

/**
 * Runs two instrumented apps on loopback under load: one exchanges tokens, in one a person connects Nextcloud. The provider fails for a time,
 * then Nextcloud does.
 *
 * @param seconds the length of the run
 * @param interval milliseconds between two looks at the metrics
 */
export async function runLoad(seconds: number, interval: number): Promise<Run> {
  const spans = new InMemorySpanExporter()
  const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const telemetry = startTelemetry({ spans, metrics }, interval)
  const services = await startServices()
  const servers = [await listenOnLoopback(), await listenOnLoopback()] as const
  const [first, second] = servers.map(({ origin }) => `${origin}/mcp`) as [string, string]
  const common = {
    issuer: services.issuer,
    clientId: 'mcp-server',
    clientSecret: `${CANARY}-secret`,
    onEvent: () => undefined,
    scopesSupported: [`${CANARY}:scope`],
    http: { retries: 0 },
  }
  const nextcloud = { url: services.nextcloudUrl }
  const cache = { nextcloudTokens: USERS / 2 }
  const exchanging = { auth: mcpAuth({ ...common, resource: first, nextcloud, cache }), resource: first }
  const grants = {
    nextcloud: { ...nextcloud, mode: 'refresh-token' as const },
    storage: services.storage,
    encryptionKey: randomBytes(32).toString('base64url'),
  }
  const connecting = { auth: mcpAuth({ ...common, resource: second, ...grants }), resource: second }
  const ends = [exchanging, connecting].map(({ auth }) => instrument(auth))
  servers[0].serve(createApp(exchanging.auth))
  servers[1].serve(createApp(connecting.auth))
  try {
    await connect(services, connecting)
    const length = seconds * 1_000
    await Promise.all([underLoad(services, exchanging.resource, length), keepAlive(services, connecting, length)])
    await failures(services, { exchanging, connecting })
    // The last values come with an export of their own.
    await sleep(2 * interval)
    await telemetry.flush()
    return { spans: [...spans.getFinishedSpans()], frames: framesOf(metrics.getMetrics()) }
  } finally {
    for (const end of ends) end()
    await Promise.all([exchanging.auth.close(), connecting.auth.close()])
    await telemetry.end()
    await Promise.all([...servers.map((server) => server.close()), services.close()])
  }
}

/** A person connects Nextcloud in a browser. */
async function connect(services: Services, { auth, resource }: Instrumented): Promise<void> {
  const who = await auth.verify(await services.mint({ sub: CONNECTING, aud: resource }))
  const page = await createBrowser([['answer', 'yes']]).visit(new URL(await auth.createConnectUrl(who)))
  if (!page.includes('Connected')) throw new Error('The page does not say that Nextcloud is connected')
  await auth.nextcloudFetch(who, `/ocs/v2.php/cloud/user?search=${CANARY}-query`)
}

/** A job renews the grant again and again. */
async function keepAlive({ mint }: Services, { auth, resource }: Instrumented, length: number): Promise<void> {
  const who = await auth.verify(await mint({ sub: CONNECTING, aud: resource }))
  for (const end = performance.now() + length; performance.now() < end; await sleep(250))
    await auth.rotate(who).catch(() => undefined)
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Callers with tokens of many users: a third into the run the provider fails, two thirds into it Nextcloud does, each for a while. */
async function underLoad({ mint, failing }: Services, resource: string, length: number): Promise<void> {
  const start = performance.now()
  const part = (): number => (performance.now() - start) / length
  const tokens = await Promise.all(
    Array.from({ length: USERS }, (_, user) => mint({ sub: `${CANARY}-subject-${user}`, aud: resource })),
  )
  const strangers = [
    '',
    `Bearer ${CANARY}-opaque`,
    `Bearer ${await mint({ sub: `${CANARY}-subject`, aud: `https://${CANARY}.example.com` })}`,
    `Bearer ${await mint({ sub: `${CANARY}-subject`, aud: resource, exp: 1_000_000_000 })}`,
  ]
  const post = (authorization: string): Promise<unknown> =>
    fetch(resource, { method: 'POST', headers: authorization === '' ? {} : { authorization } }).then((res) =>
      res.text(),
    )
  const caller = async (): Promise<void> => {
    for (let calls = 0; part() < 1; calls += 1) {
      failing.provider = part() > 0.33 && part() < 0.5 ? 503 : 0
      failing.nextcloud = part() > 0.66 && part() < 0.75 ? 503 : 0
      // In the first half of the run, more and more users come.
      const users = Math.ceil(USERS * Math.min(1, 0.1 + part() * 2))
      const index = Math.floor(Math.random() * users)
      const stranger = strangers[Math.floor(calls / 10) % strangers.length] ?? ''
      await post(calls % 10 === 9 ? stranger : `Bearer ${tokens[index] ?? ''}`)
      await sleep(5)
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, caller))
}

/** What seldom happens: an outage that new users meet, a fresh token that is refused, a browser without its cookie, the ends of grants. */
async function failures({ failing, mint, forget }: Services, apps: Record<'exchanging' | 'connecting', Instrumented>) {
  const { exchanging, connecting } = apps
  const late = await exchanging.auth.verify(await mint({ sub: `${CANARY}-subject-late`, aud: exchanging.resource }))
  const expired = await mint({ sub: `${CANARY}-subject`, aud: exchanging.resource, exp: 1_000_000_000 })
  await exchanging.auth.verify(expired).catch(() => undefined)
  failing.provider = 503
  await Promise.allSettled([exchanging.auth.getNextcloudToken(late), exchanging.auth.verify(`${CANARY}-another`)])
  failing.provider = 0
  failing.nextcloud = 401
  const other = await exchanging.auth.verify(await mint({ sub: `${CANARY}-subject-other`, aud: exchanging.resource }))
  await exchanging.auth.nextcloudFetch(other, `/${CANARY}-path?${CANARY}-query`)
  failing.nextcloud = 0
  const callback = `/nextcloud/callback?state=${CANARY}&code=${CANARY}`
  await fetch(new URL(callback, connecting.resource)).then((res) => res.text())
  const who = await connecting.auth.verify(await mint({ sub: CONNECTING, aud: connecting.resource }))
  failing.storage = 1
  await connecting.auth.isProvisioned(who).catch(() => undefined)
  failing.storage = 0
  forget()
  await connecting.auth.rotate(who).catch(() => undefined)
  await connecting.auth.revoke(who)
}

/** Returns the values of each export. */
function framesOf(exports: readonly ResourceMetrics[]): Frame[] {
  const start = performance.timeOrigin + performance.now()
  const frames = exports.map(({ scopeMetrics }) => {
    const all = scopeMetrics.flatMap(({ metrics }) => metrics)
    const points = all.flatMap(({ descriptor: { name, unit }, dataPoints }) =>
      (dataPoints as DataPoint<number | Histogram>[]).map(({ value, attributes }) => ({
        metric: name,
        unit,
        labels: attributes,
        value: typeof value === 'number' ? value : { count: value.count, ...value.buckets },
      })),
    )
    const [seconds, nanoseconds] = all[0]?.dataPoints[0]?.endTime ?? [start / 1_000, 0]
    return { at: seconds * 1_000 + nanoseconds / 1e6, points }
  })
  const first = frames[0]?.at ?? 0
  return frames.map(({ at, points }) => ({ at: at - first, points }))
}
