import { describe, expect, it, vi } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import { OWN_KEY, type StorageAdapter } from '../../src/storage-adapter.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import { manualClock } from '../support/clock.js'
import { CLIENT, LEAST, refusalOf, refused } from '../support/refusal.js'

const KEY = Buffer.from(Array.from({ length: 32 }, (_, index) => index)).toString('base64url')
const nextcloud = { url: 'https://cloud.example.com', mode: 'refresh-token' } as const
const withGrants = (options: object = {}) => ({ ...LEAST, ...CLIENT, nextcloud, ...options })
const grantsOf = (options: object = {}, environment = {}) => readConfig(withGrants(options), environment).grants
const warningsOf = (options: object = {}, environment = {}) => readConfig(withGrants(options), environment).warnings

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
      storage: undefined,
      encryptionKeys: [],
      consent: 'per-client',
      connect: {
        path: '/nextcloud',
        redirectUri: 'https://mcp.example.com/nextcloud/callback',
        scopes: [],
        authorizationParameters: {},
        returnTo: undefined,
        authenticateBrowser: undefined,
        identity: undefined,
        signIn: true,
      },
    })
  })

  it('takes every option as it is given', () => {
    const connect = {
      path: '/a/b-c',
      consent: 'per-user',
      scopes: ['profile'],
      authorizationParameters: { audience: 'nextcloud', prompt: 'consent' },
      returnTo: 'https://app.example.com/done?a=b',
      authenticateBrowser: () => Promise.resolve(undefined),
    }

    const grants = grantsOf({ storage: ownAdapter(), encryptionKey: KEY, connect })

    expect(grants).toMatchObject({
      consent: 'per-user',
      encryptionKeys: [new Uint8Array(Buffer.from(KEY, 'base64url'))],
      connect: {
        path: '/a/b-c',
        redirectUri: 'https://mcp.example.com/a/b-c/callback',
        scopes: ['profile'],
        authorizationParameters: connect.authorizationParameters,
        returnTo: connect.returnTo,
        authenticateBrowser: connect.authenticateBrowser,
      },
    })
  })

  it('asks for the scopes of nextcloud.scopes, unless connect has its own', () => {
    expect(grantsOf({ nextcloud: { ...nextcloud, scopes: ['a'] } })?.connect?.scopes).toEqual(['a'])
  })

  it('has no pages with connect: false', () => {
    expect(grantsOf({ connect: false })).toMatchObject({ consent: 'per-client', connect: undefined })
  })

  it('asks nothing of the store at construction', () => {
    const storage = ownAdapter()
    createMcpAuth(withGrants({ storage, encryptionKey: KEY }), manualClock())

    expect([storage.get, storage.put, storage.delete].map(({ mock }) => mock.calls.length)).toEqual([0, 0, 0])
  })

  it('leaves an adapter that is a plain object as it is', () => {
    const storage = ownAdapter()
    grantsOf({ storage, encryptionKey: KEY })

    expect(Object.isFrozen(storage)).toBe(false)
  })

  it('calls an adapter as its own methods', async () => {
    const own = {
      shared: true,
      held: 'value',
      get() {
        return Promise.resolve({ value: this.held, version: '1' })
      },
      put: () => Promise.resolve(null),
      delete: () => Promise.resolve(false),
    }

    expect(await grantsOf({ storage: own, encryptionKey: KEY })?.storage?.get('key')).toEqual({
      value: 'value',
      version: '1',
    })
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
  })

  it('comes from TOKEN_ENCRYPTION_KEY too, several of them between commas', () => {
    const other = Buffer.alloc(32, 'other').toString('base64url')

    const grants = grantsOf({ storage: ownAdapter() }, { TOKEN_ENCRYPTION_KEY: `${KEY},${other}` })

    expect(grants?.encryptionKeys.map((key) => Buffer.from(key).toString('base64url'))).toEqual([KEY, other])
  })

  it('is left to memory, which has one of its own', () => {
    expect(grantsOf({ storage: new MemoryStorage() })).toMatchObject({
      encryptionKeys: [],
      storage: { [OWN_KEY]: expect.any(Uint8Array) as Uint8Array },
    })
  })

  it('from the environment is not looked at in other modes, as an option it is', () => {
    const options = { ...LEAST, ...CLIENT }
    expect(refusalOf(options, { TOKEN_ENCRYPTION_KEY: 'none' })).toBeUndefined()
    expect(refusalOf({ ...options, encryptionKey: 'none' })).toMatchObject({ option: 'encryptionKey' })
  })
})

describe('storage', () => {
  it.each([
    null,
    'redis',
    {},
    { ...ownAdapter(), get: undefined },
    { ...ownAdapter(), put: 1 },
    { ...ownAdapter(), delete: undefined },
    { ...ownAdapter(), shared: undefined },
    { ...ownAdapter(), shared: 'yes' },
  ])('is refused when it is no adapter: %#', (storage) => {
    expect(refusalOf(withGrants({ storage, encryptionKey: KEY }))).toEqual(
      refused('storage', 'must be a StorageAdapter: with get, put and delete, and with shared, which is true or false'),
    )
  })

  it('that is not given is memory, with a warning that it forgets', () => {
    expect(warningsOf()).toEqual([
      [
        'storage',
        'no storage is given: grants are kept in memory, and every user has to connect again after a restart',
      ],
    ])
    expect(warningsOf({ storage: new MemoryStorage() })).toEqual([])
  })

  it.each([{ NODE_APP_INSTANCE: '0' }, { KUBERNETES_SERVICE_HOST: '10.0.0.1' }])(
    'that is not shared comes with a warning where several instances are likely: %j',
    (environment) => {
      const warning = [
        'storage',
        'storage is not shared, and this looks like one of several instances: each knows only its own grants',
      ]
      expect(warningsOf({ storage: new MemoryStorage() }, environment)).toEqual([warning])
      expect(warningsOf({ storage: ownAdapter(false), encryptionKey: KEY }, environment)).toEqual([warning])
      expect(warningsOf({ storage: ownAdapter(), encryptionKey: KEY }, environment)).toEqual([])
    },
  )

  it('has no use in another mode, with a warning', () => {
    const options = { nextcloud: { ...nextcloud, mode: 'token-exchange' }, storage: ownAdapter() }
    expect(grantsOf(options)).toBeUndefined()
    expect(warningsOf(options)).toEqual([['storage', 'storage has no use in token-exchange mode (nextcloud.mode)']])
  })
})

describe('app-password mode', () => {
  const options = { nextcloud: { ...nextcloud, mode: 'app-password' }, storage: ownAdapter(), encryptionKey: KEY }

  it('has a warning where nobody says whose account it is', () => {
    expect(warningsOf(options)).toEqual([['connect.identity', expect.stringContaining('is not set') as string]])
    expect(warningsOf({ ...options, connect: { identity: () => true } })).toEqual([])
    expect(warningsOf({ ...options, connect: false })).toEqual([])
  })
})

describe('an encryption key without grants to seal', () => {
  const why = 'has no use in token-exchange mode: it seals grants, and those come with storage (refresh-token mode)'

  it('is a warning, wherever it comes from', () => {
    const options = { nextcloud: { ...nextcloud, mode: 'token-exchange' } }
    expect(warningsOf({ ...options, encryptionKey: KEY })).toEqual([['encryptionKey', `encryptionKey ${why}`]])
    expect(warningsOf(options, { TOKEN_ENCRYPTION_KEY: KEY })).toEqual([
      ['encryptionKey', `encryptionKey (environment variable TOKEN_ENCRYPTION_KEY) ${why}`],
    ])
  })

  it('is none of its own where the storage is what is out of place', () => {
    const options = { nextcloud: { ...nextcloud, mode: 'token-exchange' }, storage: ownAdapter(), encryptionKey: KEY }
    expect(warningsOf(options)).toMatchObject([['storage', expect.any(String)]])
  })
})

describe('connect', () => {
  it.each([
    ['path', 'nextcloud'],
    ['path', '/'],
    ['path', '/nextcloud/'],
    ['path', '/a//b'],
    ['path', '/a/../b'],
    ['path', '/a?b'],
    ['path', '/a%20b'],
    ['path', 1],
  ])('%s is refused: %j', (_, path) => {
    expect(refusalOf(withGrants({ connect: { path } }))).toMatchObject({ option: 'connect.path' })
  })

  it.each([
    ['connect.consent', { consent: 'always' }, "must be 'per-client' or 'per-user'"],
    ['connect.returnTo', { returnTo: '/done' }, 'must be an absolute URL'],
    ['connect.authenticateBrowser', { authenticateBrowser: true }, 'must be a function'],
    ['connect.identity', { identity: true }, 'must be a function'],
    ['connect.authorizationParameters', { authorizationParameters: 'prompt' }, 'must be an object of strings'],
    [
      'connect.authorizationParameters',
      { authorizationParameters: { state: 'fixed' } },
      'must not hold state, which has an option of its own or is set here',
    ],
    [
      'connect.authorizationParameters',
      { authorizationParameters: { max_age: 1 } },
      'must be an object of strings, which max_age is not',
    ],
  ])('%s is refused: %j', (option, connect, reason) => {
    expect(refusalOf(withGrants({ connect }))).toEqual(refused(option, reason))
  })

  it('has no option that is not known', () => {
    expect(refusalOf(withGrants({ connect: { redirect: true } }))).toEqual(
      refused('connect.redirect', 'is not an option'),
    )
  })

  it('has no use in another mode, and is refused there', () => {
    const options = withGrants({ nextcloud: { ...nextcloud, mode: 'token-exchange' }, connect: {} })
    expect(refusalOf(options)).toEqual(
      refused('connect', "has no use without nextcloud.mode 'refresh-token' or 'app-password'"),
    )
    expect(refusalOf({ ...options, connect: false })).toBeUndefined()
  })

  it.each(['authenticateBrowser', 'identity'])(
    'needs the app to say who is at the browser where the server has no ID token, and %s does',
    (name) => {
      const options = { nextcloud: { ...nextcloud, preset: 'nextcloud-oauth2-app' } }
      expect(refusalOf(withGrants(options))).toEqual(
        refused(
          'connect.identity',
          'or connect.authenticateBrowser is required with the preset nextcloud-oauth2-app: that authorization server has no ID token that could say who is at the browser',
        ),
      )
      expect(refusalOf(withGrants({ ...options, connect: { [name]: () => undefined } }))).toBeUndefined()
      expect(refusalOf(withGrants({ ...options, connect: false }))).toBeUndefined()
    },
  )

  it.each(['always', 'opaque-only'])(
    'leaves the issuer without a client that introspects, so %s is refused',
    (value) => {
      const options = withGrants({ nextcloud: { ...nextcloud, preset: 'nextcloud-oauth2-app' }, connect: false })
      expect(refusalOf({ ...options, introspection: value })).toEqual(
        refused(
          'introspection',
          'contradicts the preset nextcloud-oauth2-app: clientId is of Nextcloud, and unknown to the issuer',
        ),
      )
      expect(readConfig(options, {})).toMatchObject({ introspection: false, audience: [LEAST.resource] })
      expect(refusalOf({ ...options, introspection: false })).toBeUndefined()
    },
  )
})

describe('app-password mode', () => {
  const options = (more: object = {}) => ({
    ...LEAST,
    ...more,
    nextcloud: { url: nextcloud.url, mode: 'app-password', ...('nextcloud' in more ? (more.nextcloud as object) : {}) },
  })

  it('has grants as refresh-token mode has them', () => {
    expect(readConfig(options(CLIENT), {}).grants).toMatchObject({
      credential: 'app-password',
      consent: 'per-client',
      connect: { path: '/nextcloud', scopes: [], signIn: true },
    })
    expect(refusalOf(options({ ...CLIENT, storage: ownAdapter() }))).toMatchObject({ option: 'encryptionKey' })
  })

  it('needs a client at the authorization server, or the app to say who is at the browser', () => {
    const authenticateBrowser = () => Promise.resolve(undefined)
    expect(refusalOf(options())).toEqual(
      refused(
        'connect.authenticateBrowser',
        'is required in app-password mode without clientId and clientSecret (or clientAuth), with which the authorization server could say who is at the browser',
      ),
    )
    expect(refusalOf(options({ clientId: 'public' }))).toMatchObject({ option: 'connect.authenticateBrowser' })
    expect(refusalOf(options({ connect: { identity: () => true } }))).toMatchObject({
      option: 'connect.authenticateBrowser',
    })
    expect(readConfig(options({ connect: { authenticateBrowser } }), {}).grants?.connect?.signIn).toBe(false)
    expect(readConfig(options({ ...CLIENT, connect: { authenticateBrowser } }), {}).grants?.connect?.signIn).toBe(false)
    expect(refusalOf(options({ connect: false }))).toBeUndefined()
  })

  it.each([
    ['audience', 'nextcloud'],
    ['resource', 'https://cloud.example.com'],
    ['scopes', ['files']],
    ['parameters', { a: 'b' }],
  ])('has no use for nextcloud.%s', (name, value) => {
    expect(refusalOf(options({ ...CLIENT, nextcloud: { [name]: value } }))).toEqual(
      refused(`nextcloud.${name}`, 'has no use in app-password mode'),
    )
  })

  it('has no use for connect.scopes, nor for a server without ID tokens', () => {
    expect(refusalOf(options({ ...CLIENT, connect: { scopes: ['profile'] } }))).toEqual(
      refused('connect.scopes', 'has no use in app-password mode, which asks for openid alone'),
    )
    expect(refusalOf(options({ ...CLIENT, nextcloud: { preset: 'nextcloud-oauth2-app' } }))).toEqual(
      refused('nextcloud.preset', 'contradicts app-password mode: that server cannot say who is at the browser'),
    )
  })
})
