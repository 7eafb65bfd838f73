import { readFileSync } from 'node:fs'
import path from 'node:path'
import { SpanStatusCode } from '@opentelemetry/api'
import { beforeAll, describe, expect, it } from 'vitest'
import { CANARY, runLoad, type Run } from '../../examples/opentelemetry/load.js'
import { dashboardOf, PANELS, prometheusName, queryOf, seriesOf } from '../../examples/opentelemetry/panels.js'

const example = path.resolve(import.meta.dirname, '../../examples/opentelemetry')

const SPANS = [
  'mcp.auth.connect',
  'mcp.auth.introspect',
  'mcp.auth.storage',
  'mcp.auth.token_exchange',
  'mcp.auth.token_refresh',
  'mcp.auth.verify',
  'nextcloud.request',
]
const COUNTERS = [
  'accepted',
  'cache.evictions',
  'connect.failures',
  'connected',
  'cool_downs',
  'disconnected',
  'failed',
  'grants.lost',
  'idp.requests',
  'nextcloud_token.failures',
  'nextcloud_tokens',
  'outages',
  'rejected',
  'storage.failures',
  'warnings',
]

let run: Run
beforeAll(async () => {
  run = await runLoad(3, 250)
}, 60_000)

const names = (): string[] =>
  [...new Set(run.frames.flatMap(({ points }) => points.map(({ metric }) => metric)))].sort()

describe('the example opentelemetry, under load,', () => {
  it.each(SPANS)('has spans %s, with a duration, and the failures among them with error.type', (name) => {
    const spans = run.spans.filter((span) => span.name === name)

    expect(spans.length).toBeGreaterThan(0)
    for (const { duration, status, attributes, events } of spans) {
      expect(duration[0] * 1e9 + duration[1]).toBeGreaterThan(0)
      expect(status.code === SpanStatusCode.ERROR).toBe('error.type' in attributes)
      expect(status.message).toBeUndefined()
      expect(events).toEqual([])
    }
  })

  it('has each metric', () => {
    expect(names()).toEqual(
      [
        ...SPANS.map((name) => `${name}.duration`),
        ...COUNTERS.map((name) => `mcp.auth.${name}`),
        'mcp.auth.cache.size',
        'mcp.auth.nextcloud_token.duration',
      ].sort(),
    )
  })

  it('has the work for a request below the span of the request', () => {
    const servers = new Set(run.spans.filter(({ name }) => name === 'POST').map((span) => span.spanContext().spanId))
    const ofRequests = run.spans.filter(
      ({ name }) => name === 'nextcloud.request' || name === 'mcp.auth.token_exchange',
    )

    const below = ofRequests.filter(({ parentSpanContext }) => servers.has(parentSpanContext?.spanId ?? ''))
    expect(below.length).toBeGreaterThan(ofRequests.length / 2)
  })

  it('tells no subject, token, secret, path, query or text of an error', () => {
    const told = run.spans.map(({ name, attributes, events, status, links, resource }) => {
      return { name, attributes, events, status, links, resource: resource.attributes }
    })

    expect(JSON.stringify([told, run.frames])).not.toMatch(new RegExp(`${CANARY}|eyJ|/mcp|/ocs`))
  })
})

describe('its dashboard', () => {
  const dashboard = JSON.parse(readFileSync(path.join(example, 'dashboard.json'), 'utf8')) as object

  it('is the one that its panels make', () => {
    expect(dashboard).toEqual(dashboardOf(PANELS))
  })

  it.each(PANELS)('asks for what the run has: $title', (panel) => {
    const [point] = run.frames.flatMap(({ points }) => points.filter(({ metric }) => metric === panel.metric))

    expect(names()).toContain(panel.metric)
    expect(queryOf(panel)).toContain(prometheusName(panel.metric))
    expect(point?.unit === 's').toBe(panel.shows === 'p95')
    if (panel.by !== undefined) expect(Object.keys(point?.labels ?? {})).toContain(panel.by)
    expect(seriesOf(panel, run.frames).flatMap(({ points }) => points).length).toBeGreaterThan(0)
  })

  it('has a picture with a plot for each panel', () => {
    const picture = readFileSync(path.join(example, 'dashboard.svg'), 'utf8')

    for (const { title } of PANELS) expect(picture).toContain(`>${title}</text>`)
    expect(picture).not.toContain(CANARY)
  })
})
