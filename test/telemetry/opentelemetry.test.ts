import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { McpAuth } from '../../src/index.js'
import { instrument } from '../../src/telemetry/opentelemetry.js'
import { createWatchers } from '../../src/watchers.js'
import { MCP_CLIENT } from '../support/grant-constants.js'
import { failureOf, turn } from '../support/promises.js'
import { CLIENT_ID, CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import { collectTelemetry } from '../support/telemetry.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice', clientId: MCP_CLIENT }
const CLIENT = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }

/** Instruments a middleware until the test ends. */
function watch(auth: McpAuth): () => void {
  const end = instrument(auth)
  onTestFinished(end)
  return end
}

/** Runs something as an HTTP server does: within its own span. Resolves to the span's id. */
async function withinRequest(run: () => Promise<unknown>): Promise<string> {
  const span = trace.getTracer('the app').startSpan('POST /mcp')
  await context.with(trace.setSpan(context.active(), span), run)
  span.end()
  return span.spanContext().spanId
}

describe('spans', () => {
  it('of verification are below the request, take time, and come once for each token', async () => {
    const { spans } = collectTelemetry()
    const { auth, as } = await world({ mode: 'none' })
    watch(auth)
    const token = await as.mint()

    const parent = await withinRequest(() => auth.verify(token))
    await auth.verify(token)

    const [span, ...others] = spans('mcp.auth.verify')
    expect(others).toEqual([])
    expect(span).toMatchObject({ kind: SpanKind.INTERNAL, status: { code: SpanStatusCode.UNSET }, events: [] })
    expect(span!.parentSpanContext?.spanId).toBe(parent)
    expect(span!.duration[0] * 1e9 + span!.duration[1]).toBeGreaterThan(0)
    expect(span!.attributes).toEqual({})
  })

  it('of introspection are below those of verification', async () => {
    const { spans } = collectTelemetry()
    const { auth, as } = await world({ mode: 'none', options: CLIENT })
    watch(auth)

    await failureOf(auth.verify('an-opaque-token'))

    const [verify] = spans('mcp.auth.verify')
    const [introspect] = spans('mcp.auth.introspect')
    expect(introspect!.parentSpanContext?.spanId).toBe(verify!.spanContext().spanId)
    expect(introspect).toMatchObject({ kind: SpanKind.CLIENT, status: { code: SpanStatusCode.UNSET } })
    expect(introspect!.attributes).toEqual({
      'server.address': '127.0.0.1',
      'server.port': Number(new URL(as.issuer).port),
    })
    expect(verify).toMatchObject({ status: { code: SpanStatusCode.ERROR }, attributes: { 'error.type': 'inactive' } })
  })

  it('of exchanges and of requests to Nextcloud are below the request of the caller', async () => {
    const { spans, values } = collectTelemetry()
    const { auth, signIn, nextcloud } = await world({ nextcloud: true })
    watch(auth)
    const info = await signIn()
    nextcloud.handle(({ method }, res) => void res.writeHead(method === 'DELETE' ? 423 : 207).end())

    const parent = await withinRequest(async () => {
      await auth.nextcloudFetch(info, '/remote.php/dav/files/canary/?canary=1', { method: 'PROPFIND' })
      await auth.nextcloudFetch(info, '/remote.php/dav/', { method: 'DELETE' })
      await auth.nextcloudFetch(info, '/remote.php/dav/', { method: 'PURGE' })
    })

    const host = { 'server.address': '127.0.0.1', 'server.port': Number(new URL(nextcloud.url).port) }
    const [exchange] = spans('mcp.auth.token_exchange')
    expect(exchange!.parentSpanContext?.spanId).toBe(parent)
    const requests = spans('nextcloud.request')
    expect(requests.map(({ parentSpanContext }) => parentSpanContext?.spanId)).toEqual([parent, parent, parent])
    expect(requests.map(({ attributes }) => attributes)).toEqual([
      { 'http.request.method': 'PROPFIND', 'http.response.status_code': 207, ...host },
      { 'http.request.method': 'DELETE', 'http.response.status_code': 423, 'error.type': '423', ...host },
      { 'http.request.method': '_OTHER', 'http.response.status_code': 207, ...host },
    ])
    expect(requests.map(({ status }) => status.code)).toEqual([0, 2, 0])
    expect(await values('nextcloud.request.duration')).toHaveLength(3)
    expect(await values('mcp.auth.nextcloud_tokens')).toEqual([
      [1, { 'mcp.auth.source': 'idp', 'mcp.auth.mode': 'token-exchange' }],
      [2, { 'mcp.auth.source': 'cache', 'mcp.auth.mode': 'token-exchange' }],
    ])
  })

  it('of refreshes and of calls of the storage say which, and why not', async () => {
    const { spans, values } = collectTelemetry()
    const { auth, connect } = await world({ mode: 'refresh-token', options: { http: { retries: 0 } } })
    watch(auth)
    await connect()

    const parent = await withinRequest(() => auth.getNextcloudToken(ALICE))

    const [refresh] = spans('mcp.auth.token_refresh')
    expect(refresh!.parentSpanContext?.spanId).toBe(parent)
    const calls = spans('mcp.auth.storage').map(({ attributes }) => attributes)
    expect(calls).toContainEqual({ 'db.operation.name': 'get' })
    expect(calls).toContainEqual({ 'db.operation.name': 'put' })

    await connect('bob', { refreshToken: 'a-dead-one' })
    expect(await failureOf(auth.getNextcloudToken({ ...ALICE, subject: 'bob' }))).toMatchObject({ reason: 'revoked' })
    expect(spans('mcp.auth.token_refresh').at(-1)!.attributes).toMatchObject({ 'error.type': 'invalid_grant' })
    expect(await values('mcp.auth.grants.lost')).toEqual([[1, { 'error.type': 'revoked' }]])
  })

  it('of an outage have the code of the error, and so have the histograms', async () => {
    const { spans, values } = collectTelemetry()
    const { auth, as, signIn } = await world({ options: { http: { retries: 0 } } })
    watch(auth)
    const info = await signIn()
    as.script('/token', { status: 503, json: { error: 'canary' } })

    await failureOf(auth.getNextcloudToken(info))

    expect(spans('mcp.auth.token_exchange')[0]!.attributes).toMatchObject({ 'error.type': 'ERR_UPSTREAM_UNAVAILABLE' })
    expect(await values('mcp.auth.token_exchange.duration')).toEqual([
      [1, expect.objectContaining({ 'error.type': 'ERR_UPSTREAM_UNAVAILABLE' })],
    ])
    expect(await values('mcp.auth.outages')).toEqual([[1, { 'mcp.auth.operation': 'token', 'error.type': '503' }]])
    expect(await values('mcp.auth.cool_downs')).toEqual([[1, {}]])
  })
})

describe('metrics', () => {
  it('have the units of the semantic conventions', async () => {
    const { metrics } = collectTelemetry()
    const { auth, signIn } = await world()
    watch(auth)
    await auth.getNextcloudToken(await signIn())

    for (const { descriptor } of await metrics()) {
      expect(descriptor.unit).toMatch(descriptor.name.endsWith('.duration') ? /^s$/ : /^\{[a-z_]+\}$/)
      expect(descriptor.description).not.toBe('')
    }
  })

  it('count what was accepted and rejected, by reason', async () => {
    const { values } = collectTelemetry()
    const { auth, as } = await world({ mode: 'none' })
    watch(auth)
    const url = 'https://mcp.example.com/mcp'
    const ask = async (token?: string) =>
      auth.authenticate({
        method: 'POST',
        url,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      })
    const good = await as.mint()
    for (const token of [good, good, await as.mint({ aud: 'canary' }), undefined]) await ask(token)

    expect(await values('mcp.auth.accepted')).toEqual([
      [1, { 'mcp.auth.cached': false }],
      [1, { 'mcp.auth.cached': true }],
    ])
    expect(await values('mcp.auth.rejected')).toEqual([
      [1, { 'error.type': 'audience' }],
      [1, { 'error.type': 'no_credentials' }],
    ])
  })

  it('of two middlewares are added up, and do not fall when one of them ends', async () => {
    const { values } = collectTelemetry()
    const { as, open } = await world({ mode: 'none' })
    const [one, other] = [open(), open()]
    const end = watch(one)
    watch(other)
    for (const auth of [one, other, other]) await auth.verify(await as.mint())
    const sizes = (count: number) => [
      [count, { 'mcp.auth.cache': 'verified_tokens' }],
      [0, { 'mcp.auth.cache': 'nextcloud_tokens' }],
    ]

    expect(await values('mcp.auth.cache.size')).toEqual(sizes(3))
    const [[before] = []] = await values('mcp.auth.idp.requests')
    end()
    expect(await values('mcp.auth.cache.size')).toEqual(sizes(2))
    expect(await values('mcp.auth.idp.requests')).toEqual([[before, {}]])
    expect(before).toBe(as.received().length)
  })
})

describe('instrument()', () => {
  it('reports once however often it is called, until the last end', async () => {
    const { spans, values } = collectTelemetry()
    const { auth, as, open } = await world({ mode: 'none' })
    const other = open()
    const [first, second] = [watch(auth), watch(auth)]

    await auth.verify(await as.mint())
    await other.verify(await as.mint())
    expect(spans()).toHaveLength(1)
    first()
    first()
    await auth.verify(await as.mint())
    expect(spans()).toHaveLength(2)
    second()
    await auth.verify(await as.mint())
    expect(spans()).toHaveLength(2)
    expect(await values('mcp.auth.verify.duration')).toEqual([[2, {}]])

    watch(auth)
    await auth.verify(await as.mint())
    expect(spans()).toHaveLength(3)
  })

  it('refuses what is no middleware', () => {
    for (const wrong of [undefined, null, {}, () => undefined])
      expect(() => instrument(wrong as never)).toThrow(TypeError)
  })

  it('does without providers', async () => {
    const { auth, signIn } = await world()
    watch(auth)

    await expect(auth.getNextcloudToken(await signIn())).resolves.toMatch(/^nextcloud-token/)
  })

  it('disturbs nothing when a provider fails', async () => {
    const fail = () => expect.fail('canary')
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan: fail, startActiveSpan: fail }) })
    onTestFinished(() => trace.disable())
    const { auth, signIn } = await world()
    watch(auth)

    await expect(auth.getNextcloudToken(await signIn())).resolves.toMatch(/^nextcloud-token/)
  })

  it('keeps every token, secret, subject, path and query to itself', async () => {
    const { spans, metrics } = collectTelemetry()
    const { auth, as, nextcloud, clock } = await world({
      nextcloud: true,
      options: { clientSecret: 'canary-secret', http: { retries: 0 } },
    })
    watch(auth)
    const good = await as.mint({ sub: 'canary-subject', exp: Math.floor(clock.now() / 1_000) + 600 })
    const info = await auth.verify(good)
    await auth.nextcloudFetch(info, '/canary-path?canary=query', { method: 'PURGE' })
    nextcloud.handle((_request, res) => res.destroy())
    await failureOf(auth.nextcloudFetch(info, '/canary-path?canary=query', { body: 'canary', method: 'POST' }))
    as.script('/token', { status: 400, json: { error: 'canary_error', error_description: 'canary text' } })
    clock.advance(400_000)
    await failureOf(auth.getNextcloudToken(info))
    await failureOf(auth.verify('canary.opaque'))
    await failureOf(auth.verify(await as.mint({ sub: 'canary-subject', iss: 'https://canary.example.com' })))
    await turn()

    const seen = JSON.stringify([
      spans().map(({ name, attributes, events, status, links }) => ({ name, attributes, events, status, links })),
      await metrics(),
    ])
    expect(spans().length).toBeGreaterThan(5)
    expect(seen).not.toMatch(/canary/i)
    for (const part of good.split('.')) expect(seen).not.toContain(part)
  })
})

it('costs nothing where nobody watches: the work itself is returned', () => {
  const work = Promise.resolve(1)

  expect(createWatchers().during({ name: 'mcp.auth.verify' }, () => work)).toBe(work)
})
