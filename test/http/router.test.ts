import connect from 'connect'
import express from 'express'
import express4 from 'express4'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createRouter, type ConnectHandler, type RouteHandler, type Routes } from '../../src/http/router.js'
import type { ErrorHandler } from '../../src/http/authentication.js'
import { ask } from '../support/answers.js'
import { hosts, type RunningApp } from '../support/hosts.js'

let app: RunningApp | undefined

afterEach(async () => {
  await app?.close()
  app = undefined
})

const appErrors: ErrorHandler = (error, _req, res, next) => {
  if (!(error instanceof Error)) return next(error)
  res.statusCode = 418
  res.end(error.message)
}

const saying =
  (text: string): RouteHandler =>
  (_req, res) =>
    void res.end(text)

const theApp: ConnectHandler = (_req, res) => res.end('the app')

const routes: Routes = new Map<string, Record<string, RouteHandler>>([
  ['/here', { GET: saying('here'), OPTIONS: saying('options') }],
  ['/posted', { POST: saying('posted') }],
  ['/', { GET: saying('root') }],
  ['/later', { GET: (req, res) => Promise.resolve().then(() => saying('later')(req, res)) }],
  ['/failing', { GET: () => Promise.reject(new Error('a bug of a route')) }],
])

describe.each(hosts)('the router on $name', (host) => {
  async function start(): Promise<string> {
    app = await host.start([createRouter(routes), theApp, appErrors])
    return app.url
  }

  it.each([
    ['GET', '/here', 'here'],
    ['GET', '/here/', 'here'],
    ['GET', '/here?query=/there', 'here'],
    ['GET', '/here/?query', 'here'],
    ['OPTIONS', '/here', 'options'],
    ['POST', '/posted', 'posted'],
    ['GET', '/', 'root'],
    ['GET', '/later', 'later'],
    ['GET', 'http://mcp.example.com/here', 'here'],
    ['GET', 'HTTPS://mcp.example.com:8443/here/?query', 'here'],
    ['GET', 'http://[2001:db8::1]:8443/here', 'here'],
    ['GET', 'http://mcp_2.example.com:8/here', 'here'],
    ['GET', 'http://mcp.example.com', 'root'],
    ['GET', 'http://mcp.example.com?query', 'root'],
  ])('serves %s %s', async (method, path, body) => {
    expect(await ask(await start(), { method, path })).toMatchObject({ status: 200, body })
  })

  it.each([
    '/here//',
    '//here',
    '/HERE',
    '/her',
    '/herein',
    '/here/there',
    '/%68ere',
    '/there?/here',
    '/constructor',
    'http://here/there',
    '/http://h/here',
  ])('leaves %s to the app', async (path) => {
    expect(await ask(await start(), { path })).toMatchObject({ status: 200, body: 'the app' })
  })

  // Express sees another path in some of them, so that a limit of the app's for the path would not count them.
  it.each([
    'http://a:c/here',
    'http://a:/here',
    'http://a@b/here',
    'http://a;b/here',
    'http://a%2f/here',
    'http:///here',
    'http://[::g]/here',
    'http://mcp.example.com:443000/here',
  ])('does not serve %s, whose authority is malformed', async (path) => {
    expect((await ask(await start(), { path })).body).not.toBe('here')
  })

  it.runIf(host.name !== 'node:http').for([
    ['/here', ['/here/', '/here']],
    ['/here', ['/x']],
    ['/api', ['/api/here', '/api', '/api?query']],
    ['/api', ['/api']],
    ['/api', ['/api?query']],
  ] as const)('mounted under %s, tells once which of its paths are out of reach', async ([mount, paths]) => {
    const told: unknown[] = []
    const router = createRouter(routes, (...words) => told.push(words))
    const below = host.name === 'Connect' ? connect() : host.name === 'Express 4' ? express4() : express()
    ;(below.use as (...args: unknown[]) => unknown)(mount, router)
    app = await host.start([below, theApp])
    for (const path of paths) await ask(app.url, { path })

    const others = mount === '/here' ? ['/posted', '/', '/later', '/failing'] : [...routes.keys()]
    const isHit = paths.some((path) => path.startsWith(mount))
    expect(told).toEqual(isHit ? [[mount, others]] : [])
  })

  it('serves HEAD as GET, without the body', async () => {
    expect(await ask(await start(), { method: 'HEAD', path: '/here' })).toMatchObject({ status: 200, body: '' })
  })

  it('refuses a method that a path does not have with JSON, which no cache keeps', async () => {
    const answer = await fetch(`${await start()}/here`, { method: 'DELETE' })
    const told = ['Content-Type', 'Cache-Control'].map((name) => answer.headers.get(name))
    expect([answer.status, ...told]).toEqual([405, 'application/json', 'no-store'])
    expect(await answer.json()).toEqual({
      error: 'method_not_allowed',
      error_description: 'This path has no such method',
    })
  })

  it('hands a failure of a route to the error handler of the app', async () => {
    app = await host.start([createRouter(routes), appErrors])

    expect(await ask(app.url, { path: '/failing' })).toMatchObject({ status: 418, body: 'a bug of a route' })
  })
})

describe('a method that a path does not have', () => {
  it.each([
    ['POST', '/here', 'GET, HEAD, OPTIONS'],
    ['DELETE', '/here/', 'GET, HEAD, OPTIONS'],
    ['GET', '/posted', 'POST'],
    ['HEAD', '/posted', 'POST'],
    ['PROPFIND', '/here', 'GET, HEAD, OPTIONS'],
    ['get', '/here', 'GET, HEAD, OPTIONS'],
    ['constructor', '/here', 'GET, HEAD, OPTIONS'],
  ])('is a 405 for %s %s, with what there is', (method, path, allow) => {
    const req = new IncomingMessage(new Socket())
    const res = new ServerResponse(req)
    const passedOn: unknown[] = []

    createRouter(routes)(Object.assign(req, { method, url: path }), res, (error) => passedOn.push(error))

    expect([res.statusCode, res.getHeader('Allow'), res.writableEnded, passedOn]).toEqual([405, allow, true, []])
  })
})

// HTTP/2 lets any text come.
it.each(['', undefined, 'abcdefgh/here?http://b'])('a request without a path is left to the app: %j', (url) => {
  const req = Object.assign(new IncomingMessage(new Socket()), { url })
  const passedOn: unknown[] = []

  createRouter(new Map([['/here', {}]]))(req, new ServerResponse(req), (error) => passedOn.push(error))

  expect(passedOn).toEqual([undefined])
})

it.each([
  ['/mcp/here', '/here', ['/mcp']],
  ['/mcp', '/', ['/mcp']],
  ['/rewritten', '/elsewhere', []],
])('under Connect, %s that has become %s is told as out of reach from the mount alone', (originalUrl, url, mounts) => {
  const req = Object.assign(new IncomingMessage(new Socket()), { originalUrl, url })
  const told: string[] = []

  createRouter(routes, (mount) => told.push(mount))(req, new ServerResponse(req), () => undefined)

  expect(told).toEqual(mounts)
})

it.each([
  ['/nextcloud', []],
  ['/next', ['/next']],
])('mounted under %s, a router with all of its paths under /nextcloud has told %j', (baseUrl, mounts) => {
  const there = new Map(['/nextcloud', '/nextcloud/status'].map((path) => [path, {}]))
  const told: string[] = []
  const req = Object.assign(new IncomingMessage(new Socket()), { baseUrl, url: '/x', originalUrl: `${baseUrl}/x` })

  for (const router of [createRouter(there, (mount) => told.push(mount)), createRouter(there)]) {
    router(req, new ServerResponse(req), () => undefined)
  }

  expect(told).toEqual(mounts)
})
