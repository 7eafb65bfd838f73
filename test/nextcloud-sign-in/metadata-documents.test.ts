import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { clientOf, REDIRECT_URI } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const CLIENT_ID = 'https://client.example.com/oauth/client.json'

const documentOf = (more: Record<string, unknown> = {}) => ({
  client_id: CLIENT_ID,
  client_name: 'Example client',
  redirect_uris: [REDIRECT_URI],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
  ...more,
})

describe('a client whose id is the address of its metadata', () => {
  it('signs its user in, and stands on the page with its name and its host', async () => {
    const server = await startSignInServer({ documents: () => Promise.resolve(documentOf()) })
    const client = clientOf(server, CLIENT_ID)
    const alice = server.person('alice')

    const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const answer = await client.signIn(server.person('alice'))

    expect(question.pathname).toMatch(/^\/oauth\/sign-in\//)
    expect(answer.status).toBe(200)
    expect((await client.refresh(String(answer.body['refresh_token']))).status).toBe(200)
    expect(await server.auth.verify(String(answer.body['access_token']))).toMatchObject({ clientId: CLIENT_ID })
  })

  it('may have any port on loopback, where its document names none and no kind of application', async () => {
    const document = documentOf({ redirect_uris: ['http://localhost/callback', 'http://127.0.0.1/callback'] })
    const server = await startSignInServer({ documents: () => Promise.resolve(document) })

    for (const host of ['localhost', '127.0.0.1']) {
      const client = clientOf(server, CLIENT_ID, `http://${host}:53111/callback`)
      expect((await client.signIn(server.person('alice'))).status).toBe(200)
    }
  })

  it.each([
    ['names another id', documentOf({ client_id: 'https://client.example.com/other.json' })],
    ['has a secret', documentOf({ client_secret: 'x', token_endpoint_auth_method: 'client_secret_post' })],
    ['has no redirect URI', documentOf({ redirect_uris: [] })],
    ['has other redirect URIs', documentOf({ redirect_uris: ['https://evil.example.com/callback'] })],
    ['is no object', 'client'],
  ])('is refused where its document %s', async (_what, document) => {
    const server = await startSignInServer({ documents: () => Promise.resolve(document) })
    const url = clientOf(server, CLIENT_ID).authorizationUrl()

    const response = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } })

    expect([response.status, response.headers.get('location')]).toEqual([400, null])
  })

  it('is not fetched from an address that is not public, nor without https', async () => {
    let asked = 0
    const inside = createServer((_req, res) => {
      asked += 1
      res.setHeader('content-type', 'application/json')
      res.end(JSON.stringify(documentOf()))
    })
    inside.on('connection', () => (asked += 1))
    inside.listen(0, '127.0.0.1')
    await once(inside, 'listening')
    onTestFinished(() => void inside.close())
    const { port } = inside.address() as AddressInfo
    const server = await startSignInServer()

    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, `[::ffff:127.0.0.1]:${port}`]) {
      for (const scheme of ['https', 'http']) {
        const client = clientOf(server, `${scheme}://${host}/client.json`)
        const response = await fetch(client.authorizationUrl(), {
          redirect: 'manual',
          headers: { accept: 'text/html' },
        })
        expect([response.status, response.headers.get('location')]).toEqual([400, null])
      }
    }
    expect(asked).toBe(0)
  })

  it('keeps to what its document says at the token endpoint too', async () => {
    let document = documentOf()
    const server = await startSignInServer({ documents: () => Promise.resolve(document) })
    const client = clientOf(server, CLIENT_ID)
    const code = (await client.authorize(server.person('alice'))).get('code') ?? ''
    document = documentOf({ redirect_uris: ['https://evil.example.com/callback'] })

    const stolen = await client.redeem(code, { redirect_uri: 'https://evil.example.com/callback' })

    expect([stolen.status, stolen.body['error']]).toEqual([400, 'invalid_grant'])
  })
})
