import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { credentialDoubts, readSettings } from '../../src/serve/settings.js'
import { wordsOf } from '../support/html.js'
import { until } from '../support/promises.js'
import { registeredClient, REDIRECT_URI } from '../support/sign-in-client.js'
import { serveSetUp } from './support/serve-set-up.js'

const GOOD = {
  NEXTCLOUD_MCP_SERVER_URL: 'http://localhost:3000/mcp',
  NEXTCLOUD_HOST: 'https://cloud.example.com',
  NEXTCLOUD_OIDC_CLIENT_ID: 'i'.repeat(64),
  NEXTCLOUD_OIDC_CLIENT_SECRET: 's'.repeat(64),
}
const NAMES = ['NEXTCLOUD_OIDC_CLIENT_ID', 'NEXTCLOUD_OIDC_CLIENT_SECRET'] as const

describe('the id and the secret that Nextcloud has made', () => {
  describe.each(NAMES)('%s', (name) => {
    it.each([
      ['quotation marks round it', '"hushhush"'],
      ['one quotation mark', "hushhush'"],
      ['typographic quotation marks', '“hushhush”'],
      ['a blank in it', 'hush hush'],
      ['a line end in it', 'hush\nhush'],
      ['no-break space in it', 'hush\u00A0hush'],
      ['the dots of the instructions', 'hushhush…'],
    ])('is refused with %s, and not told', (_what, value) => {
      const { faults = [] } = readSettings({ ...GOOD, [name]: value }, '/')
      expect(faults).toEqual([expect.stringMatching(new RegExp(`^${name} has a blank, a quotation mark`))])
      expect(faults.join()).not.toContain('hush')
    })

    it.each([
      ['too short', 'h'.repeat(63), '63 characters'],
      ['too long', 'h'.repeat(128), '128 characters'],
      ['of other characters', `${'h'.repeat(63)}-`, 'other characters'],
    ])('is doubted where it is %s', (_what, value, words) => {
      const { settings } = readSettings({ ...GOOD, [name]: value }, '/')
      if (settings === undefined) throw new Error('There are faults')
      expect(credentialDoubts(settings)).toEqual([
        `${name} has ${words}, and Nextcloud makes it of 64 letters and digits`,
      ])
    })
  })

  it('may have blanks around, and are not one and the same', () => {
    const { settings } = readSettings({ ...GOOD, NEXTCLOUD_OIDC_CLIENT_SECRET: ` ${'s'.repeat(64)}\n` }, '/')
    expect(settings && credentialDoubts(settings)).toEqual([])
    const { faults } = readSettings({ ...GOOD, NEXTCLOUD_OIDC_CLIENT_SECRET: GOOD.NEXTCLOUD_OIDC_CLIENT_ID }, '/')
    expect(faults).toEqual([
      'NEXTCLOUD_OIDC_CLIENT_SECRET is the same as NEXTCLOUD_OIDC_CLIENT_ID: Nextcloud shows two values',
    ])
  })
})

describe('a start of serve that fails', () => {
  it.each([
    ['a variable is missing', { NEXTCLOUD_HOST: '' }, 2],
    ['the secret has quotation marks', { NEXTCLOUD_OIDC_CLIENT_SECRET: '"x"' }, 2],
    ['the key is no key', { TOKEN_ENCRYPTION_KEY: 'short' }, 1],
    ['its address is not one', { HOST: '192.0.2.1' }, 1],
  ])('makes no file where %s', async (_what, other, status) => {
    const { ended, folder } = await serveSetUp()
    const { code, output } = await ended(other)
    expect([code, readdirSync(folder)]).toEqual([status, []])
    expect(output).toContain('cannot start')
  })

  it('makes no file where its port is taken', async () => {
    const { ended, folder } = await serveSetUp()
    const held = createServer().listen(0, '127.0.0.1')
    await once(held, 'listening')
    const { port } = held.address() as AddressInfo
    const { code, output } = await ended({ PORT: String(port) })
    held.close()
    expect([code, readdirSync(folder)]).toEqual([1, []])
    expect(output).toContain(`something else listens on port ${port} of 127.0.0.1. Set PORT`)
  })

  it('says all at once which variables are missing', async () => {
    const { ended } = await serveSetUp()
    const names = ['NEXTCLOUD_MCP_SERVER_URL', 'NEXTCLOUD_OIDC_CLIENT_ID', 'NEXTCLOUD_OIDC_CLIENT_SECRET']
    const empty = Object.fromEntries(names.map((name) => [name, '']))
    const { code, output } = await ended({ ...empty, NEXTCLOUD_HOST: 'cloud.example.com' })
    expect([code, output]).toEqual([2, expect.stringMatching(/^mcp-nextcloud-auth serve cannot start:\n- /)])
    for (const name of names) expect(output).toContain(`\n- ${name} is not set`)
    expect(output).toContain('\n- NEXTCLOUD_HOST must be a URL')
  })

  it.each(['http://127.0.0.1:1/', 'http://127.0.0.1:1/oauth/token', 'http://127.0.0.1:1/nextcloud', 'ftp://h/mcp'])(
    'refuses %s as its address, and so does its doctor',
    async (url) => {
      const { ended, doctor } = await serveSetUp()
      const { code, output } = await ended({ NEXTCLOUD_MCP_SERVER_URL: url })
      expect([code, output]).toEqual([2, expect.stringContaining('NEXTCLOUD_MCP_SERVER_URL')])
      expect(await doctor({ NEXTCLOUD_MCP_SERVER_URL: url })).toMatchObject({
        code: 2,
        words: expect.stringMatching(/^mcp-nextcloud-auth doctor: NEXTCLOUD_MCP_SERVER_URL/) as string,
      })
    },
  )

  it('makes no key beside a database that has lost its own', async () => {
    const { ended, folder } = await serveSetUp()
    mkdirSync(path.join(folder, 'data'))
    writeFileSync(path.join(folder, 'data/connections.db'), '')
    const { code, output } = await ended()
    expect([code, existsSync(path.join(folder, 'data/encryption.key'))]).toEqual([1, false])
    expect(output).toContain('has a database, and there is no key to it')
  })
})

describe('a first start of serve', () => {
  it('says in one line where it has made files', async () => {
    const { started, folder } = await serveSetUp()
    const first = await started()
    expect(first.output).toContain(
      `Made an encryption key in ${path.join(folder, 'data/encryption.key')}, and a database beside it.`,
    )
    await expect.poll(() => first.output).toContain('\n✓ serve.sign-in: a sign-in comes as far as the login page')
    expect(first.output).not.toContain('Mend this before anybody signs in')
  })

  it('says that apps look for it at another port, and starts all the same', async () => {
    const { started, origin } = await serveSetUp()
    const told = await started({ NEXTCLOUD_MCP_SERVER_URL: 'http://127.0.0.1:1/mcp' })
    const { port } = new URL(origin)
    expect(told.output).toContain(`NEXTCLOUD_MCP_SERVER_URL has port 1, and this server listens on ${port}: set PORT=1`)
  })

  it.each([
    ['Nextcloud does not know the client', { NEXTCLOUD_OIDC_CLIENT_ID: 'x'.repeat(64) }, /✗ client\.credentials: .*no OAuth 2\.0 client of that id/],
    ['there is no Nextcloud', { NEXTCLOUD_HOST: 'http://127.0.0.1:1' }, /✗ nextcloud\.reachable: /],
    ['the secret is cut', { NEXTCLOUD_OIDC_CLIENT_SECRET: 'hush'.repeat(15) }, /✗ serve\.client: NEXTCLOUD_OIDC_CLIENT_SECRET has 60 characters/],
  ])('says that nobody can sign in where %s', async (_what, other, words) => {
    const { started } = await serveSetUp()
    const told = await started(other)
    await expect.poll(() => told.output).toMatch(words)
    expect(told.output).toContain('Mend this before anybody signs in')
    expect(told.output).not.toMatch(/x{8}|hushhush/)
  }) // prettier-ignore
})

describe('a Nextcloud at the start of serve', () => {
  it('that takes another address for its own is told with the way to mend it', async () => {
    const { nextcloud, started } = await serveSetUp()
    const elsewhere = { status: 303, headers: { location: 'https://internal.example/login/flow' } }
    nextcloud.disturb(({ query }) => (query.get('response_type') === 'code' ? elsewhere : undefined))
    const told = await started()
    await expect
      .poll(() => told.output)
      .toMatch(/\n✗ serve\.sign-in: Nextcloud at .* for its own address → .*overwritehost/)
    expect(told.output).toContain('Mend this before anybody signs in')
  })

  it('that gives no answer keeps nobody waiting, and is told in one line', async () => {
    const { nextcloud, started, origin } = await serveSetUp()
    nextcloud.disturb(() => 'never')
    const began = performance.now()
    const told = await started()
    // A question to it ends after five seconds.
    expect(performance.now() - began).toBeLessThan(5_000)
    expect(told.output).not.toContain('✗')
    expect((await fetch(`${origin}/health/live`)).status).toBe(200)
    await expect.poll(() => told.output, { timeout: 20_000 }).toMatch(/\n✗ nextcloud\.reachable: /)
    expect(told.output.match(/✗/g)).toHaveLength(1)
  })

  it('that is not reached by its public name from here is no fault', async () => {
    const { started } = await serveSetUp()
    const told = await started({ NEXTCLOUD_PUBLIC_URL: 'http://127.0.0.1:1' })
    await expect
      .poll(() => told.output)
      .toContain('\n– serve.sign-in: Nextcloud cannot be reached from here by its public')
    expect(told.output).not.toContain('Mend this before anybody signs in')
  })
})

it('the doctor of serve has a line for what is to be done, and one that counts all', async () => {
  const { started, doctorLines } = await serveSetUp()
  await started()
  expect(await doctorLines()).toEqual([
    expect.stringMatching(/^– client\.credentials: .* → .*NEXTCLOUD_OIDC_CLIENT_SECRET$/),
    '',
    expect.stringMatching(/^\d\d checks: \d\d ✓, 0 ✗, \d\d – left out\. Nothing to mend in what was tried$/),
  ])
  const wrong = await doctorLines({ NEXTCLOUD_OIDC_CLIENT_ID: 'x'.repeat(64) })
  expect(wrong.filter((line) => line.startsWith('✓'))).toEqual([])
  expect(wrong).toContainEqual(expect.stringMatching(/^✗ client\.credentials: /))
})

describe('a redirection URI in Nextcloud', () => {
  it('with a slash at its end is told at the start and by the doctor, and lets people in all the same', async () => {
    const { started, doctor, origin, visitor } = await serveSetUp({
      redirectUri: (from) => `${from}/nextcloud/callback/`,
    })
    const told = await started()
    await expect.poll(() => told.output).toContain('✗ connect.redirect-uri')
    const finding = (await doctor()).of('connect.redirect-uri')
    expect(finding).toMatchObject({
      status: 'failed',
      found: expect.stringContaining(`${origin}/nextcloud/callback/`) as string,
      fix: expect.stringContaining(`be ${origin}/nextcloud/callback, to the letter`) as string,
    })
    const client = await registeredClient({ origin, url: `${origin}/mcp` })
    expect((await client.signIn(visitor())).status).toBe(200)
  })

  it.each(['/', '/callback', '/mcp', '/nextcloud/callback/x', '/oauth/callback'])(
    'that leads to %s ends on a page that says what it must be',
    async (place) => {
      const { started, origin, visitor } = await serveSetUp({ redirectUri: (from) => from + place })
      await started()
      const client = await registeredClient({ origin, url: `${origin}/mcp` })
      const browser = visitor()
      const { status, html } = await browser.open(client.authorizationUrl())
      expect([status, wordsOf(html)]).toEqual([400, expect.stringContaining(`${origin}/nextcloud/callback`)])
      expect(wordsOf(html)).toContain('Nextcloud sent you to another address')
      expect(html).not.toContain('code=')
    },
  )
})

describe('an address of serve that is opened by hand', () => {
  it.each(['/nextcloud/callback', '/nextcloud/callback/', '/nextcloud/callback?x=1'])(
    '%s says where a sign-in begins, and what is registered in Nextcloud',
    async (place) => {
      const { started, origin, visitor } = await serveSetUp()
      const told = await started()
      const { status, html } = await visitor().open(origin + place)
      expect([status, wordsOf(html)]).toEqual([400, expect.stringContaining('A sign-in begins in your app')])
      expect(wordsOf(html)).toContain(`${origin}/nextcloud/callback`)
      expect(told.output).not.toContain('connect.failed')
    },
  )

  it('that is not there is a page for people, and JSON for others', async () => {
    const { started, origin, visitor } = await serveSetUp()
    await started()
    const { status, html } = await visitor().open(`${origin}/nothing`)
    expect([status, wordsOf(html)]).toEqual([404, expect.stringContaining('There is nothing here')])
    const other = await fetch(`${origin}/nothing`)
    expect([other.status, await other.json()]).toEqual([404, { error: 'not_found' }])
  })
})

it('a wrong secret is told to the person as the administrator’s work, and to the log by its variable', async () => {
  const { started, origin, visitor, secret } = await serveSetUp()
  const wrong = 'w'.repeat(64)
  const told = await started({ NEXTCLOUD_OIDC_CLIENT_SECRET: wrong })
  const client = await registeredClient({ origin, url: `${origin}/mcp` })

  const { status, html } = await visitor().open(client.authorizationUrl())

  expect([status, wordsOf(html)]).toEqual([502, expect.stringContaining('The sign-in was refused')])
  expect(wordsOf(html)).toContain('has to look at the client secret')
  expect(wordsOf(html)).not.toContain('NEXTCLOUD_')
  await expect.poll(() => told.output).toContain('look at NEXTCLOUD_OIDC_CLIENT_SECRET')
  for (const value of [wrong, secret]) expect(told.output + html).not.toContain(value)
})

it('the doctor leaves no failure of a person in the log of the server, and says the way of the sign-in', async () => {
  const { started, doctor, visitor, origin } = await serveSetUp()
  const told = await started()

  expect((await doctor()).of('serve.sign-in')?.status).toBe('passed')
  // What comes after it is in the log, so what it has left is too.
  await visitor().until((await registeredClient({ origin, url: `${origin}/mcp` })).authorizationUrl(), REDIRECT_URI)
  await expect.poll(() => told.output).toContain('grant.stored')
  expect(told.output).not.toContain('connect.failed')
})

it('the doctor tells a secret that is cut by the name of its variable', async () => {
  const { doctor } = await serveSetUp()
  const { of, words } = await doctor({ NEXTCLOUD_OIDC_CLIENT_SECRET: 'hush'.repeat(15) })
  expect(of('serve.client')).toMatchObject({
    status: 'failed',
    found: expect.stringContaining('NEXTCLOUD_OIDC_CLIENT_SECRET has 60 characters') as string,
  })
  expect(words).not.toContain('hushhush')
})

it('what could not be ended in Nextcloud before a stop is tried again at the next start, before anybody asks', async () => {
  const { nextcloud, origin, started, visitor } = await serveSetUp()
  const first = await started()
  const { body } = await (await registeredClient({ origin, url: `${origin}/mcp` })).signIn(visitor())
  const isEnd = ({ method, path }: { method: string; path: string }) =>
    method === 'DELETE' && path.includes('/core/apppassword')
  nextcloud.disturb((asked) => (isEnd(asked) ? 503 : undefined))
  const headers = { authorization: `Bearer ${String(body['access_token'])}` }
  const disconnected = await fetch(`${origin}/nextcloud/disconnect`, { method: 'POST', headers })
  expect(await disconnected.json()).toEqual({ revoked: 'pending' })
  await first.stop()
  nextcloud.disturb(undefined)
  expect(nextcloud.state.tokens.filter(({ kind }) => kind === 'oauth2')).toHaveLength(1)

  await started()

  await until(() => nextcloud.state.tokens.every(({ kind }) => kind !== 'oauth2'))
})
