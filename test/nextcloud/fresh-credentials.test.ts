import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import { createFreshCredentials } from '../../src/nextcloud/fresh-credentials.js'
import { createTransport } from '../../src/transport/transport.js'
import { manualClock } from '../support/clock.js'
import { LEAST } from '../support/refusal.js'

const BASE = 'https://cloud.example.com/'
const SECRET = { scheme: 'Bearer', token: 'fresh-token' } as const
const ocs = (statuscode: number, data: unknown = []) => ({ ocs: { meta: { statuscode }, data } })
const USER = ocs(200, { id: 'alice', displayname: 'Alice', email: null })

/** A Nextcloud that answers so; without a status it does not answer. */
function setUp(status: number | undefined, body: unknown) {
  const asked: unknown[] = []
  const clock = manualClock()
  const answer = (url: unknown, { method, headers }: RequestInit = {}) => {
    asked.push({ url: String(url), method, headers: Object.fromEntries(new Headers(headers)) })
    if (status === undefined) return Promise.reject(new TypeError('fetch failed'))
    return Promise.resolve(new Response(typeof body === 'string' ? body : JSON.stringify(body), { status }))
  }
  const http = { ...readConfig(LEAST, {}).http, fetch: answer as typeof fetch }
  const transport = createTransport(http, clock, createEvents(undefined, clock))
  return { ways: createFreshCredentials({ nextcloud: { base: BASE }, transport }), asked }
}

const request = (method: string, path: string) => ({
  url: BASE + path,
  method,
  headers: expect.objectContaining({
    authorization: 'Bearer fresh-token',
    'ocs-apirequest': 'true',
    accept: 'application/json',
  }) as unknown,
})

describe('the end of an access token', () => {
  it.each<[string, number | undefined, unknown, boolean]>([
    ['says that it is done', 200, ocs(200), true],
    ['says 200, and that it is not done', 200, ocs(997), false],
    ['is the page of a proxy', 200, '<h1>Hello</h1>', false],
    ['says done, and is an error', 404, ocs(200), false],
    ['does not come', undefined, '', false],
  ])('has come where the answer of Nextcloud says so: it %s', async (_, status, body, ended) => {
    const { ways, asked } = setUp(status, body)
    expect(await ways.endToken(SECRET.token)).toBe(ended)
    expect(asked[0]).toEqual(request('DELETE', 'ocs/v2.php/core/apppassword?format=json'))
  })
})

describe('the account of a credential', () => {
  it.each<[string, number | undefined, unknown, unknown]>([
    ['names it', 200, USER, expect.objectContaining({ id: 'alice', displayName: 'Alice' })],
    ['refuses the credential', 401, ocs(997), 'refused'],
    ['refuses it, whatever else it says', 401, USER, 'refused'],
    ['names it, and is an error', 404, USER, undefined],
    ['is the page of a proxy', 200, '<h1>Hello</h1>', undefined],
    ['does not come', undefined, '', undefined],
  ])('is known where the answer of Nextcloud %s', async (_, status, body, account) => {
    const { ways, asked } = setUp(status, body)
    expect(await ways.accountOf(SECRET)).toEqual(account)
    expect(asked[0]).toEqual(request('GET', 'ocs/v2.php/cloud/user?format=json'))
  })
})
