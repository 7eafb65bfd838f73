import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { asResponse, readBody, readWhole, unreachable, type WholeAnswer } from '../../src/transport/answer.js'
import { manualClock } from '../support/clock.js'

const URL = 'https://idp.example.com/path?secret'
const clock = manualClock()
const inSeconds = (seconds: number): string => new Date(clock.now() + seconds * 1_000).toUTCString()
const read = (response: Response, limit = 1_000): Promise<WholeAnswer> => readWhole(response, URL, limit, clock)
const failureOf = (response: Response): Promise<unknown> => read(response).catch((error: unknown) => error)

describe('an answer', () => {
  it.each([200, 204, 400, 404, 428, 499])('with status %i is handed on with headers and body', async (status) => {
    const body = status === 204 ? null : 'text'
    const answer = await read(new Response(body, { status, headers: { 'x-request-id': '7' } }))

    expect([answer.status, answer.headers.get('x-request-id')]).toEqual([status, '7'])
    expect(new TextDecoder().decode(answer.body)).toBe(body ?? '')
  })

  it.each([301, 302, 303, 307, 308, 304, 0])('that redirects is unusable: %i', async (status) => {
    const response = status === 0 ? Response.error() : new Response(null, { status })

    expect(await failureOf(response)).toMatchObject({
      code: 'ERR_UPSTREAM_UNAVAILABLE',
      detail: 'https://idp.example.com/path redirects instead of answering',
      httpStatus: status,
    })
  })

  it('may be as long as the limit, and no longer', async () => {
    expect(await readBody(new Response('a'.repeat(1_000)), URL, 1_000)).toHaveLength(1_000)
    await expect(readBody(new Response('a'.repeat(1_001)), URL, 1_000)).rejects.toMatchObject({
      code: 'ERR_UPSTREAM_UNAVAILABLE',
      httpStatus: 200,
    })
  })

  it('is named in a failure as far as a log has room', () => {
    const response = new Response(null, { status: 500 })
    const answer = readWhole(response, `https://idp.example.com/${'a'.repeat(5_000)}`, 1, clock)

    return expect(answer).rejects.toMatchObject({
      detail: expect.stringMatching(/^https:\/\/idp\.example\.com\/a{276} answers with status 500$/) as string,
    })
  })

  it.each([204, 205, 304])('with status %i becomes a response without a body', (status) => {
    expect(asResponse({ status, headers: new Headers(), body: new Uint8Array() }, URL).body).toBeNull()
  })
})

describe('a server that is overloaded or fails', () => {
  it.each<[status: number, unprocessed: boolean]>([
    [429, true],
    [503, true],
    [500, false],
    [502, false],
    [504, false],
    [599, false],
  ])('%i is unavailable; whether the request was turned away unread: %s', async (httpStatus, unprocessed) => {
    expect(await failureOf(new Response(null, { status: httpStatus }))).toMatchObject({ httpStatus, unprocessed })
  })

  it.each<[header: string, seconds: number | undefined]>([
    ['120', 120],
    ['0', 0],
    [inSeconds(90), 90],
    ['86400', 3_600],
    [inSeconds(86_400), 3_600],
    [inSeconds(-90), undefined],
    ['-5', undefined],
    ['soon', undefined],
    ['', undefined],
  ])('states its Retry-After as %j: %s seconds', async (header, seconds) => {
    const response = new Response(null, { status: 503, headers: { 'retry-after': header } })

    const retryAfter = seconds === undefined ? 5 : Math.max(seconds, 1)
    expect(await failureOf(response)).toMatchObject({ statedRetryAfter: seconds, retryAfter })
  })
})

describe('a server that cannot be reached', () => {
  const coded = (code: unknown): Error => Object.assign(new Error('POST token=secret'), { code })

  it.each<[name: string, error: unknown, said: string]>([
    ['a code', coded('ECONNRESET'), 'ECONNRESET'],
    ['a code in its cause', new TypeError('secret', { cause: coded('EPROTO') }), 'EPROTO'],
    ['a code that is a number', coded(7), 'Error'],
    ['a name only', new RangeError('secret'), 'RangeError'],
    ['nothing at all', 'secret', 'unknown failure'],
  ])('fails with %s, of which nothing else is kept', (_name, error, said) => {
    const failure = unreachable('The server', error)

    expect(failure).toBeInstanceOf(UpstreamUnavailableError)
    expect(failure.detail).toBe(`The server cannot be reached (${said})`)
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain('secret')
  })

  it.each([
    ...['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL'],
    ...['UND_ERR_CONNECT_TIMEOUT', 'ERR_TLS_CERT_ALTNAME_INVALID', 'HOSTNAME_MISMATCH'],
    ...['CERT_HAS_EXPIRED', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN'],
    ...['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
  ])('surely has not processed the request after %s', (code) => {
    expect(unreachable('The server', coded(code)).unprocessed).toBe(true)
  })

  it.each([
    ...['ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_HEADERS_TIMEOUT', 'ABORT_ERR', ''],
    ...['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_TLS_RENEGOTIATION_DISABLED', 'XCERT_HAS_EXPIRED'],
  ])('may have processed it after %j', (code) => {
    expect(unreachable('The server', coded(code)).unprocessed).toBe(false)
  })
})
