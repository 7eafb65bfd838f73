import { describe, expect, it } from 'vitest'
import { setUpConnect } from '../support/connect-setup.js'
import type { McpAuthOptions } from '../../src/options.js'

/** The authorization request, where the server's metadata say this. */
async function requestWith(metadata: Record<string, unknown>, options: McpAuthOptions = {}): Promise<URL> {
  const { browser, link, agree } = await setUpConnect({ metadata, options })
  return agree(browser(), await link())
}

/** The request of a second attempt, after somebody else had signed in. */
async function secondRequestWith(metadata: Record<string, unknown>, options: McpAuthOptions = {}): Promise<URL> {
  const { browser, link, agree, signIn } = await setUpConnect({ metadata, options })
  const person = browser()
  const refusal = await person.open(await signIn(await agree(person, await link()), 'bob'))
  const { refreshTo } = await person.press(refusal)
  if (refreshTo === undefined) throw new Error('There is no second attempt')
  return refreshTo
}

describe('the authorization request', () => {
  it('is a code request with PKCE, state and nonce, each of 256 bits', async () => {
    const url = await requestWith({})

    expect(url.pathname).toBe('/authorize')
    expect(Object.fromEntries(url.searchParams)).toEqual({
      tenant: 'acme',
      response_type: 'code',
      client_id: 'mcp-server',
      redirect_uri: 'https://mcp.example.com/nextcloud/callback',
      scope: 'openid offline_access',
      prompt: 'consent',
      state: expect.stringMatching(/^[\w-]{43}$/) as string,
      nonce: expect.stringMatching(/^[\w-]{43}$/) as string,
      code_challenge: expect.stringMatching(/^[\w-]{43}$/) as string,
      code_challenge_method: 'S256',
    })
  })

  it('never repeats a value', async () => {
    const { browser, link, agree } = await setUpConnect()
    const urls = [await agree(browser(), await link()), await agree(browser(), await link())]

    for (const name of ['state', 'nonce', 'code_challenge'])
      expect(new Set(urls.map(({ searchParams }) => searchParams.get(name))).size).toBe(2)
  })

  it.each([{ scopes_supported: ['openid'] }, { scopes_supported: undefined }])(
    'asks neither for offline_access nor for consent where the server does not list it: %o',
    async (metadata) => {
      const { searchParams } = await requestWith(metadata)

      expect([searchParams.get('scope'), searchParams.get('prompt')]).toEqual(['openid', null])
    },
  )

  it('asks for the scopes of connect.scopes, each once', async () => {
    const { searchParams } = await requestWith({}, { connect: { scopes: ['files', 'openid', 'offline_access'] } })

    expect(searchParams.get('scope')).toBe('openid files offline_access')
  })

  it('asks for offline_access with consent where the operator names it, listed or not', async () => {
    const { searchParams } = await requestWith({ scopes_supported: [] }, { connect: { scopes: ['offline_access'] } })

    expect([searchParams.get('scope'), searchParams.get('prompt')]).toEqual(['openid offline_access', 'consent'])
  })

  it('asks for the scopes of nextcloud.scopes where connect.scopes is not set', async () => {
    const { searchParams } = await requestWith({}, { nextcloud: { scopes: ['files'] } })

    expect(searchParams.get('scope')).toBe('openid files offline_access')
  })

  it('names each nextcloud.resource', async () => {
    const resource = ['https://one.example/', 'https://two.example/']

    expect((await requestWith({}, { nextcloud: { resource } })).searchParams.getAll('resource')).toEqual(resource)
  })

  it('takes what the operator adds, and what overrides', async () => {
    const authorizationParameters = { access_type: 'offline', prompt: 'login', resource: 'urn:other', tenant: 'other' }

    const { searchParams } = await requestWith(
      {},
      { connect: { authorizationParameters }, nextcloud: { resource: ['urn:one', 'urn:two'] } },
    )

    expect(searchParams.get('access_type')).toBe('offline')
    expect(searchParams.getAll('prompt')).toEqual(['login'])
    expect(searchParams.getAll('resource')).toEqual(['urn:other'])
    expect(searchParams.getAll('tenant')).toEqual(['other'])
  })

  it('keeps what is ours, whatever the query of the endpoint says', async () => {
    const endpoint = 'http://127.0.0.1:9/authorize?client_id=evil&state=fixed&redirect_uri=https://evil.example'

    const { searchParams } = await requestWith({ authorization_endpoint: endpoint })

    expect(searchParams.getAll('client_id')).toEqual(['mcp-server'])
    expect(searchParams.getAll('redirect_uri')).toEqual(['https://mcp.example.com/nextcloud/callback'])
    expect(searchParams.getAll('state')).toEqual([expect.stringMatching(/^[\w-]{43}$/)])
  })
})

describe('the request of a second attempt', () => {
  it.each([
    ['select_account and consent', {}, {}, 'select_account consent'],
    ['select_account alone', { scopes_supported: [] }, {}, 'select_account'],
    [
      "the operator's prompt too",
      {},
      { connect: { authorizationParameters: { prompt: 'login' } } },
      'select_account login',
    ],
    ['no prompt of none', {}, { connect: { authorizationParameters: { prompt: 'none' } } }, 'select_account'],
    ['login where that is what the server takes', { prompt_values_supported: ['none', 'login'] }, {}, 'login consent'],
    [
      'select_account where the server takes both',
      { prompt_values_supported: ['login', 'select_account'] },
      {},
      'select_account consent',
    ],
  ])('has %s', async (_what, metadata, options, prompt) => {
    expect((await secondRequestWith(metadata, options)).searchParams.get('prompt')).toBe(prompt)
  })

  it('has values of its own, and the same purpose', async () => {
    const { searchParams } = await secondRequestWith({})

    expect(searchParams.get('scope')).toBe('openid offline_access')
    expect(searchParams.get('state')).toMatch(/^[\w-]{43}$/)
  })
})
