import connect from 'connect'
import express from 'express'
import express4 from 'express4'
import { describe, expect, it } from 'vitest'
import type { ConnectHandler } from '../../src/http/router.js'
import type { McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { ask, misconfigured, send, unavailable, type SendOptions } from '../support/answers.js'
import { bareHost, hosts, type Handler } from '../support/hosts.js'
import { RESOURCE, type ScriptedAuthorizationServer } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

const ROOT = '/.well-known/oauth-protected-resource'
const PATH = `${ROOT}/mcp`
const ISSUER = 'https://idp.example.com/realms/acme'
const DISCOVERY = '/.well-known/openid-configuration'

const theApp: ConnectHandler = (_req, res) => res.end('the app')

/** Starts an app that serves the routes, and says so where they have passed a request on. */
const start = (
  given: McpAuthOptions | ((as: ScriptedAuthorizationServer) => McpAuthOptions) = {},
  host = bareHost,
  mount = (routes: Handler) => routes,
) =>
  world({
    mode: 'none',
    host,
    options: typeof given === 'function' ? given : { issuer: ISSUER, ...given },
    handlers: (auth) => [mount(auth.routes()), theApp],
  })

async function documentAt({ url }: { readonly url: string }, path = PATH): Promise<unknown> {
  const { status, body } = await ask(url, { path })
  expect(status).toBe(200)
  return body
}

describe.each(hosts)('on $name', (host) => {
  it('the document is served at the path of the resource and at the root, with and without a slash or a query', async () => {
    const { url, as } = await start({}, host)

    for (const path of [PATH, ROOT, `${PATH}/`, `${ROOT}/`, `${PATH}?x=1`]) {
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
    }
    expect(as.received()).toEqual([])
  })

  it.each([
    ['a preflight', [['Access-Control-Request-Method', 'GET']] as const],
    ['no preflight', []],
  ])('OPTIONS that is %s lets every origin read it', async (_what, headers) => {
    const { url } = await start({}, host)

    const { response, text } = await send(url, { method: 'OPTIONS', path: PATH, headers })

    expect([response.statusCode, text]).toEqual([204, ''])
    expect(response.headers).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET, HEAD, OPTIONS',
      'access-control-allow-headers': '*',
    })
  })

  it('another method is not allowed, and told what is', async () => {
    const { url } = await start({}, host)

    const { response, text } = await send(url, { method: 'POST', path: PATH })

    expect(response.statusCode).toBe(405)
    expect(response.headers).toMatchObject({
      allow: 'GET, HEAD, OPTIONS',
      'content-type': 'application/json',
      'cache-control': 'no-store',
    })
    expect(text).toBe('{"error":"method_not_allowed","error_description":"This path has no such method"}')
  })

  it('a request for another path passes on', async () => {
    const { url } = await start({}, host)

    for (const path of ['/', '/mcp', `${PATH}/more`, `${ROOT}/other`, '/.well-known', `/x${PATH}`])
      expect(await ask(url, { path })).toMatchObject({ status: 200, body: 'the app' })
  })

  it('credentials, and what proxies say of the host, make no difference', async () => {
    const { url } = await start({}, host)
    const request: SendOptions = {
      path: PATH,
      headers: [
        ['Authorization', 'Bearer of, bad "news"'],
        ['X-Forwarded-Host', 'evil.example'],
        ['Forwarded', 'host=evil.example'],
      ],
    }

    expect(await ask(url, request)).toMatchObject({ status: 200, body: { resource: RESOURCE } })
  })
})

describe('the resource', () => {
  it.each([
    ['https://h', `https://h${ROOT}`],
    ['https://h/', `https://h${ROOT}`],
    ['https://h/mcp', `https://h${ROOT}/mcp`],
    ['https://h/mcp/', `https://h${ROOT}/mcp/`],
    ['https://h:8443/mcp', `https://h:8443${ROOT}/mcp`],
    ['https://h:443/a/b', `https://h${ROOT}/a/b`],
    ['HTTPS://H.EXAMPLE/Mcp', `https://h.example${ROOT}/Mcp`],
    ['https://h/mcp?tenant=a', `https://h${ROOT}/mcp?tenant=a`],
    ['https://h/?tenant=a', `https://h${ROOT}?tenant=a`],
    ['https://h/ä', `https://h${ROOT}/%C3%A4`],
  ])('%s is published to the letter at %s, which the challenge names', async (resource, metadataUrl) => {
    const options = { issuer: ISSUER, resource, rootMetadata: false }
    const { url } = await world({ mode: 'none', host: bareHost, options, handlers: (auth) => [auth.routes(), auth] })
    const { pathname, search } = new URL(metadataUrl)

    expect(await ask(url)).toMatchObject({
      status: 401,
      challenge: `Bearer realm="mcp", resource_metadata="${metadataUrl}"`,
    })
    expect(await documentAt({ url }, pathname + search)).toMatchObject({ resource })
  })

  it.each(['https://h/mcp/', 'https://h/mcp?tenant=a'])('%s is found without its end as well', async (resource) => {
    expect(await documentAt(await start({ resource, rootMetadata: false }))).toMatchObject({ resource })
  })
})

it('rootMetadata: false leaves the root form to the app', async () => {
  const app = await start({ rootMetadata: false })

  expect(await ask(app.url, { path: ROOT })).toMatchObject({ status: 200, body: 'the app' })
  expect(await documentAt(app)).toMatchObject({ resource: RESOURCE })
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
    const document = (await documentAt(await start(given))) as Record<string, unknown>

    expect(document['scopes_supported']).toEqual(scopes)
    expect('scopes_supported' in document).toBe(scopes !== undefined)
  })

  it('is the name and the documentation of the resource, when they are set', async () => {
    const app = await start({ resourceName: 'Notes für alle', resourceDocumentation: 'https://docs.example/mcp' })

    expect(await documentAt(app)).toMatchObject({
      resource_name: 'Notes für alle',
      resource_documentation: 'https://docs.example/mcp',
    })
  })
})

describe.each(hosts)('the authorization servers on $name', (host) => {
  it('are those in front of the issuer, to the letter', async () => {
    const authorizationServers = ['https://front.example.com', 'https://front.example.com/two/']
    const app = await start({ authorizationServers }, host)

    expect(await documentAt(app)).toMatchObject({ authorization_servers: authorizationServers })
    expect(app.as.received()).toEqual([])
  })
})

describe.each(hosts)('resourceMetadataUrl on $name', (host) => {
  const own = `${new URL(RESOURCE).origin}/mcp/metadata`

  it.each([
    ['here', own, true],
    ['on another origin', 'https://docs.example.com/mcp/metadata', false],
  ])('%s is named by challenges, and served if it is here', async (_where, resourceMetadataUrl, isServed) => {
    const options = { issuer: ISSUER, resourceMetadataUrl }
    const handlers = (auth: McpAuth) => [auth.routes(), auth, theApp]
    const app = await world({ mode: 'none', host, options, handlers })

    const challenge = `Bearer realm="mcp", resource_metadata="${resourceMetadataUrl}"`
    expect(await ask(app.url)).toMatchObject({ status: 401, challenge })
    expect(await documentAt(app)).toMatchObject({ resource: RESOURCE })
    expect((await ask(app.url, { path: '/mcp/metadata' })).status).toBe(isServed ? 200 : 401)
  })
})

describe('legacyMetadata', () => {
  const LEGACY = '/.well-known/oauth-authorization-server'
  const legacy = (host = bareHost) => start(({ issuer }) => ({ issuer, legacyMetadata: true }), host)

  it('is left to the app, unless it is switched on', async () => {
    expect(await ask((await start()).url, { path: LEGACY })).toMatchObject({ body: 'the app' })
  })

  it.each(hosts)('serves what the issuer publishes, asked for once, on $name', async (host) => {
    const app = await legacy(host)

    for (const path of [LEGACY, `${LEGACY}/`, LEGACY]) {
      const { response, text } = await send(app.url, { path })
      expect(response.headers).toMatchObject({
        'content-type': 'application/json',
        'cache-control': 'public, max-age=300',
        'access-control-allow-origin': '*',
      })
      expect(JSON.parse(text)).toEqual(app.as.metadata)
    }
    expect(app.as.received()).toHaveLength(1)
  })

  it('does not show the endpoints that only this server is to use', async () => {
    const app = await start(({ issuer }) => ({
      issuer,
      legacyMetadata: true,
      authorizationServer: { tokenEndpoint: 'https://internal.example.com/token' },
    }))

    expect(await documentAt(app, LEGACY)).toEqual(app.as.metadata)
  })

  it.each(hosts)('is a 503 while the issuer is down, for a browser too, and is there again, on $name', async (host) => {
    const app = await legacy(host)
    app.as.script(DISCOVERY, { status: 503 })
    const { response } = await send(app.url, { path: LEGACY })

    expect(response.statusCode).toBe(503)
    expect(response.headers).toMatchObject({ 'access-control-allow-origin': '*' })
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(0)
    app.as.script(DISCOVERY)
    app.clock.advance(60_000)
    expect(await documentAt(app, LEGACY)).toEqual(app.as.metadata)
  })
})

describe('the middleware before the routes', () => {
  it.each(hosts)('lets their paths pass without a token, and no other, on $name', async (host) => {
    const app = await world({
      mode: 'refresh-token',
      host,
      options: { legacyMetadata: true },
      handlers: (auth) => [auth, auth.routes(), theApp],
    })

    for (const path of [PATH, `${PATH}/`, ROOT, '/.well-known/oauth-authorization-server'])
      expect(await documentAt(app, path)).toBeInstanceOf(Object)
    expect((await ask(app.url, { path: '/nextcloud/connect?ticket=none' })).status).toBe(410)
    expect((await ask(app.url, { path: '/nextcloud/status' })).status).toBe(401)
    expect((await ask(app.url, { path: '/nextcloud/callback?state=none' })).status).toBe(400)
    for (const path of ['/', '/mcp', `${PATH}/more`, '/nextcloud/connected'])
      expect((await ask(app.url, { path })).status).toBe(401)
  })

  it('lets no other method than theirs pass', async () => {
    const app = await world({
      mode: 'refresh-token',
      host: bareHost,
      options: { legacyMetadata: true },
      handlers: (auth) => [auth, theApp, auth.routes()],
    })
    const methodsThatPass = async (path: string) => {
      const passing: string[] = []
      for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'])
        if ((await ask(app.url, { path, method })).status !== 401) passing.push(method)
      return passing
    }

    for (const path of [PATH, `${PATH}/`, ROOT, '/.well-known/oauth-authorization-server'])
      expect(await methodsThatPass(path)).toEqual(['GET', 'HEAD', 'OPTIONS'])
    expect(await methodsThatPass('/nextcloud/connect')).toEqual(['GET', 'HEAD', 'POST'])
    expect(await methodsThatPass('/nextcloud/callback')).toEqual(['GET', 'HEAD'])
    expect(await methodsThatPass('/nextcloud/status')).toEqual(['GET', 'HEAD'])
    expect(await methodsThatPass('/nextcloud/disconnect')).toEqual(['POST'])
  })

  it('lets nothing pass where the routes are not served', async () => {
    const { url } = await world({ mode: 'none', host: bareHost, handlers: (auth) => [auth, theApp] })

    expect((await ask(url, { path: PATH })).status).toBe(401)
  })
})

describe('mounted elsewhere', () => {
  const as = (app: unknown) => app as Handler

  it.each<[where: string, mount: (routes: never) => Handler]>([
    ['by an Express 5 router', (routes) => as(express.Router().use(routes))],
    ['under a part of their path by an Express 5 app', (routes) => as(express().use('/.well-known', routes))],
    [
      'under a part of their path by an Express 4 router',
      (routes) => as(express4.Router().use('/.well-known', routes)),
    ],
    ['under a part of their path by Connect', (routes) => as(connect().use('/.well-known', routes))],
  ])('the documents are served %s', async (_where, mount) => {
    const app = await start({}, bareHost, (routes) => as(express().use(mount(routes as never) as never)))

    expect(await documentAt(app)).toMatchObject({ resource: RESOURCE })
    expect(await documentAt(app, ROOT)).toMatchObject({ resource: RESOURCE })
  })

  it('a path that only looks right after the mount point is not served', async () => {
    const { url } = await start({}, bareHost, (routes) => as(express().use('/api', routes as never)))

    expect(await ask(url, { path: `/api${PATH}` })).toMatchObject({ body: 'the app' })
  })

  it('where it is never reached, says so, once', async () => {
    const warnings: unknown[] = []
    const app = await world({
      mode: 'none',
      host: bareHost,
      options: { onEvent: (event) => event.type === 'config.warning' && warnings.push(event) },
      handlers: (auth) => [as(express().use('/api', auth.routes() as never)), theApp],
    })
    for (const path of ['/', '/api', `/api${PATH}`, '/api/x']) await ask(app.url, { path })

    const message = `auth.routes() is mounted under /api, where these paths never reach it: ${PATH}, ${ROOT}. Mount it without a path, before other routes`
    expect(warnings).toMatchObject([{ option: 'routes', message }])
  })
})

describe('with the issuer left to the discovery document', () => {
  const discovered = () => start(({ issuer }) => ({ issuer: undefined!, discoveryUrl: issuer + DISCOVERY }))

  it('it is published as the document has it, and nothing is fetched before somebody asks', async () => {
    const app = await discovered()
    await ask(app.url, { method: 'OPTIONS', path: PATH })
    expect(app.as.received()).toEqual([])

    expect(await documentAt(app)).toMatchObject({ authorization_servers: [app.as.issuer] })
  })

  it('an outage is answered with 503 and Retry-After, readable for every origin', async () => {
    const { url, as } = await discovered()
    as.script(DISCOVERY, { status: 503, headers: { 'retry-after': '7' } })

    const { response } = await send(url, { path: PATH })

    expect(response.headers['access-control-allow-origin']).toBe('*')
    expect(await ask(url, { path: PATH })).toEqual(unavailable('7'))
  })

  it('a document that no issuer may have is answered with 500', async () => {
    const { url, as } = await discovered()
    as.metadata['issuer'] = 'http://idp.example.com'

    expect(await ask(url, { path: PATH })).toEqual(misconfigured())
  })
})
