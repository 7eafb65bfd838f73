import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { closedPort } from '../support/unusable-ports.js'
import { NotProvisionedError, StorageError, UpstreamUnavailableError } from '../../src/errors/errors.js'

describe('a StorageError', () => {
  it('is answered with 503, a fixed description and Retry-After', () => {
    const { name, code, status, statusCode, expose, retryAfter, headers, body } = new StorageError('The store failed')

    expect({ name, code, status, statusCode, expose, retryAfter, headers, body }).toEqual({
      name: 'StorageError',
      code: 'ERR_STORAGE',
      status: 503,
      statusCode: 503,
      expose: false,
      retryAfter: 5,
      headers: { 'Cache-Control': 'no-store', 'Retry-After': '5' },
      body: { error: 'temporarily_unavailable', error_description: 'The storage of connections is not available' },
    })
  })

  it.each([
    [0, 1],
    [-3, 1],
    [2.1, 3],
    [30, 30],
  ])('asks for whole seconds, at least one: %d becomes %d', (given, asked) => {
    const { retryAfter, headers } = new StorageError('message', undefined, given)

    expect([retryAfter, headers['Retry-After']]).toEqual([asked, String(asked)])
  })

  it.each(['ECONNREFUSED', 'SQLITE_BUSY', '57P03'])('names the code of its cause: %s', (code) => {
    expect(new StorageError('Failed', Object.assign(new Error(), { code })).detail).toBe(`Failed (${code})`)
  })

  it('names the code of what caused its cause, as fetch wraps it, and not the class of the wrapper', async () => {
    const failure: unknown = await fetch(`http://127.0.0.1:${await closedPort()}`).catch((error: unknown) => error)
    expect(new StorageError('Failed', failure).detail).toBe('Failed (ECONNREFUSED)')
    const own = Object.assign(new TypeError('fetch failed', { cause: failure }), { code: 'HTTP_503' })
    expect(new StorageError('Failed', own).detail).toBe('Failed (HTTP_503)')
  })

  it('ends where a chain of causes ends in itself', () => {
    const error = new TypeError()
    error.cause = error
    expect(new StorageError('Failed', error).detail).toBe('Failed (TypeError)')
  })

  it('names the number of an error of MySQL that has no code, and no other number', () => {
    const detailOf = (errno: unknown) => new StorageError('Failed', Object.assign(new Error(), { errno })).detail

    expect([4_166, 65_535].map(detailOf)).toEqual(['Failed (errno 4166)', 'Failed (errno 65535)'])
    for (const errno of [0, -111, 65_536, 1.5, NaN, '1045', 'pw-secret', undefined])
      expect(detailOf(errno)).toBe('Failed')
  })

  it.each([
    new Error('postgres://user:pw-secret@db'),
    Object.assign(new Error('redis://:pw-secret@db'), { code: 'postgres://user:pw-secret@db' }),
    { code: { text: 'pw-secret' } },
    new Error('failed', { cause: Object.assign(new Error('pw-secret'), { code: 'pw-secret' }) }),
    'pw-secret',
    null,
  ])('holds nothing else of its cause, which may hold a connection string: case %#', (cause) => {
    const error = new StorageError('The store failed', cause)

    expect(error.detail).toBe('The store failed')
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('pw-secret')
  })
})

describe('an error told again', () => {
  it('keeps all that is not told otherwise, and leaves the first as it was', () => {
    const first = new UpstreamUnavailableError('unavailable', {
      httpStatus: 503,
      statedRetryAfter: 90,
      unprocessed: true,
    })
    const told = first.with({ retryAfter: 7.5 }).with({ service: 'Nextcloud' })

    expect(told).toMatchObject({ detail: 'unavailable', httpStatus: 503, statedRetryAfter: 90, unprocessed: true })
    expect([told.retryAfter, told.headers['Retry-After'], told.body.error_description]).toEqual([
      8,
      '8',
      'Nextcloud is not available',
    ])
    expect([first.retryAfter, first.body.error_description]).toEqual([90, 'The authorization server is not available'])
  })

  it('states no Retry-After that no server stated', () => {
    expect(new UpstreamUnavailableError('refused').with({ retryAfter: 30 }).statedRetryAfter).toBeUndefined()
  })

  it('has the link of the caller to whom it is told', () => {
    const first = new NotProvisionedError('consent')
    const link = { connectUrl: 'https://mcp.example/connect', elicitationId: 'e', expiresAt: 7 }

    expect(first.with(link)).toMatchObject({ reason: 'consent', ...link, body: { connect_url: link.connectUrl } })
    expect(first.connectUrl).toBeUndefined()
  })
})
