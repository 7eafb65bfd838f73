import connect from 'connect'
import express from 'express'
import express4 from 'express4'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ConnectHandler } from '../../src/http/router.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { ask, misconfigured, send, unavailable, type SendOptions } from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { bareHost, hosts, listen, type RunningApp } from '../support/hosts.js'
import {
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const ROOT = '/.well-known/oauth-protected-resource'
const PATH = `${ROOT}/mcp`
const ISSUER = 'https://idp.example.com/realms/acme'

const clock = manualClock()
let auth: McpAuth
let app: RunningApp | undefined

afterEach(async () => {
  await app?.close()
  app = undefined
  await auth.close()
})

const theApp: ConnectHandler = (_req, res) => res.end('the app')

function create(given: McpAuthOptions = {}): McpAuth {
  auth = createMcpAuth(
    { resource: RESOURCE, ...(given.discoveryUrl === undefined && { issuer: ISSUER }), ...given },
    clock,
  )
  return auth
}

/** An app that serves the routes, and says so where they have passed a request on. */
async function start(given: McpAuthOptions = {}, host = bareHost): Promise<string> {
  app = await host.start([create(given).routes(), theApp])
  return app.url
}

async function documentAt(url: string, path: string): Promise<unknown> {
  const { status, body } = await ask(url, { path })
  expect(status).toBe(200)
  return body
}

describe.each(hosts)('on $name', (host) => {
  it.each([
    ['the path of the resource', PATH],
    ['the root', ROOT],
    ['the path of the resource with a slash', `${PATH}/`],
    ['the root with a slash', `${ROOT}/`],
    ['the path of the resource with a query', `${PATH}?x=1`],
  ])('the document is served at %s', async (_where, path) => {
    const url = await start({}, host)

    const { response, text } = await send(url, { path })

    expect(response.statusCode).toBe(200)
    expect(response.headers).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'public, max-age=300',
      'access-control-allow-origin': '*',
    })
    expect(response.headers).not.toHaveProperty('www-authenticate')
    expect(JSON.parse(text)).toEqual({
      resource: RESOURCE,
      authorization_servers: [ISSUER],
      bearer_methods_supported: ['header'],
    })
  })

  it('HEAD gets the headers of the document and no body', async () => {
    const url = await start({}, host)

    const { response, text } = await send(url, { method: 'HEAD', path: PATH })

    expect([response.statusCode, text]).toEqual([200, ''])
    expect(response.headers).toMatchObject({ 'content-type': 'application/json', 'access-control-allow-origin': '*' })
  })

  it.each([
    ['a preflight', [['Access-Control-Request-Method', 'GET']] as const],
    ['no preflight', []],
  ])('OPTIONS that is %s lets every origin read it', async (_what, headers) => {
    const url = await start({}, host)

    const { response, text } = await send(url, { method: 'OPTIONS', path: PATH, headers })

    expect([response.statusCode, text]).toEqual([204, ''])
    expect(response.headers).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET, HEAD, OPTIONS',
      'access-control-allow-headers': '*',
    })
  })

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])('%s is not allowed, and told what is', async (method) => {
    const url = await start({}, host)

    const { response, text } = await send(url, { method, path: PATH })

    expect(response.headers).toMatchObject({ 'content-type': 'application/json', 'cache-control': 'no-store' })
    expect([response.statusCode, response.headers.allow, text]).toEqual([
      405,
      'GET, HEAD, OPTIONS',
      '{"error":"method_not_allowed","error_description":"This path has no such method"}',
    ])
  })

  it.each([
    '/',
    '/mcp',
    `${PATH}/more`,
    `${ROOT}/other`,
    '/.well-known',
    '/x/.well-known/oauth-protected-resource/mcp',
  ])('a request for %s passes on', async (path) => {
    expect(await ask(await start({}, host), { path })).toMatchObject({ status: 200, body: 'the app' })
  })

  it('credentials, good or bad, make no difference', async () => {
    const url = await start({}, host)
    const request: SendOptions = { path: PATH, headers: [['Authorization', 'Bearer of, bad "news"']] }

    expect(await ask(url, request)).toMatchObject({ status: 200, body: { resource: RESOURCE } })
  })
})

describe('the resource is published to the letter, at the place that goes with it', () => {
  it.each([
    ['https://h', ROOT],
    ['https://h/', ROOT],
    ['https://h/mcp', `${ROOT}/mcp`],
    ['https://h/mcp/', `${ROOT}/mcp`],
    ['https://h/mcp/', `${ROOT}/mcp/`],
    ['https://h:443/a/b', `${ROOT}/a/b`],
    ['HTTPS://H.EXAMPLE/Mcp', `${ROOT}/Mcp`],
    ['https://h/mcp?tenant=a', `${ROOT}/mcp`],
    ['https://h/mcp?tenant=a', `${ROOT}/mcp?tenant=a`],
    ['https://h/?tenant=a', `${ROOT}?tenant=a`],
    ['https://h/ä', `${ROOT}/%C3%A4`],
  ])('%s at %s', async (resource, path) => {
    const url = await start({ resource, rootMetadata: false })

    expect(await documentAt(url, path)).toMatchObject({ resource })
  })

  it.each([
    ['https://h', `https://h${ROOT}`],
    ['https://h/', `https://h${ROOT}`],
    ['https://h/mcp', `https://h${ROOT}/mcp`],
    ['https://h/mcp/', `https://h${ROOT}/mcp/`],
    ['https://h:8443/mcp', `https://h:8443${ROOT}/mcp`],
    ['https://h/mcp?tenant=a', `https://h${ROOT}/mcp?tenant=a`],
    ['https://h/?tenant=a', `https://h${ROOT}?tenant=a`],
  ])('the challenge for %s names %s', async (resource, metadataUrl) => {
    app = await bareHost.start([create({ resource })])

    expect(await ask(app.url)).toMatchObject({
      status: 401,
      challenge: `Bearer realm="mcp", resource_metadata="${metadataUrl}"`,
    })
  })

  it('the Host header of a request changes nothing', async () => {
    const url = await start()
    const headers = [
      ['X-Forwarded-Host', 'evil.example'],
      ['Forwarded', 'host=evil.example'],
    ] as const

    expect(await ask(url, { path: PATH, headers })).toMatchObject({ body: { resource: RESOURCE } })
  })
})

describe('rootMetadata: false', () => {
  it('leaves the root form to the app', async () => {
    const url = await start({ rootMetadata: false })

    expect(await ask(url, { path: ROOT })).toMatchObject({ status: 200, body: 'the app' })
    expect(await documentAt(url, PATH)).toMatchObject({ resource: RESOURCE })
  })

  it('still serves it where that is the place of the resource', async () => {
    const url = await start({ rootMetadata: false, resource: 'https://h' })

    expect(await documentAt(url, ROOT)).toMatchObject({ resource: 'https://h' })
  })
})

describe('what is published', () => {
  it.each<[string, McpAuthOptions, string[] | undefined]>([
    ['no scopes', {}, undefined],
    ['the required scopes', { requiredScopes: ['a', 'b'] }, ['a', 'b']],
    ['the supported scopes instead', { requiredScopes: ['a'], scopesSupported: ['a', 'c'] }, ['a', 'c']],
    ['no scopes when the list is empty', { requiredScopes: ['a'], scopesSupported: [] }, undefined],
    ['never offline_access', { scopesSupported: ['offline_access', 'a'] }, ['a']],
    ['never offline_access, even where it is all there is', { scopesSupported: ['offline_access'] }, undefined],
    ['never offline_access, even where it is required', { requiredScopes: ['a', 'offline_access'] }, ['a']],
  ])('is %s', async (_what, given, scopes) => {
    const document = (await documentAt(await start(given), PATH)) as Record<string, unknown>

    expect(document['scopes_supported']).toEqual(scopes)
    expect('scopes_supported' in document).toBe(scopes !== undefined)
  })

  it('is the name and the documentation of the resource, when they are set', async () => {
    const url = await start({ resourceName: 'Notes für alle', resourceDocumentation: 'https://docs.example/mcp' })

    expect(await documentAt(url, PATH)).toEqual({
      resource: RESOURCE,
      authorization_servers: [ISSUER],
      bearer_methods_supported: ['header'],
      resource_name: 'Notes für alle',
      resource_documentation: 'https://docs.example/mcp',
    })
  })
})

describe('mounted elsewhere', () => {
  it('the documents are served by an Express 5 router', async () => {
    const router = express.Router().use(create().routes())
    app = await listen(express().use(router))

    expect(await documentAt(app.url, PATH)).toMatchObject({ resource: RESOURCE })
  })

  it('the documents are served by an Express 5 app inside another, under a part of their path', async () => {
    const inner = express().use(create().routes())
    app = await listen(express().use('/.well-known', inner))

    expect(await documentAt(app.url, PATH)).toMatchObject({ resource: RESOURCE })
    expect(await documentAt(app.url, ROOT)).toMatchObject({ resource: RESOURCE })
  })

  it('the documents are served by an Express 4 router under a part of their path', async () => {
    const router = express4.Router().use(create().routes())
    app = await listen(express4().use('/.well-known', router))

    expect(await documentAt(app.url, PATH)).toMatchObject({ resource: RESOURCE })
  })

  it('the documents are served by Connect under a part of their path', async () => {
    app = await listen(connect().use('/.well-known', create().routes()))

    expect(await documentAt(app.url, PATH)).toMatchObject({ resource: RESOURCE })
  })

  it('a path that only looks right after the mount point is not served', async () => {
    app = await listen(express().use('/api', create().routes()))

    expect(await ask(app.url, { path: `/api${PATH}` })).toMatchObject({ status: 404 })
  })
})

describe('with the issuer left to the discovery document', () => {
  let as: ScriptedAuthorizationServer
  const DISCOVERY = '/.well-known/openid-configuration'

  beforeAll(async () => {
    as = await startAuthorizationServer(clock.now)
  })
  afterEach(() => {
    as.script(DISCOVERY)
    clock.advance(60_000)
  })
  afterAll(() => as.close())

  const discovered = () => start({ discoveryUrl: `${as.issuer}${DISCOVERY}` })

  it('it is published as the document has it', async () => {
    expect(await documentAt(await discovered(), PATH)).toMatchObject({ authorization_servers: [as.issuer] })
  })

  it('an outage is answered with 503 and Retry-After, readable for every origin', async () => {
    const url = await discovered()
    as.script(DISCOVERY, { status: 503, headers: { 'retry-after': '7' } })

    const { response } = await send(url, { path: PATH })

    expect(response.headers['access-control-allow-origin']).toBe('*')
    expect(await ask(url, { path: PATH })).toEqual(unavailable('7'))
  })

  it('a document that no issuer may have is answered with 500', async () => {
    const url = await discovered()
    as.script(DISCOVERY, { json: { ...as.metadata, issuer: 'http://idp.example.com' } })

    expect(await ask(url, { path: PATH })).toEqual(misconfigured())
  })

  it('nothing is fetched before somebody asks, and OPTIONS asks for nothing', async () => {
    const before = as.received().length
    const url = await discovered()

    await ask(url, { method: 'OPTIONS', path: PATH })

    expect(as.received()).toHaveLength(before)
  })
})

it('with the issuer given nothing is fetched for the document', async () => {
  const fetched: string[] = []
  const fetch = (url: string): Promise<Response> => {
    fetched.push(url)
    return Promise.reject(new TypeError('no network'))
  }
  const url = await start({ http: { fetch } })

  expect(await documentAt(url, PATH)).toMatchObject({ authorization_servers: [ISSUER] })
  expect(fetched).toEqual([])
})
