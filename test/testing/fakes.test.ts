import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  AudienceMismatchError,
  InvalidTokenError,
  mcpAuth,
  NotProvisionedError,
  type McpAuth,
  type McpAuthInfo,
} from '../../src/index.js'
import { fakeNextcloud, fakeProvider } from '../../src/testing/testing.js'
import type { FakeNextcloud, FakeProvider } from '../../src/testing/testing.js'
import { listen } from '../support/hosts.js'
import { createTestBrowser } from '../support/test-browser.js'

const run = promisify(execFile)
const NOTES = '/index.php/apps/notes/api/v1/notes'
const RESOURCE = 'https://mcp.example.com/mcp'

let provider: FakeProvider
let nextcloud: FakeNextcloud
let auth: McpAuth
let alice: McpAuthInfo

beforeEach(async () => {
  provider = await fakeProvider()
  nextcloud = await fakeNextcloud({ provider })
  auth = mcpAuth({ ...provider.options, nextcloud: { url: nextcloud.url }, onEvent: () => undefined })
  alice = await auth.verify(await provider.token({ sub: 'alice', scope: 'notes:read' }))
})
afterEach(() => Promise.all([auth.close(), nextcloud.close(), provider.close()]))

const basic = (id: string, password: string) => `Basic ${Buffer.from(`${id}:${password}`).toString('base64')}`

function asBasic(id: string, password: string, path = '/ocs/v2.php/cloud/user?format=json'): Promise<Response> {
  const headers = { Authorization: basic(id, password), 'OCS-APIRequest': 'true' }
  return fetch(nextcloud.url + path, { headers })
}

describe('fakeProvider', () => {
  it('mints a token that mcpAuth() takes, with the claims that were asked for', async () => {
    const token = await provider.token({ sub: 'bob', scope: 'a b', client_id: 'app', department: 'sales' })
    const info = await auth.verify(token)

    expect(info).toMatchObject({ subject: 'bob', scopes: ['a', 'b'], clientId: 'app', audience: [RESOURCE] })
    expect(info.claims['department']).toBe('sales')
  })

  it.each([
    ['has ended', {}, { lifetime: -60 }, 'expired'],
    ['is for another server', { aud: 'https://other.example.com/mcp' }, {}, 'audience'],
    ['comes from another issuer', { iss: 'https://other.example.com' }, {}, 'issuer'],
    ['has no subject', { sub: undefined }, {}, 'missing_claim'],
    ['is signed by a key that is not published', {}, { key: 'unpublished' }, 'signature'],
  ] as const)('mints a token that is refused since it %s', async (_title, claims, options, rejection) => {
    const token = await provider.token(claims, options)

    await expect(auth.verify(token)).rejects.toThrow(InvalidTokenError)
    expect(auth.stats().rejected).toEqual({ [rejection]: 1 })
  })

  it('exchanges the token of a person for one of the same person at Nextcloud', async () => {
    expect(await auth.nextcloudUser(alice)).toMatchObject({ id: 'alice' })
  })

  it.each([
    ['another audience', { audience: 'files' }, 'invalid_target'],
    ['a token of another server', { aud: 'https://other.example.com/mcp' }, 'invalid_request'],
    ['a wrong secret', { secret: 'wrong' }, 'invalid_client'],
    ['a grant that it does not have', { grant: 'password' }, 'unsupported_grant_type'],
  ] as const)('refuses an exchange for %s', async (_title, change: Record<string, string>, error) => {
    const { clientId, clientSecret } = provider.options
    const {
      audience = 'nextcloud',
      aud = RESOURCE,
      secret = clientSecret,
      grant = 'urn:ietf:params:oauth:grant-type:token-exchange',
    } = change
    const body = new URLSearchParams({
      grant_type: grant,
      subject_token: await provider.token({ aud }),
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience,
    })
    const headers = { Authorization: basic(clientId, secret) }
    const answer = await fetch(`${provider.issuer}/token`, { method: 'POST', headers, body })

    expect(answer.ok).toBe(false)
    expect(await answer.json()).toEqual({ error })
  })

  it('fails at the token endpoint as often as it is told, and then works again', async () => {
    provider.failNext(401)
    await expect(auth.getNextcloudToken(alice)).rejects.toMatchObject({ code: 'ERR_TOKEN_REQUEST', status: 502 })
    const bob = await auth.verify(await provider.token({ sub: 'bob' }))

    expect(await auth.nextcloudUser(bob)).toMatchObject({ id: 'bob' })
  })

  it('takes no failure that is none', () => {
    expect(() => provider.failNext(200)).toThrow(RangeError)
  })
})

describe('fakeNextcloud', () => {
  it('has the notes and the files of an account, for its tests and for its owner', async () => {
    const account = nextcloud.account('alice', { displayName: 'Alice' })
    const { id } = account.addNote({ title: 'Shopping', content: 'Bread' })
    account.writeFile('Docs/plan.md', '# Plan')

    const notes = await auth.nextcloudFetch(alice, NOTES)
    expect(await notes.json()).toMatchObject([{ id, title: 'Shopping', content: 'Bread' }])
    const file = await auth.nextcloudFetch(alice, '/remote.php/dav/files/alice/Docs/plan.md')
    expect(await file.text()).toBe('# Plan')
    const body = JSON.stringify({ title: 'Ideas' })
    await auth.nextcloudFetch(alice, NOTES, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })
    await auth.nextcloudFetch(alice, '/remote.php/dav/files/alice/new.txt', { method: 'PUT', body: 'new' })
    expect(account.notes().map(({ title }) => title)).toEqual(['Shopping', 'Ideas'])
    expect(account.readFile('new.txt')).toBe('new')
    expect(account.readFile('old.txt')).toBeUndefined()
  })

  it('takes an app password, and refuses a wrong one', async () => {
    const password = nextcloud.account('alice').appPassword()

    expect((await asBasic('alice', password)).status).toBe(200)
    expect((await asBasic('alice', 'wrong')).status).toBe(401)
  })

  it('refuses a token that is not for it', async () => {
    const headers = { Authorization: `Bearer ${await provider.token()}`, 'OCS-APIRequest': 'true' }

    expect((await fetch(`${nextcloud.url}/ocs/v2.php/cloud/user`, { headers })).status).toBe(401)
  })

  it('is throttled after many wrong passwords, and refuses an account that is disabled', async () => {
    const account = nextcloud.account('alice')
    const password = account.appPassword()
    account.disable()
    expect((await asBasic('alice', password)).status).toBe(401)
    for (let wrong = 0; wrong < 12; wrong += 1) await asBasic('bob', 'wrong')
    expect((await asBasic('alice', password)).status).toBe(429)
  })

  it('keeps a write from overwriting what has changed', async () => {
    nextcloud.account('alice').writeFile('plan.md', '# Plan')
    const init = { method: 'PUT', headers: { 'If-Match': '"old"' }, body: 'new' }

    expect((await auth.nextcloudFetch(alice, '/remote.php/dav/files/alice/plan.md', init)).status).toBe(412)
  })

  it.each([
    ['/ocs/v2.php/cloud/user?format=json', 'ocs'],
    ['/remote.php/dav/files/alice/', 's:exception'],
    [NOTES, 'message'],
  ])('fails at %s as often as it is told, in the form of that path', async (path, words) => {
    await auth.getNextcloudToken(alice)
    nextcloud.failNext(403, 2)

    for (const status of [403, 403]) {
      const answer = await auth.nextcloudFetch(alice, path)
      expect(answer.status).toBe(status)
      expect(await answer.text()).toContain(words)
    }
    expect((await auth.nextcloudFetch(alice, path)).status).toBe(200)
  })

  it('tells which requests came, for whom, and what they were answered', async () => {
    await auth.nextcloudFetch(alice, `${NOTES}?category=x`)
    await fetch(nextcloud.url + NOTES)

    expect(nextcloud.requests).toEqual([
      { method: 'GET', path: NOTES, user: 'alice', status: 200 },
      { method: 'GET', path: NOTES, user: undefined, status: 401 },
    ])
  })

  it.each(['', '/', 'Docs'])('takes no file at %j', (path) => {
    const account = nextcloud.account('alice')
    account.writeFile('Docs/plan.md', '# Plan')

    expect(() => account.writeFile(path, '')).toThrow(TypeError)
    expect(() => account.writeFile('Docs/plan.md/more', '')).toThrow(TypeError)
  })
})

describe('both', () => {
  it('listen on 127.0.0.1 alone', () => {
    expect([provider.issuer, nextcloud.url].map((url) => new URL(url).hostname)).toEqual(['127.0.0.1', '127.0.0.1'])
  })

  it('may be closed twice, and are gone then', async () => {
    await Promise.all([provider, nextcloud, provider, nextcloud].map((each) => each.close()))

    await expect(fetch(nextcloud.url)).rejects.toThrow('fetch failed')
    await expect(fetch(provider.issuer)).rejects.toThrow('fetch failed')
  })

  it('refuse to run in production', async () => {
    vi.stubEnv('NODE_ENV', 'production')
    try {
      await expect(fakeProvider()).rejects.toThrow('fakeProvider() is for tests, and NODE_ENV is production')
      await expect(fakeNextcloud()).rejects.toThrow('fakeNextcloud() is for tests, and NODE_ENV is production')
    } finally {
      vi.unstubAllEnvs()
    }
  })

  it('let a process end that has closed neither', async () => {
    const script = `
      import { mcpAuth } from './dist/index.js'
      import { fakeNextcloud, fakeProvider } from './dist/testing/testing.js'
      const provider = await fakeProvider()
      const nextcloud = await fakeNextcloud({ provider })
      const auth = mcpAuth({ ...provider.options, nextcloud: { url: nextcloud.url } })
      const { id } = await auth.nextcloudUser(await auth.verify(await provider.token()))
      console.log(id)`
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
      cwd: new URL('../..', import.meta.url),
      timeout: 20_000,
    })

    expect(stdout).toBe('alice\n')
  })
})

describe('in pass-through mode', () => {
  it('a token for both passes, and one for the MCP server alone does not', async () => {
    const passing = mcpAuth({
      ...provider.options,
      nextcloud: { url: nextcloud.url, mode: 'pass-through' },
      onEvent: () => undefined,
    })
    const both = await passing.verify(await provider.token({ aud: [RESOURCE, 'nextcloud'] }))

    expect(await passing.nextcloudUser(both)).toMatchObject({ id: 'alice' })
    await expect(passing.nextcloudUser(alice)).rejects.toThrow(AudienceMismatchError)
    await passing.close()
  })
})

describe('in refresh-token mode', () => {
  it('whoever is signed in at the provider connects, and is asked to connect again once their sessions are ended', async () => {
    const connecting = mcpAuth({
      ...provider.options,
      nextcloud: { url: nextcloud.url, mode: 'refresh-token' },
      onEvent: () => undefined,
    })
    const routes = connecting.routes()
    const app = await listen((req, res) => routes(req, res, () => res.end()))
    try {
      const browser = createTestBrowser(app.url)
      provider.signIn('bob')
      const bob = await connecting.verify(await provider.token({ sub: 'bob' }))
      const url = await connecting.createConnectUrl(bob)
      const { refreshTo } = await browser.press(await browser.open(url), { answer: 'yes' })
      const back = await fetch(refreshTo ?? '', { redirect: 'manual' })
      expect((await browser.open(back.headers.get('location') ?? '')).status).toBe(200)

      expect(await connecting.nextcloudUser(bob)).toMatchObject({ id: 'bob' })
      await connecting.rotate(bob)
      provider.endSessions('bob')
      await expect(connecting.rotate(bob)).rejects.toThrow(NotProvisionedError)
    } finally {
      await app.close()
      await connecting.close()
    }
  })
})
