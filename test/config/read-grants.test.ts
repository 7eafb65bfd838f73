import { describe, expect, it, vi } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import { OWN_KEY, type StorageAdapter } from '../../src/storage-adapter.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { CLIENT, LEAST, refusalOf, refused, warningsOf } from '../support/refusal.js'

const KEY = Buffer.from(Array.from({ length: 32 }, (_, index) => index)).toString('base64url')
const nextcloud = { url: 'https://cloud.example.com', mode: 'refresh-token' } as const
const exchanging = { nextcloud: { ...nextcloud, mode: 'token-exchange' } }
const RULE = { connect: { identity: 'sub' } }
const authenticateBrowser = () => Promise.resolve(undefined)
const withGrants = (options: object = {}) => ({ ...LEAST, ...CLIENT, nextcloud, ...options })
const grantsOf = (options: object = {}, environment = {}) => readConfig(withGrants(options), environment).grants
const warningsWith = (options: object = {}, environment = {}) => warningsOf(withGrants(options), environment)

/** An adapter of the user's own, of which every call is counted. */
const ownAdapter = (shared = true) =>
  ({
    shared,
    get: vi.fn<StorageAdapter['get']>(() => Promise.resolve(undefined)),
    put: vi.fn<StorageAdapter['put']>(() => Promise.resolve('version')),
    delete: vi.fn<StorageAdapter['delete']>(() => Promise.resolve(true)),
  }) satisfies StorageAdapter

describe('refresh-token mode', () => {
  it('has defaults for everything', () => {
    expect(grantsOf()).toEqual({
      credential: 'refresh-token',
      nextcloud: 'https://cloud.example.com/',
      endsAlone: false,
      askedFor: expect.any(String) as string,
      encryptionKeys: [],
      consent: 'per-client',
      connect: {
        path: '/nextcloud',
        redirectUri: 'https://mcp.example.com/nextcloud/callback',
        scopes: [],
        authorizationParameters: {},
        signIn: true,
      },
    })
  })

  it('takes every option as it is given', () => {
    const { consent, ...connect } = {
      path: '/a/b-c',
      consent: 'per-user',
      scopes: ['profile'],
      authorizationParameters: { audience: 'nextcloud', prompt: 'consent' },
      returnTo: 'https://app.example.com/done?a=b',
      authenticateBrowser,
      identity: () => true,
    }

    expect(grantsOf({ storage: ownAdapter(), encryptionKey: KEY, connect: { ...connect, consent } })).toMatchObject({
      consent,
      encryptionKeys: [new Uint8Array(Buffer.from(KEY, 'base64url'))],
      connect: { ...connect, redirectUri: 'https://mcp.example.com/a/b-c/callback' },
    })
  })

  it('asks for the scopes of nextcloud.scopes, unless connect has its own', () => {
    expect(grantsOf({ nextcloud: { ...nextcloud, scopes: ['a'] } })?.connect?.scopes).toEqual(['a'])
  })

  it('has no pages with connect: false', () => {
    expect(grantsOf({ connect: false })).toMatchObject({ consent: 'per-client', connect: undefined })
  })

  it('asks nothing of the store when it is built and closed, and leaves it as it is', async () => {
    const storage = ownAdapter()
    await createMcpAuth(withGrants({ storage, encryptionKey: KEY }), manualClock()).close()

    expect([storage.get, storage.put, storage.delete].map(({ mock }) => mock.calls.length)).toEqual([0, 0, 0])
    expect(Object.isFrozen(storage)).toBe(false)
  })

  it('calls an adapter as its own methods', async () => {
    const own = {
      ...ownAdapter(),
      held: 'value',
      get() {
        return Promise.resolve({ value: this.held, version: '1' })
      },
    }
    const { storage } = grantsOf({ storage: own, encryptionKey: KEY })!

    expect(await storage?.get('key')).toEqual({ value: 'value', version: '1' })
  })
})

describe('encryptionKey', () => {
  it('is required with a storage other than memory', () => {
    expect(refusalOf(withGrants({ storage: ownAdapter() }))).toEqual(
      refused(
        'encryptionKey',
        'is required with a storage other than memory (environment variable TOKEN_ENCRYPTION_KEY); npx mcp-nextcloud-auth keygen makes one',
      ),
    )
    expect(refusalOf(withGrants({ storage: ownAdapter() }), { TOKEN_ENCRYPTION_KEY: KEY })).toBeUndefined()
  })

  it('is left to memory, which has one of its own', () => {
    const { encryptionKeys, storage } = grantsOf({ storage: new MemoryStorage() })!

    expect(encryptionKeys).toEqual([])
    expect(storage?.[OWN_KEY]).toHaveLength(32)
  })

  it('has no use without grants: an option is checked, and each is a warning', () => {
    const message = (name: string) =>
      `${name} has no use in token-exchange mode: it seals what is in storage, and none is given`
    const variable = 'encryptionKey (environment variable TOKEN_ENCRYPTION_KEY)'

    expect(refusalOf(withGrants({ ...exchanging, encryptionKey: 'none' }))).toMatchObject({ option: 'encryptionKey' })
    expect(warningsWith({ ...exchanging, encryptionKey: KEY })).toEqual([['encryptionKey', message('encryptionKey')]])
    expect(warningsWith(exchanging, { TOKEN_ENCRYPTION_KEY: 'none' })).toEqual([['encryptionKey', message(variable)]])
  })
})

describe('storage', () => {
  it('that is not given is memory, with a warning that it forgets', () => {
    const message =
      'no storage is given: grants are kept in memory, and every user has to connect again after a restart'
    expect(warningsWith()).toEqual([['storage', message]])
    expect(warningsWith({ storage: new MemoryStorage() })).toEqual([])
  })

  it.each([{ NODE_APP_INSTANCE: '0' }, { KUBERNETES_SERVICE_HOST: '10.0.0.1' }])(
    'that is not shared comes with a warning where several instances are likely: %j',
    (environment) => {
      const warning = [
        'storage',
        'storage is not shared, and this looks like one of several instances: each knows only its own grants',
      ]
      expect(warningsWith({ storage: new MemoryStorage() }, environment)).toEqual([warning])
      expect(warningsWith({ storage: ownAdapter(false), encryptionKey: KEY }, environment)).toEqual([warning])
      expect(warningsWith({ storage: ownAdapter(), encryptionKey: KEY }, environment)).toEqual([])
    },
  )

  it('has no use in pass-through mode, with a warning, and an encryption key for it with no other', () => {
    const options = { ...exchanging, nextcloud: { ...nextcloud, mode: 'pass-through' }, storage: ownAdapter() }
    const warnings = [['storage', 'storage has no use in pass-through mode (nextcloud.mode)']]
    expect(grantsOf(options)).toBeUndefined()
    expect(warningsWith(options)).toEqual(warnings)
    expect(warningsWith({ ...options, encryptionKey: KEY })).toEqual(warnings)
  })
})

describe.each(['token-exchange', 'jwt-bearer'])('storage in %s mode', (mode) => {
  const options = { ...exchanging, nextcloud: { ...nextcloud, mode } }
  const sharedTokensOf = (more: object) => readConfig(withGrants({ ...options, ...more }), {}).sharedTokens

  it('is for exchanged tokens, and keeps no grants', () => {
    expect(sharedTokensOf({})).toBeUndefined()
    const given = { storage: ownAdapter(), encryptionKey: KEY }
    expect(sharedTokensOf(given)).toMatchObject({ storage: { shared: true }, encryptionKeys: [expect.any(Uint8Array)] })
    expect(grantsOf({ ...options, ...given })).toBeUndefined()
    expect(warningsWith({ ...options, ...given })).toEqual([])
  })

  it('must have a key, unless it is memory', () => {
    expect(refusalOf(withGrants({ ...options, storage: ownAdapter() }))).toMatchObject({ option: 'encryptionKey' })
    expect(sharedTokensOf({ storage: new MemoryStorage() })).toMatchObject({ encryptionKeys: [] })
  })

  it('that is not shared comes with a warning where several instances are likely', () => {
    const given = { ...options, storage: new MemoryStorage() }
    const warning =
      'storage is not shared, and this looks like one of several instances: each shares its exchanged tokens with none'
    expect(warningsWith(given)).toEqual([])
    expect(warningsWith(given, { NODE_APP_INSTANCE: '0' })).toEqual([['storage', warning]])
  })
})

describe('storage of used DPoP proofs', () => {
  const SCOPED = { ...LEAST, challengeScopes: ['notes:read'] }
  const proofsOf = (options: object) => readConfig({ ...SCOPED, ...CLIENT, ...options }, {}).usedProofs
  const modes = [{}, exchanging, { nextcloud }]

  it.each(modes)('is the one that is shared, whatever the mode: %j', (mode) => {
    const stored = { ...mode, storage: ownAdapter(), encryptionKey: KEY }
    for (const dpop of ['allowed', 'required']) {
      const { storage, encryptionKeys } = proofsOf({ ...stored, dpop })!
      expect(storage.shared).toBe(true)
      expect(encryptionKeys).toHaveLength(1)
    }
    expect(proofsOf({ ...stored, dpop: 'off' })).toBeUndefined()
    expect(proofsOf({ ...mode, storage: ownAdapter(false), encryptionKey: KEY, dpop: 'allowed' })).toBeUndefined()
    expect(proofsOf({ ...mode, dpop: 'allowed' })).toBeUndefined()
  })

  it.each(modes)('needs an encryption key, and is of use: %j', (mode) => {
    const options = { ...SCOPED, ...CLIENT, ...mode, storage: ownAdapter(), dpop: 'required' }
    expect(refusalOf(options)).toMatchObject({ option: 'encryptionKey' })
    expect(readConfig({ ...options, encryptionKey: KEY }, {}).warnings).toEqual([])
  })

  it('that is not there, or not shared, comes with a warning where several instances are likely', () => {
    const warned = (options: object, environment: Record<string, string>) =>
      readConfig({ ...SCOPED, ...options }, environment).warnings.map(([option]) => option)
    const several = { NODE_APP_INSTANCE: '0' }

    expect(warned({ dpop: 'allowed' }, several)).toEqual(['dpop'])
    expect(warned({ dpop: 'allowed', storage: ownAdapter(), encryptionKey: KEY }, several)).toEqual([])
    expect(warned({ dpop: 'allowed' }, {})).toEqual([])
    expect(warned({}, several)).toEqual([])
  })
})

describe('connect', () => {
  it.each([
    ...['client_id', 'redirect_uri', 'response_type', 'response_mode', 'state', 'nonce', 'scope'],
    ...['code_challenge', 'code_challenge_method'],
  ])('has no parameter that ties the answer to the browser: %s', (name) => {
    expect(refusalOf(withGrants({ connect: { authorizationParameters: { [name]: 'fixed' } } }))).toEqual(
      refused(
        'connect.authorizationParameters',
        `must not hold ${name}, which has an option of its own or is set here`,
      ),
    )
  })

  it('has no use in another mode, and is refused there', () => {
    const problem = "has no use without nextcloud.mode 'refresh-token' or 'app-password'"
    expect(refusalOf(withGrants({ ...exchanging, connect: {} }))).toEqual(refused('connect', problem))
    expect(refusalOf(withGrants({ ...exchanging, connect: false }))).toBeUndefined()
  })
})

describe('Nextcloud’s own authorization server', () => {
  const options = { nextcloud: { ...nextcloud, preset: 'nextcloud-oauth2-app' } }

  it('has no ID token, so that a rule must say whose account it is', () => {
    expect(refusalOf(withGrants(options))?.message).toMatch(/is required with the preset nextcloud-oauth2-app: /)
    const own = { authenticateBrowser: () => Promise.resolve(undefined) }
    expect(refusalOf(withGrants({ ...options, connect: own }))).toMatchObject({ option: 'connect.identity' })
    expect(refusalOf(withGrants({ ...options, connect: { identity: 'sub' } }))).toBeUndefined()
    expect(refusalOf(withGrants({ ...options, connect: false }))).toBeUndefined()
  })

  it('leaves the issuer without a client that introspects', () => {
    const given = withGrants({ ...options, connect: false })
    const refusal = refused(
      'introspection',
      'contradicts the preset nextcloud-oauth2-app: clientId is of Nextcloud, and unknown to the issuer',
    )
    expect(refusalOf({ ...given, introspection: 'always' })).toEqual(refusal)
    expect(refusalOf({ ...given, introspection: 'opaque-only' })).toEqual(refusal)
    expect(refusalOf({ ...given, introspection: false })).toBeUndefined()
    expect(readConfig(given, {})).toMatchObject({ introspection: false, audience: [LEAST.resource] })
  })
})

describe('app-password mode', () => {
  const options = (more: object = {}, others: object = {}) => ({
    ...LEAST,
    nextcloud: { ...nextcloud, mode: 'app-password', ...others },
    ...more,
  })

  it('has grants as refresh-token mode has them', () => {
    expect(readConfig(options({ ...CLIENT, ...RULE }), {}).grants).toMatchObject({
      credential: 'app-password',
      consent: 'per-client',
      connect: { path: '/nextcloud', scopes: [], signIn: true },
    })
    expect(refusalOf(options({ ...CLIENT, ...RULE, storage: ownAdapter() }))).toMatchObject({ option: 'encryptionKey' })
  })

  it('needs a client at the authorization server, or the app to say who is at the browser', () => {
    const refusal = refused(
      'connect.authenticateBrowser',
      'is required in app-password mode without clientId and clientSecret (or clientAuth), with which the authorization server could say who is at the browser',
    )
    for (const more of [{}, { clientId: 'public' }, { connect: { identity: () => true } }])
      expect(refusalOf(options(more))).toEqual(refusal)
    for (const client of [{}, CLIENT]) {
      const { grants } = readConfig(options({ ...client, connect: { authenticateBrowser, identity: 'sub' } }), {})
      expect(grants?.connect?.signIn).toBe(false)
    }
    expect(refusalOf(options({ connect: false }))).toBeUndefined()
  })

  it('needs a rule that says whose account it is, and explains the choice', () => {
    const refusal = refusalOf(options(CLIENT))

    expect(refusal).toMatchObject({ option: 'connect.identity' })
    expect(refusal?.message).toMatch(
      /^connect\.identity \(environment variable NEXTCLOUD_IDENTITY\) is required in app-password mode: /,
    )
    const lines = refusal?.message.split('\n').slice(1) ?? []
    const ways = ["'sub'", "{ claim: 'preferred_username' }", '{ userOidc: { providerId: 1 } }', '(account, who)']
    expect(lines.map((line, index) => line.includes(ways[index] ?? 'no more'))).toEqual([true, true, true, true])
    expect(refusalOf(options({ ...CLIENT, connect: { authenticateBrowser } }))).toMatchObject({
      option: 'connect.identity',
    })
    expect(refusalOf(options({ ...CLIENT, connect: false }))).toBeUndefined()
  })

  it("has a warning at each start where the rule is 'anyone', and with no other", () => {
    const warnings = (identity: unknown) =>
      warningsOf(options({ ...CLIENT, storage: new MemoryStorage(), connect: { identity } }))

    expect(warnings('anyone')).toEqual([['connect.identity', expect.stringContaining("is 'anyone'") as string]])
    for (const rule of ['sub', { claim: 'email' }, { userOidc: { providerId: 1 } }, () => true])
      expect(warnings(rule)).toEqual([])
  })

  it('has no use for connect.scopes, nor for a server without ID tokens', () => {
    expect(refusalOf(options({ ...CLIENT, connect: { scopes: ['profile'] } }))).toEqual(
      refused(
        'connect.scopes',
        'has no use in app-password mode, which asks for openid alone unless connect.identity reads a claim',
      ),
    )
    expect(refusalOf(options(CLIENT, { preset: 'nextcloud-oauth2-app' }))).toEqual(
      refused('nextcloud.preset', 'contradicts app-password mode: that server cannot say who is at the browser'),
    )
  })
})
