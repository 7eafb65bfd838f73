import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import type { NotProvisionedError } from '../../src/errors/errors.js'
import { failureOf } from '../support/promises.js'
import { bareHost } from '../support/hosts.js'
import { faultyStorage, watchedStorage } from '../support/storages.js'
import { type Visit } from '../support/test-browser.js'
import { world } from '../support/world.js'
import { CLIENT_SECRET } from '../support/scripted-authorization-server.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

/** Everything that a process shows of its own accord. */
function listen(): unknown[] {
  const heard: unknown[] = []
  const hear = (event: unknown): void => void heard.push(event)
  subscribe('mcp-nextcloud-auth', hear)
  process.on('warning', hear)
  onTestFinished(() => {
    unsubscribe('mcp-nextcloud-auth', hear)
    process.off('warning', hear)
  })
  return heard
}

it('no token, code, secret, ticket, state or cookie is in an event, an error or a page where it does not belong', async () => {
  const heard = listen()
  const store = faultyStorage()
  const { link, browser, agree, authorize, auth, as, events, refreshTokens, redeemed, stored } = await world({
    ...CONNECT,
    storage: store,
  })
  const pages: Visit[] = []
  const errors: unknown[] = []
  const info = await auth.verify(await as.mint())
  const refusal = (await failureOf(auth.rotate(info))) as NotProvisionedError
  errors.push(refusal.message, refusal.elicitationId, refusal.headers)
  const tickets: string[] = []
  const states: string[] = []
  const outcomes = [
    () => ({}),
    () => ({ claims: { nonce: 'another' } }),
    () => ({ claims: { sub: 'bob' } }),
    () => ({ tokens: { refresh_token: undefined } }),
    () => ({ tokens: { token_type: 'mac' } }),
    () => ({ callback: { iss: 'https://evil.example' } }),
    () => ({ callback: { code: undefined, error: 'invalid_scope' } }),
  ]
  for (const outcome of outcomes) {
    const alice = browser()
    const url = await link()
    tickets.push(new URL(url).searchParams.get('ticket') ?? '')
    const to = await agree(alice, url)
    states.push(to.searchParams.get('state') ?? '')
    pages.push(await alice.open(await authorize(to, 'alice', outcome())))
  }
  // A server that quotes the request, and a store that fails over it.
  const alice = browser()
  const to = await agree(alice, await link())
  const callback = await authorize(to)
  const code = new URL(callback, 'http://localhost').searchParams.get('code') ?? ''
  as.script('/token', (request, res) => {
    res.writeHead(400, { 'content-type': 'application/json' })
    res.end(JSON.stringify({ error: 'invalid_grant', error_description: `No such ${request.form.toString()}` }))
  })
  pages.push(await alice.open(callback))
  store.failFrom(1)
  errors.push(await failureOf(link()))
  pages.push(await alice.open(`/nextcloud/callback?state=${states[0] ?? ''}`))
  store.heal()

  expect(pages.map(({ status }) => status)).toEqual([200, 403, 403, 502, 502, 400, 502, 502, 503])
  const grant = await stored()
  const secrets = [
    CLIENT_SECRET,
    encodeURIComponent(CLIENT_SECRET),
    code,
    ...tickets,
    ...states,
    ...redeemed().flatMap(({ form }) => [form.get('code') ?? '', form.get('code_verifier') ?? '']),
    ...refreshTokens.families.flatMap(({ tokens }) => tokens),
    grant?.accessToken?.token ?? '',
    grant?.refreshToken ?? '',
    'eyJ',
  ]
  expect(secrets.every((secret) => secret.length > 2)).toBe(true)
  const shown = inspect([heard, events, errors], { depth: Infinity, maxStringLength: Infinity })
  const text = pages.map((page) => page.text + inspect(page.headers)).join('\n')
  for (const secret of secrets) {
    expect(shown).not.toContain(secret)
    expect(text).not.toContain(secret)
  }
})

it('the store sees no ticket, no state, no code and no user in a key or a value', async () => {
  const { storage, seen } = watchedStorage()
  const { link, walk } = await world({ ...CONNECT, storage })
  const url = await link('alice-of-wonderland')

  expect((await walk(url, 'alice-of-wonderland')).status).toBe(200)

  const ticket = new URL(url).searchParams.get('ticket') ?? ''
  const all = seen.join('\n')
  expect(all).not.toContain(ticket)
  expect(all).not.toMatch(/wonderland|mcp-client|refresh-|access-|code-/)
  expect(seen.filter((text) => text.startsWith('v1:')).every((key) => key.length <= 64)).toBe(true)
})
