import { metrics, trace } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import type { McpAuth, McpAuthEvent } from '../../src/index.js'
import { instrumentsOf } from '../../src/telemetry/instruments.js'
import { instrument } from '../../src/telemetry/opentelemetry.js'
import type { Watcher } from '../../src/watchers.js'
import { failureOf } from '../support/promises.js'
import { collectTelemetry } from '../support/telemetry.js'

describe('an event', () => {
  it.each<[metric: string, event: object, labels: object]>([
    ['failed', { type: 'request.failed', code: 'ERR_STORAGE' }, { 'error.type': 'ERR_STORAGE' }],
    ['storage.failures', { type: 'storage.failed', operation: 'put' }, { 'db.operation.name': 'put' }],
    ['disconnected', { type: 'grant.revoked', revoked: 'pending' }, { 'mcp.auth.revoked': 'pending' }],
    ['warnings', { type: 'config.warning', option: 'issuer' }, { 'mcp.auth.option': 'issuer' }],
    [
      'outages',
      { type: 'idp.unavailable', operation: 'jwks' },
      { 'mcp.auth.operation': 'jwks', 'error.type': 'unreachable' },
    ],
  ])('is counted in mcp.auth.%s: %j', async (metric, event, labels) => {
    const { values } = collectTelemetry()

    instrumentsOf(metrics.getMeter('test')).count({ ...event, subject: 'canary' } as unknown as McpAuthEvent)
    expect(await values(`mcp.auth.${metric}`)).toEqual([[1, labels]])
  })
})

/** Returns the watcher of a middleware that does as it is told. */
function watcherOf(): Watcher<McpAuthEvent> {
  const watchers: Watcher<McpAuthEvent>[] = []
  const stats = { idpRequests: 0, coolDowns: 0, evictions: 0, sizes: { verifiedTokens: 0, nextcloudTokens: 0 } }
  const watch = (watcher: Watcher<McpAuthEvent>) => {
    watchers.push(watcher)
    return () => undefined
  }
  instrument({ watch, stats: () => stats } as unknown as McpAuth)
  return watchers[0]!
}

describe('a span', () => {
  it.each<[what: string, failure: unknown, word: string]>([
    ['that is given up', Object.assign(new Error('canary'), { name: 'AbortError', code: 'ABORT_ERR' }), 'AbortError'],
    ['with a code', Object.assign(new Error('canary'), { code: 'ECONNREFUSED' }), 'ECONNREFUSED'],
    ['of a class', new TypeError('canary'), 'TypeError'],
    ['of a class that is somebody else’s', Object.assign(new Error('canary'), { name: 'canary' }), '_OTHER'],
    ['that is no error', 'canary', '_OTHER'],
  ])('of a failure %s has one word of it', async (_what, failure, word) => {
    const { spans } = collectTelemetry()

    expect(
      await failureOf(watcherOf().during({ name: 'mcp.auth.storage' }, () => Promise.reject(failure as Error))),
    ).toBe(failure)
    expect(spans('mcp.auth.storage').map(({ attributes }) => attributes)).toEqual([{ 'error.type': word }])
  })

  it.each([
    ['https://idp.example.com/token', 443],
    ['http://idp.example.com/token', 80],
    ['https://idp.example.com:8443/token', 8443],
  ])('has the host and the port of %s', async (at, port) => {
    const { spans } = collectTelemetry()

    await watcherOf().during({ name: 'mcp.auth.token_exchange', at }, () => Promise.resolve())
    expect(spans()[0]!.attributes).toEqual({ 'server.address': 'idp.example.com', 'server.port': port })
    expect(trace.getActiveSpan()).toBeUndefined()
  })
})
