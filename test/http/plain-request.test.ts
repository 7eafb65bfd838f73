import { describe, expect, it } from 'vitest'
import type { AuthenticationVerdict, McpAuthOptions, PlainRequest } from '../../src/index.js'
import { send } from '../support/answers.js'
import { bareHost } from '../support/hosts.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

const start = (options: McpAuthOptions = {}) =>
  world({
    mode: 'none',
    host: bareHost,
    options,
    handlers: (auth) => [auth],
  })

const requestWith = (authorization?: string | readonly string[]): PlainRequest => ({
  method: 'POST',
  url: RESOURCE,
  headers: authorization === undefined ? {} : { Authorization: authorization },
})

/** The answer of the middleware to the same request, as a verdict that does not let it pass. */
async function answerTo(url: string, { headers }: PlainRequest): Promise<object> {
  const given = Object.entries(headers).flatMap(([name, values]) =>
    [values as string | string[]].flat().map((value) => [name, value] as const),
  )
  const { response, text } = await send(url, { method: 'POST', path: '/mcp', headers: given })
  const { 'www-authenticate': challenge, 'retry-after': retryAfter } = response.headers
  return { status: response.statusCode, challenge, retryAfter, body: JSON.parse(text) as unknown }
}

function shown(verdict: AuthenticationVerdict): object {
  if (!('status' in verdict)) return verdict
  const { status, headers, body } = verdict
  return { status, challenge: headers['WWW-Authenticate'], retryAfter: headers['Retry-After'], body }
}

describe('authenticate()', () => {
  it.each<[string, string | readonly string[] | undefined]>([
    ['no credentials', undefined],
    ['another scheme', 'Basic eDp5'],
    ['a malformed token', 'Bearer a.b.c'],
    ['something behind the token', 'Bearer a b'],
    ['two headers', ['Bearer a', 'Bearer b']],
  ])('answers %s as the middleware does', async (_name, authorization) => {
    const { url, auth } = await start({ requiredScopes: ['notes:read'] })
    const request = requestWith(authorization)

    const verdict = shown(await auth.authenticate(request))

    expect(verdict).toMatchObject({ status: expect.any(Number) as number, challenge: expect.any(String) as string })
    expect(verdict).toEqual(await answerTo(url, request))
  })

  it('takes a header without a value for none', async () => {
    const { auth, as } = await start()
    const headers = { authorization: `Bearer ${await as.mint()}`, dpop: undefined }

    const verdict = await auth.authenticate({ method: 'POST', url: RESOURCE, headers })

    expect(verdict).toMatchObject({ info: { subject: 'alice' } })
  })

  it('answers a token of a missing scope, and an outage, as the middleware does', async () => {
    const { url, auth, as, events } = await start({ requiredScopes: ['notes:write'] })
    const request = requestWith(`Bearer ${await as.mint({ scope: 'notes:read' })}`)
    expect(shown(await auth.authenticate(request))).toMatchObject({ status: 403 })
    expect(shown(await auth.authenticate(request))).toEqual(await answerTo(url, request))
    expect(events.filter(({ type }) => type === 'token.rejected')).toHaveLength(3)

    const other = await start()
    const good = requestWith(`Bearer ${await other.as.mint()}`)
    await other.as.stop()
    const verdict = shown(await other.auth.authenticate(good))
    expect(verdict).toMatchObject({ status: 503, challenge: undefined, retryAfter: expect.any(String) as string })
    expect(verdict).toEqual(await answerTo(other.url, good))
  })

  it.each<[string, (token: string) => PlainRequest]>([
    ['an object', (token) => requestWith(`bearer ${token}`)],
    ['lists', (token) => requestWith([`Bearer ${token}`])],
    ['Headers', (token) => ({ ...requestWith(), headers: new Headers({ authorization: `Bearer ${token}` }) })],
    ['a Request', (token) => new Request(RESOURCE, { method: 'POST', headers: { authorization: `Bearer ${token}` } })],
  ])('says who a caller is, of headers in %s', async (_form, requestOf) => {
    const { auth, as, events } = await start()
    const token = await as.mint()

    const verdict = await auth.authenticate(requestOf(token))

    expect(verdict).toMatchObject({
      info: { token, subject: 'alice' },
      getNextcloudToken: expect.any(Function) as unknown,
    })
    expect(await auth.authenticate(requestOf(token))).toEqual(verdict)
    expect(events.filter(({ type }) => type === 'token.accepted')).toHaveLength(2)
  })

  it.each<[string, Record<string, string>, boolean]>([
    ['without a body', {}, true],
    ['with a length of 0', { 'Content-Length': '0' }, true],
    ['with a body', { 'Content-Length': '7' }, false],
    ['with a body in chunks', { 'Transfer-Encoding': 'chunked' }, false],
  ])('tells a CORS preflight, %s: %s', async (_name, more, isPreflight) => {
    const { auth } = await start()
    const headers = { 'Access-Control-Request-Method': 'POST', ...more }

    const verdict = await auth.authenticate({ method: 'OPTIONS', url: '/mcp', headers })

    if (isPreflight) expect(verdict).toEqual({ preflight: true })
    else expect(verdict).toMatchObject({ status: 401 })
  })

  it('refuses two headers that differ in case alone, and two of Headers', async () => {
    const { auth, as } = await start()
    const token = `Bearer ${await as.mint()}`
    const headers = new Headers([
      ['authorization', token],
      ['authorization', token],
    ])

    expect(await auth.authenticate({ ...requestWith(), headers })).toMatchObject({ status: 400 })
    const both = { authorization: token, Authorization: token }
    expect(await auth.authenticate({ ...requestWith(), headers: both })).toMatchObject({ status: 400 })
  })

  it.each([
    undefined,
    null,
    {},
    { method: 'GET' },
    { method: 'GET', url: '/' },
    { method: 'GET', url: 7, headers: {} },
  ])('rejects with a TypeError for %j', async (given) => {
    const { auth } = await start()
    await expect(auth.authenticate(given as never)).rejects.toThrow(TypeError)
  })
})
