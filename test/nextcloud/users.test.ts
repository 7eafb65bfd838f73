import { describe, expect, it } from 'vitest'
import { appPasswordWorld } from '../support/login-visits.js'
import type { NextcloudServer } from '../support/nextcloud-server.js'
import { failureOf } from '../support/promises.js'
import { world } from '../support/world.js'

const USER_PATH = '/ocs/v2.php/cloud/user?format=json'
const ALICE = { id: 'a1', displayname: 'Alice Example', email: 'alice@example.com' }

function answers(nextcloud: NextcloudServer, data: unknown, status = 200): void {
  nextcloud.handle((_request, res) =>
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ ocs: { data } })),
  )
}

async function setUp(data: unknown = ALICE, mode: 'token-exchange' | 'pass-through' = 'token-exchange') {
  const audience = mode === 'pass-through' ? 'https://mcp.example.com/mcp' : 'nextcloud'
  const setup = await world({
    nextcloud: true,
    options: (_as, url) => ({ nextcloud: { url, mode, audience, timeout: 300 }, http: { maxResponseBytes: 500 } }),
  })
  answers(setup.nextcloud, data)
  const alice = await setup.signIn()
  return { ...setup, alice, asked: () => setup.nextcloud.received.length }
}

describe('the user in Nextcloud', () => {
  it('is whom Nextcloud names, whatever the token says', async () => {
    const { auth, alice, nextcloud } = await setUp()
    const user = await auth.nextcloudUser(alice)
    expect(user).toEqual({ id: 'a1', displayName: 'Alice Example', email: 'alice@example.com' })
    expect(Object.isFrozen(user)).toBe(true)
    expect(nextcloud.received.map(({ path }) => path)).toEqual([USER_PATH])
  })

  it.each([[{ id: 'a1', displayname: '', email: '' }], [{ id: 'a1', displayname: null, email: null }], [{ id: 'a1' }]])(
    'may have no name and no address: %j',
    async (data) => {
      const { auth, alice } = await setUp(data)
      expect(await auth.nextcloudUser(alice)).toEqual({ id: 'a1', displayName: 'a1', email: undefined })
    },
  )

  it.each(['token-exchange', 'pass-through'] as const)('is asked for once a token, in %s mode', async (mode) => {
    const { auth, alice, asked, signIn } = await setUp(ALICE, mode)
    await Promise.all([auth.nextcloudUser(alice), auth.nextcloudUser(alice)])
    await auth.nextcloudUser(alice)
    expect(asked()).toBe(1)
    await auth.nextcloudUser(await signIn({ sub: 'bob' }))
    expect(asked()).toBe(2)
  })

  it('is asked for again with the next token', async () => {
    const { auth, alice, nextcloud } = await setUp()
    await auth.nextcloudUser(alice)
    answers(nextcloud, { id: 'renamed' })
    await auth.getNextcloudToken(alice, { forceRefresh: true })
    expect(await auth.nextcloudUser(alice)).toMatchObject({ id: 'renamed' })
  })

  it('is known for five minutes by an app password', async () => {
    const { auth, connectAs, nextcloud, clock } = await appPasswordWorld()
    await connectAs('alice.w')
    const alice = { subject: 'alice' }
    const asked = () => nextcloud.received('/ocs/v2.php/cloud/user').length
    expect(await auth.nextcloudUser(alice)).toMatchObject({ id: 'alice.w' })
    const before = asked()
    clock.advance(299_999)
    await auth.nextcloudUser(alice)
    expect(asked()).toBe(before)
    clock.advance(1)
    await auth.nextcloudUser(alice)
    expect(asked()).toBe(before + 1)
  })
})

describe('an answer that names no user', () => {
  it.each<[answer: string, status: number, data: unknown]>([
    ['the page of a proxy', 200, undefined],
    ['no id', 200, { displayname: 'Alice' }],
    ['an empty id', 200, { id: '' }],
    ['an id that is no text', 200, { id: 7 }],
    ['no data', 200, null],
    ['an error of OCS', 404, []],
    ['a refused token', 401, []],
  ])('is an outage and is not kept: %s', async (_answer, status, data) => {
    const { auth, alice, nextcloud } = await setUp()
    if (data === undefined) nextcloud.handle((_request, res) => res.end('<html>'))
    else answers(nextcloud, data, status)
    expect(await failureOf(auth.nextcloudUser(alice))).toMatchObject({
      code: 'ERR_UPSTREAM_UNAVAILABLE',
      status: 503,
      detail: `Nextcloud does not say who the user is (status ${status})`,
      httpStatus: status,
    })
    answers(nextcloud, ALICE)
    expect(await auth.nextcloudUser(alice)).toMatchObject({ id: 'a1' })
  })

  it('may be one that ends in the middle, is too long, or does not end', async () => {
    const { auth, alice, nextcloud } = await setUp()
    const wrong = [
      [() => nextcloud.handle((_request, res) => res.write('{', () => res.destroy())), /who the user is \(\w+\)/],
      [() => answers(nextcloud, { ...ALICE, more: 'x'.repeat(500) }), /answers with more than 500 bytes/],
      [() => nextcloud.handle((_request, res) => res.write('{')), /no answer within 300 ms/],
    ] as const
    for (const [answer, message] of wrong) {
      answer()
      expect(await failureOf(auth.nextcloudUser(alice))).toMatchObject({
        code: 'ERR_UPSTREAM_UNAVAILABLE',
        detail: expect.stringMatching(message) as string,
      })
    }
  })
})

it('without Nextcloud there is no user', async () => {
  const { auth, signIn } = await world({ mode: 'none' })
  expect(await failureOf(auth.nextcloudUser(await signIn()))).toMatchObject({ code: 'ERR_CONFIGURATION' })
})
