import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type RequestHandler } from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readBody, readMetadata } from '../../src/nextcloud-sign-in/registration.js'
import { REDIRECT_URI, register, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const refusalOf = (metadata: unknown): unknown => {
  const read = readMetadata(metadata)
  return 'error' in read ? read.error : undefined
}

describe('the metadata of a client', () => {
  it.each([
    ['nothing', {}],
    ['a string', { redirect_uris: REDIRECT_URI }],
    ['an empty list', { redirect_uris: [] }],
    ['eleven addresses', { redirect_uris: Array.from({ length: 11 }, (_, at) => `${REDIRECT_URI}/${at}`) }],
    ['one bad address', { redirect_uris: [REDIRECT_URI, 'javascript:alert(1)'] }],
  ])('with %s for redirect_uris is refused', (_what, metadata) => {
    expect(refusalOf(metadata)).toBe('invalid_redirect_uri')
  })

  it('has ten redirect URIs', () => {
    expect(refusalOf({ redirect_uris: Array.from({ length: 10 }, (_, at) => `${REDIRECT_URI}/${at}`) })).toBeUndefined()
  })

  it.each([null, [], 'text', undefined])('is an object, and not %j', (body) => {
    expect(refusalOf(body)).toBe('invalid_client_metadata')
  })

  it('keeps the page of a client where that is https, of a bounded length and a URL', () => {
    const kept = (uri: unknown) => readMetadata({ redirect_uris: [REDIRECT_URI], client_uri: uri })
    const good = `https://client.example.com/${'x'.repeat(1_973)}`
    expect(kept(good)).toHaveProperty('client_uri', good)
    for (const bad of [`${good}x`, 'http://client.example.com/', 'javascript:alert(1)', 'https://[', 5, undefined]) {
      expect(kept(bad)).not.toHaveProperty('client_uri')
    }
  })
})

describe('a registration behind a parser of the app', () => {
  /** What is read of a body behind a parser. */
  async function readBehind(parser: RequestHandler, body: string): Promise<unknown> {
    let read: unknown
    const app = express().use(parser, (req: IncomingMessage, res) => {
      void readBody(req).then((found) => {
        read = found
        res.end()
      })
    })
    const server = createServer(app).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const sent = { method: 'POST', headers: { 'content-type': 'application/json' }, body }
    expect((await fetch(`http://127.0.0.1:${port}/`, sent)).status).toBe(200)
    return read
  }

  const metadata = { redirect_uris: [REDIRECT_URI] }
  const parsers = [
    ['to an object', express.json()],
    ['to text', express.text({ type: '*/*' })],
    ['to bytes', express.raw({ type: '*/*' })],
    ['by no parser', (_req, _res, next) => next()],
  ] satisfies [string, RequestHandler][]

  it.each(parsers)('is read %s', async (_how, parser) => {
    expect(await readBehind(parser, JSON.stringify(metadata))).toEqual(metadata)
  })

  it.each(parsers.slice(1))('of more than 16 KiB, read %s, is none', async (_how, parser) => {
    const body = JSON.stringify({ ...metadata, client_name: '' })
    const long = (length: number) => body.replace('""', `"${'x'.repeat(length - body.length)}"`)
    expect(await readBehind(parser, long(16_384))).toMatchObject(metadata)
    expect(await readBehind(parser, long(16_385))).toBeUndefined()
  })
})

describe('the methods of the paths', () => {
  it('let a client in a browser register from any origin', async () => {
    const { origin } = await startSignInServer()

    const asked = await fetch(`${origin}/oauth/register`, { method: 'OPTIONS' })
    const { headers } = await register(origin)

    expect([asked.status, asked.headers.get('access-control-allow-methods')]).toEqual([204, 'POST'])
    expect(asked.headers.get('access-control-allow-headers')).toBe('Content-Type, MCP-Protocol-Version')
    for (const each of [asked.headers, headers]) expect(each.get('access-control-allow-origin')).toBe('*')
  })

  it('are those that a path has, and any other is passed on', async () => {
    const server = await startSignInServer()
    const { origin } = server
    const alice = server.person('alice')
    const question = await alice.until((await registeredClient(server)).authorizationUrl(), `${origin}/oauth/sign-in/`)
    const status = async (method: string, url: string): Promise<number> =>
      (await fetch(url, { method, headers: { cookie: alice.cookies(url) } })).status

    expect(await status('GET', `${origin}/oauth/register`)).toBe(404)
    expect(await status('POST', `${question.href}/done`)).toBe(404)
    expect(await status('PUT', question.href)).toBe(404)
    expect(await status('HEAD', question.href)).toBe(200)
    expect(await status('PUT', `${origin}/nextcloud/callback?code=x&state=y`)).not.toBe(200)
  })
})
