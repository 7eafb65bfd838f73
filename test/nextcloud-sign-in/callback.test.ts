import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { wordsOf } from '../support/html.js'
import { ACCOUNT_PASSWORD } from '../support/nextcloud/state.js'
import { createVisitor, type Visitor } from '../support/nextcloud/visitor.js'
import { press } from '../support/press-button.js'
import { REDIRECT_URI, registeredClient, type RegisteredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const callbackOf = ({ origin }: SignInServer): string => `${origin}/nextcloud/callback`

/** Reasons for which sign-ins have failed so far. */
const failures = ({ events }: SignInServer): unknown[] =>
  events.flatMap((event) => (event.type === 'connect.failed' ? [event.reason] : []))

/** Somebody who has said yes and is at Nextcloud, which sends them back to an address with another answer. */
async function atNextcloud(server: SignInServer, answer: Readonly<Record<string, string>>) {
  const client = await registeredClient(server)
  const alice = server.person('alice')
  const callback = await alice.until(client.authorizationUrl(), callbackOf(server))
  const other = new URL(callback)
  other.searchParams.delete('code')
  for (const [name, value] of Object.entries(answer)) other.searchParams.set(name, value)
  return { client, alice, callback, other }
}

describe('an answer of Nextcloud', () => {
  it('that the person says no leads back to the client, which learns that', async () => {
    const server = await startSignInServer()
    const { alice, other } = await atNextcloud(server, { error: 'access_denied' })

    const back = await alice.until(other, REDIRECT_URI)

    expect([back.searchParams.get('error'), back.searchParams.get('code')]).toEqual(['access_denied', null])
    expect(failures(server)).toEqual(['declined'])
  })

  it('that the person says no leads nobody on in another browser', async () => {
    const server = await startSignInServer()
    const { alice, other, callback } = await atNextcloud(server, { error: 'access_denied' })

    const seen = await server.person('mallory').open(other)

    expect([seen.status, wordsOf(seen.html)]).toEqual([400, expect.stringContaining('That did not fit')])
    expect(failures(server)).toEqual(['declined'])
    // It is spent all the same.
    expect((await alice.open(callback)).status).toBe(400)
  })

  it('with an empty code, or without one, signs nobody in', async () => {
    for (const answer of [{ code: '' }, {}]) {
      const server = await startSignInServer()
      const { alice, other } = await atNextcloud(server, answer)

      const seen = await alice.open(other)

      expect([seen.status, wordsOf(seen.html)]).toEqual([400, expect.stringContaining('That did not fit')])
      expect(failures(server)).toEqual(['answer'])
    }
  })

  it.each([
    ['of more than 1,024 characters', 'x'.repeat(1_025)],
    ['of characters that a code does not have', 'x\n'],
  ])('with a code %s is not sent, nor kept until it is', async (_what, code) => {
    const server = await startSignInServer()
    const { alice, other } = await atNextcloud(server, { code })
    const [asked, before] = [server.nextcloud.requests.length, await server.storage.list?.({ limit: 1_000 })]
    server.nextcloud.disturb(() => ({ status: 502, headers: {}, body: '' }))

    const seen = await alice.open(other)

    expect([seen.status, wordsOf(seen.html)]).toEqual([400, expect.stringContaining('That did not fit')])
    expect(failures(server)).toEqual(['answer'])
    expect(server.nextcloud.requests).toHaveLength(asked)
    const left = (await server.storage.list?.({ limit: 1_000 })) ?? []
    expect(left.filter((key) => before?.includes(key) !== true)).toEqual([])
  })

  it('with a code of 1,024 characters is sent', async () => {
    const server = await startSignInServer()
    const { alice, other } = await atNextcloud(server, { code: 'x'.repeat(1_024) })

    await alice.open(other)

    expect(failures(server)).toEqual(['refused'])
  })

  it('that comes twice at once is taken once', async () => {
    const server = await startSignInServer()
    const { client, alice, callback } = await atNextcloud(server, {})
    const headers = { cookie: alice.cookies(callback) }

    const answers = await Promise.all([1, 2, 3].map(() => fetch(callback, { headers })))

    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400])
    expect(server.nextcloud.state.tokens).toHaveLength(1)
    const done =
      answers
        .find(({ status }) => status === 200)
        ?.headers.get('refresh')
        ?.replace('0; url=', '') ?? ''
    const code = (await alice.until(done, REDIRECT_URI)).searchParams.get('code') ?? ''
    expect((await client.redeem(code)).status).toBe(200)
  })

  it('that comes twice at once from the page of connections is sent once', async () => {
    const server = await startSignInServer()
    const alice = server.person('alice')
    const { origin } = server
    const asked = await alice.open(`${origin}/nextcloud`)
    const token = /name="token" value="([^"]+)"/.exec(asked.html)?.[1] ?? ''
    const left = await fetch(asked.url, {
      method: 'POST',
      headers: { cookie: alice.cookies(origin), origin },
      body: new URLSearchParams({ token, do: 'sign-in' }),
    })
    const way = /^0; url=(.+)$/.exec(left.headers.get('refresh') ?? '')?.[1] ?? ''
    const callback = await alice.until(way, callbackOf(server))
    let sent = 0
    server.nextcloud.disturb(({ path }) => {
      if (path.includes('/oauth2/api/v1/token')) sent += 1
      return undefined
    })

    const answers = await Promise.all([1, 2, 3].map(() => fetch(callback)))

    expect([sent, answers.filter(({ status }) => status === 400).length]).toEqual([1, 2])
  })

  it('to a question that has had its code already is not sent, and the first one counts', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const done = await alice.until(await alice.until(question, callbackOf(server)), `${server.origin}/oauth/sign-in/`)

    const again = await alice.open(await alice.until(question, callbackOf(server)))

    expect(again.status).toBe(400)
    expect(server.nextcloud.state.tokens).toHaveLength(1)
    const code = (await alice.until(done, REDIRECT_URI)).searchParams.get('code') ?? ''
    expect((await client.redeem(code)).status).toBe(200)
  })

  it('whose tokens Nextcloud does not take itself signs nobody in', async () => {
    const server = await startSignInServer()
    const { alice, callback } = await atNextcloud(server, {})
    server.nextcloud.state.accounts.get('alice')!.enabled = false

    const seen = await alice.open(callback)

    // Nor does it end them, which is told first.
    expect([seen.status, failures(server)]).toEqual([403, ['refused', 'person']])
    expect(await server.auth.isProvisioned({ subject: 'alice' })).toBe(false)
  })
})

it('the address of the callback, opened by hand, is a page that says what it is for', async () => {
  const server = await startSignInServer()
  const seen = await server.person('alice').open(callbackOf(server))
  expect([seen.status, wordsOf(seen.html)]).toEqual([400, expect.stringContaining('Nextcloud')])
})

describe('a person who is at Nextcloud after a yes', () => {
  /** Answers a question in another window, and returns the address to which that window goes on. */
  async function answer(alice: Visitor, question: URL, word: 'yes' | 'no'): Promise<string> {
    const headers = { cookie: alice.cookies(question) }
    const html = await (await fetch(question, { headers })).text()
    const token = /name="token" value="([^"]+)"/.exec(html)?.[1] ?? ''
    const body = new URLSearchParams({ token, answer: word })
    const answered = await fetch(question, { method: 'POST', headers, body })
    return /^0; url=(.+)$/.exec(answered.headers.get('refresh') ?? '')?.[1] ?? ''
  }

  async function afterYes() {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const callback = await alice.until(question, callbackOf(server))
    return { server, client, alice, question, callback }
  }

  async function expectNothing(server: SignInServer): Promise<void> {
    expect(failures(server)).toEqual(['declined'])
    expect(await server.auth.isProvisioned({ subject: 'alice' })).toBe(false)
    await server.signIn.close()
    expect(server.nextcloud.state.tokens.filter(({ kind }) => kind === 'oauth2')).toEqual([])
  }

  it('and says no in another window, connects nothing', async () => {
    const { server, alice, question, callback } = await afterYes()
    const no = await answer(alice, question, 'no')

    const seen = await alice.open(callback)

    expect([seen.status, wordsOf(seen.html)]).toEqual([410, expect.stringContaining('run out')])
    await expectNothing(server)
    expect((await alice.until(no, REDIRECT_URI)).searchParams.get('error')).toBe('access_denied')
  })

  it('and comes back once the ten minutes of the question are over, connects nothing', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock, storage: new MemoryStorage({}, clock) })
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    clock.advance(500_000)
    const callback = await alice.until(question, callbackOf(server))
    clock.advance(101_000)

    expect((await alice.open(callback)).status).toBe(410)

    await expectNothing(server)
  })

  it('and says no while the callback leads back, gives the client no code', async () => {
    const { server, alice, question, callback } = await afterYes()
    const done = await alice.until(callback, `${server.origin}/oauth/sign-in/`)
    await answer(alice, question, 'no')

    const back = await alice.until(done, REDIRECT_URI)

    expect([back.searchParams.get('error'), back.searchParams.get('code')]).toEqual(['access_denied', null])
  })

  it('and disconnects, where they were signed in here at the yes, connects nothing', async () => {
    const server = await startSignInServer()
    const [first, second] = [await registeredClient(server), await registeredClient(server)]
    const alice = server.person('alice')
    await first.signIn(alice)
    const callback = await alice.until(second.authorizationUrl({ prompt: 'login' }), callbackOf(server))
    await server.auth.revoke({ subject: 'alice' })

    const back = await alice.until(callback, REDIRECT_URI)

    expect([back.searchParams.get('error'), back.searchParams.get('code')]).toEqual(['access_denied', null])
    await expectNothing(server)
    expect((await second.signIn(alice)).status).toBe(200)
  })
})

describe('the end of a question', () => {
  /** A browser with a question, which has come back from Nextcloud if that is asked for. */
  async function browserAt(server: SignInServer, place: 'question' | 'end') {
    const client: RegisteredClient = await registeredClient(server)
    const alice: Visitor = server.person('alice')
    const start = `${server.origin}/oauth/sign-in/`
    const question = await alice.until(client.authorizationUrl(), start)
    if (place === 'question') return { alice, done: `${question.href}/done` }
    return { alice, done: (await alice.until(await alice.until(question, callbackOf(server)), start)).href }
  }

  it('is nothing before the way to Nextcloud', async () => {
    const server = await startSignInServer()
    const { alice, done } = await browserAt(server, 'question')
    expect((await alice.open(done)).status).toBe(410)
  })

  it('is fetched once, where two requests come at once', async () => {
    const server = await startSignInServer()
    const { alice, done } = await browserAt(server, 'end')
    const headers = { cookie: alice.cookies(done) }

    const answers = await Promise.all([1, 2, 3].map(() => fetch(done, { headers, redirect: 'manual' })))

    expect(answers.map(({ status }) => status).sort()).toEqual([303, 410, 410])
  })
})

it('a second sign-in from a page of connections that was loaded before the first ends the session of the first', async () => {
  const server = await startSignInServer()
  const alice = server.person('alice')
  await (await registeredClient(server)).signIn(createVisitor({ name: 'alice', password: ACCOUNT_PASSWORD }))
  const page = `${server.origin}/nextcloud`
  const [one, other] = [await alice.open(page), await alice.open(page)]
  await press(alice, one, 'Sign in')
  const first = alice.cookies(page)
  const seen = await press(alice, other, 'Sign in')

  expect([seen.status, alice.cookies(page)]).toEqual([200, expect.not.stringContaining(first)])
  const copy = await fetch(page, { headers: { cookie: first } })
  expect(wordsOf(await copy.text())).toContain('Sign in to see which apps')
})
