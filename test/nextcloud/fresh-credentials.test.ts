import { describe, expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createFreshCredentials } from '../../src/nextcloud/fresh-credentials.js'
import { failureOf } from '../support/promises.js'

const USER = { ocs: { meta: { statuscode: 200 }, data: { id: 'a1', displayname: 'Alice' } } }
const DONE = { ocs: { meta: { statuscode: 200 }, data: [] } }
const NOT_DONE = { ocs: { meta: { statuscode: 998 }, data: [] } }

/** Nextcloud's answer to credentials, and what it was asked. */
function setUp(answer: () => Promise<Response>) {
  const asked: [string, unknown][] = []
  const askNextcloud = (url: string, init: unknown) => {
    asked.push([url, init])
    return answer()
  }
  const nextcloud = { base: 'https://cloud.example.com/nc/' }
  return { asked, ...createFreshCredentials({ nextcloud, transport: { askNextcloud } }) }
}

const withStatus = (status: number, body: unknown) => () => Promise.resolve(Response.json(body, { status }))
const page = () => Promise.resolve(new Response('<html>'))
const unavailable = () => Promise.reject(new UpstreamUnavailableError('unavailable', { service: 'Nextcloud' }))

describe('a credential that Nextcloud has just given', () => {
  it.each<[what: string, answer: () => Promise<Response>, account: unknown]>([
    ['opens the account that Nextcloud names', withStatus(200, USER), { id: 'a1' }],
    ['is refused where Nextcloud does not take it', withStatus(401, USER), 'refused'],
    ['opens none that a failure names', withStatus(500, USER), undefined],
    ['opens none that the page of a proxy names', page, undefined],
    ['opens none while Nextcloud is unavailable', unavailable, undefined],
  ])('%s', async (_what, answer, account) => {
    const { accountOf, asked } = setUp(answer)
    const found = await accountOf({ scheme: 'Basic', loginName: 'alice', password: 'secret' })

    if (typeof account === 'object') expect(found).toMatchObject(account as object)
    else expect(found).toBe(account)
    expect(asked).toEqual([
      [
        'https://cloud.example.com/nc/ocs/v2.php/cloud/user?format=json',
        {
          method: 'GET',
          headers: { authorization: 'Basic YWxpY2U6c2VjcmV0', 'ocs-apirequest': 'true', accept: 'application/json' },
        },
      ],
    ])
  })

  it.each<[what: string, answer: () => Promise<Response>, ended: boolean]>([
    ['ends by Nextcloud’s own word', withStatus(200, DONE), true],
    ['does not end by a word of Nextcloud’s that says something else', withStatus(200, NOT_DONE), false],
    ['does not end by the page of a proxy', page, false],
    ['does not end by another status', withStatus(401, DONE), false],
    ['does not end while Nextcloud is unavailable', unavailable, false],
  ])('%s', async (_what, answer, ended) => {
    const { endToken, asked } = setUp(answer)

    expect(await endToken('token')).toBe(ended)

    expect(asked).toMatchObject([
      [
        'https://cloud.example.com/nc/ocs/v2.php/core/apppassword?format=json',
        { method: 'DELETE', headers: { authorization: 'Bearer token', 'ocs-apirequest': 'true' } },
      ],
    ])
  })

  it('is no cover for a fault of our own', async () => {
    const fault = new TypeError('a bug')
    const { accountOf, endToken } = setUp(() => Promise.reject(fault))

    expect(await failureOf(accountOf({ scheme: 'Bearer', token: 'token' }))).toBe(fault)
    expect(await failureOf(endToken('token'))).toBe(fault)
  })
})
