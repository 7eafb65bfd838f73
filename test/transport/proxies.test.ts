import { once } from 'node:events'
import { createServer, globalAgent } from 'node:http'
import { Agent as HttpsAgent, createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo, type Server } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import { Agent, fetch as undiciFetch, ProxyAgent, type Dispatcher, type RequestInit as UndiciInit } from 'undici'
import type { FetchFunction, HttpOptions } from '../../src/index.js'
import { selfSigned } from '../support/certificate.js'
import { world } from '../support/world.js'

const MIB = 2 ** 20
const { cert, key } = selfSigned({ names: ['cloud.example.com', '127.0.0.1'] })

let nextcloud: number
let proxy: string
/** Requests to Nextcloud, and connections through the proxy. */
let seen: string[]

beforeEach(async () => {
  seen = []
  const server = createTlsServer({ cert, key }, (req, res) => {
    void buffer(req).then((body) => {
      const { 'content-length': length = 'none' } = req.headers
      seen.push(`${req.method ?? ''} ${body.length} of ${length}`)
      if (req.url === '/moved') res.writeHead(301, { location: '/elsewhere' }).end()
      else if (req.method === 'DELETE') res.writeHead(204).end()
      else res.writeHead(200, { 'x-from': 'nextcloud' }).end('answer')
    })
  })
  nextcloud = await portOf(server)
  const forwarding = createServer().on('connect', (req, socket) => {
    seen.push(`CONNECT ${String(req.url).replace(/\d+$/, 'port')}`)
    const there = connect(Number(String(req.url).split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      there.pipe(socket)
      socket.pipe(there)
    })
    there.on('error', () => socket.destroy())
    socket.on('error', () => there.destroy())
  })
  proxy = `http://127.0.0.1:${await portOf(forwarding)}`
})

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

const through = (dispatcher: Dispatcher): HttpOptions => {
  onTestFinished(() => dispatcher.destroy())
  // Another class than Node's own Response, with the same members.
  const fetch: unknown = (url: string, init: UndiciInit) => undiciFetch(url, { ...init, dispatcher })
  return { fetch: fetch as FetchFunction }
}
const ownCertificate = (): HttpOptions => {
  const agent = new HttpsAgent({ ca: cert, keepAlive: true, timeout: 4_000 })
  onTestFinished(() => agent.destroy())
  return { agent: (url) => (url.protocol === 'https:' ? agent : globalAgent) }
}
const proxyAgent = (): HttpOptions => {
  const agent = new HttpsProxyAgent(proxy)
  // It takes the certificates behind the proxy from the process alone (NODE_EXTRA_CA_CERTS), which a test cannot change.
  Object.assign(agent.options, { ca: cert })
  return { agent: (url) => (url.protocol === 'https:' ? agent : globalAgent) }
}

it.each<[way: string, host: string, http: () => HttpOptions, first: string[]]>([
  ['http.agent with a certificate of its own', '127.0.0.1', ownCertificate, []],
  ['http.agent with a proxy', 'cloud.example.com', proxyAgent, ['CONNECT cloud.example.com:port']],
  [
    "undici's fetch with a certificate of its own",
    '127.0.0.1',
    () => through(new Agent({ connect: { ca: cert } })),
    [],
  ],
  [
    "undici's fetch with a proxy",
    'cloud.example.com',
    () => through(new ProxyAgent({ uri: proxy, requestTls: { ca: cert } })),
    ['CONNECT cloud.example.com:port'],
  ],
])('%s: requests, answers and redirects are what they are', async (_way, host, http, first) => {
  const { auth, signIn } = await world({
    options: { nextcloud: { url: `https://${host}:${nextcloud}` }, http: http() },
  })
  const who = await signIn()
  const body = new Blob([Buffer.alloc(MIB)])
  seen.length = 0

  const got = await auth.nextcloudFetch(who, '/file')
  expect(got).toBeInstanceOf(Response)
  expect([got.status, got.headers.get('x-from'), await got.text()]).toEqual([200, 'nextcloud', 'answer'])
  const headers = { 'content-length': `${MIB}` }
  const put = await auth.nextcloudFetch(who, '/file', { method: 'PUT', body: body.stream(), headers })
  await put.body?.cancel()
  const deleted = await auth.nextcloudFetch(who, '/file', { method: 'DELETE' })
  const moved = await auth.nextcloudFetch(who, '/moved', { method: 'PROPFIND', body: '<xml/>' })

  expect([put.status, deleted.status, deleted.body, moved.status]).toEqual([200, 204, null, 301])
  const requests = seen.filter((line) => !line.startsWith('CONNECT'))
  expect(requests).toEqual([
    'GET 0 of none',
    `PUT ${MIB} of ${MIB}`,
    expect.stringMatching(/^DELETE 0/),
    'PROPFIND 6 of 6',
  ])
  expect(seen.filter((line) => line.startsWith('CONNECT')).slice(0, 1)).toEqual(first)
})
