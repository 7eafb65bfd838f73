import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { StorageError } from '../../src/errors/errors.js'

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
    expect(new StorageError('The store failed', Object.assign(new Error(), { code })).message).toBe(
      `The store failed (${code})`,
    )
  })

  it.each([
    new Error('postgres://user:pw-secret@db'),
    Object.assign(new Error('redis://:pw-secret@db'), { code: 'postgres://user:pw-secret@db' }),
    { code: { text: 'pw-secret' } },
    'pw-secret',
    null,
  ])('holds nothing else of its cause, which may hold a connection string: case %#', (cause) => {
    const error = new StorageError('The store failed', cause)

    expect(error.message).toBe('The store failed')
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('pw-secret')
  })
})
