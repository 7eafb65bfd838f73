import { describe, expect, it } from 'vitest'
import { decodeJwt } from 'jose'
import { wordsOf } from '../support/html.js'
import type { Visitor } from '../support/nextcloud/visitor.js'
import { REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

/** Alice and Bob, each with a browser in which they have signed in here. */
async function signedIn() {
  const server = await startSignInServer()
  const client = await registeredClient(server)
  const [alice, bob] = [server.person('alice'), server.person('bob')]
  for (const person of [alice, bob]) await client.signIn(person)
  const other = await registeredClient(server)
  const cookies = bob.cookies(server.origin).split('; ')
  return {
    server,
    alice,
    bob,
    other,
    /** Makes the browser one in which Bob is signed in here. At Nextcloud it stays as it is. */
    becomesBobs: (browser: Visitor) =>
      cookies
        .filter((pair) => /^_session(?:\.sig)?=/.test(pair))
        .forEach((pair) => browser.setCookie('127.0.0.1', pair)),
    question: (browser: Visitor, more = {}) =>
      browser.until(other.authorizationUrl(more), `${server.origin}/oauth/sign-in/`),
    /** Goes on from a question to the app, and returns who the app's tokens are of. */
    subjectOf: async (browser: Visitor, from: URL) => {
      const back = await browser.until(from, REDIRECT_URI)
      const { body } = await other.redeem(back.searchParams.get('code') ?? '')
      return decodeJwt(String(body['access_token'])).sub
    },
    /** The words of the next question in a browser. */
    asked: async (browser: Visitor) => {
      const url = await browser.until(
        (await registeredClient(server)).authorizationUrl(),
        `${server.origin}/oauth/sign-in/`,
      )
      return wordsOf(await (await fetch(url, { headers: { cookie: browser.cookies(url) } })).text())
    },
  }
}

describe('somebody who signs in where another person is signed in here', () => {
  it('goes on to the app as they are, and ends the session of the other, which was there at the question', async () => {
    const { alice, bob, becomesBobs, question, subjectOf, asked } = await signedIn()
    becomesBobs(alice)

    const subject = await subjectOf(alice, await question(alice, { prompt: 'login' }))

    expect(subject).toBe('alice')
    expect(await asked(alice)).toContain('You are signed in as alice')
    expect(await asked(bob)).toContain('If you say yes, you sign in at')
  })

  it('does so where the session came after the question', async () => {
    const { server, bob, becomesBobs, question, subjectOf, asked } = await signedIn()
    const carol = server.person('carol')
    const from = await question(carol)
    becomesBobs(carol)

    expect(await subjectOf(carol, from)).toBe('carol')
    expect(await asked(carol)).toContain('You are signed in as carol')
    expect(await asked(bob)).toContain('If you say yes, you sign in at')
  })

  it('does so where the session has gone since the question', async () => {
    const { alice, question, becomesBobs, subjectOf, bob, asked } = await signedIn()
    becomesBobs(alice)
    const from = await question(alice, { prompt: 'login' })
    alice.setCookie('127.0.0.1', '_session=')

    expect(await subjectOf(alice, from)).toBe('alice')
    expect(await asked(bob)).toContain('You are signed in as bob')
  })

  it('stays signed in where they sign in once more', async () => {
    const { alice, question, subjectOf, asked } = await signedIn()

    expect(await subjectOf(alice, await question(alice, { prompt: 'login' }))).toBe('alice')
    expect(await asked(alice)).toContain('You are signed in as alice')
  })
})
