import { None } from 'oauth4webapi'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import type { Environment } from '../../src/options.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { CLIENT, LEAST, refusalOf, refused } from '../support/refusal.js'

const url = 'https://cloud.example.com/nextcloud'

const withNextcloud = (nextcloud: object, client: object = CLIENT) => ({ ...LEAST, ...client, nextcloud })

describe('nextcloud', () => {
  it('has defaults for everything but its URL', () => {
    expect(readConfig(withNextcloud({ url }), {}).nextcloud).toEqual({
      url: new URL(url),
      base: `${url}/`,
      mode: 'token-exchange',
      audience: ['nextcloud'],
      resource: [],
      scopes: [],
      fixedScopes: [],
      parameters: {},
      preset: 'generic',
      timeout: 60_000,
    })
  })

  it('takes every option as it is given', () => {
    const given = {
      url: new URL(url),
      mode: 'jwt-bearer',
      audience: ['one', 'two'],
      resource: ['https://cloud.example.com'],
      scopes: ['openid', 'profile'],
      parameters: { requested_token_type: 'urn:ietf:params:oauth:token-type:jwt', vendor_hint: '' },
      preset: 'entra',
      timeout: 1,
    }

    const expected = { ...given, base: `${url}/`, fixedScopes: given.scopes }
    expect(readConfig(withNextcloud(given), {}).nextcloud).toEqual(expected)
    expect(readConfig(withNextcloud({ url: `${url}/` }), {}).nextcloud?.base).toBe(`${url}/`)
  })

  it('takes a single audience and a single resource without a list, and scopes as a function', () => {
    const scopes = () => ['openid']

    const { nextcloud } = readConfig(withNextcloud({ url, audience: 'one', resource: 'two', scopes }), {})

    expect(nextcloud).toMatchObject({ audience: ['one'], resource: ['two'], scopes, fixedScopes: [] })
  })

  it('warns of the preset entra in token-exchange mode, which Entra does not have, and in no other', () => {
    const warningsOf = (mode?: string) => readConfig(withNextcloud({ url, preset: 'entra', mode }), {}).warnings
    const warning = [
      'nextcloud.preset',
      "nextcloud.preset is 'entra', a server without token-exchange mode: set nextcloud.mode to 'jwt-bearer'",
    ]

    expect([undefined, 'token-exchange'].map(warningsOf)).toEqual([[warning], [warning]])
    expect(warningsOf('jwt-bearer')).toEqual([])
    expect(readConfig(withNextcloud({ url, preset: 'keycloak' }), {}).warnings).toEqual([])
  })

  it('needs a URL', () => {
    expect(refusalOf(withNextcloud({ audience: 'nextcloud' }))).toEqual(
      refused('nextcloud.url', 'is required (environment variable NEXTCLOUD_HOST)'),
    )
    expect(refusalOf(withNextcloud({}))).toMatchObject({ option: 'nextcloud.url' })
  })

  it('has no query in its URL, which no path could follow', () => {
    expect(refusalOf(withNextcloud({ url: 'https://cloud.example.com/?a=b' }))).toEqual(
      refused('nextcloud.url', 'must not have a query'),
    )
  })
})

describe('nextcloud.mode', () => {
  it.each(['token-exchange', 'refresh-token', 'app-password', 'jwt-bearer', 'pass-through'])('may be %s', (mode) => {
    expect(readConfig(withNextcloud({ url, mode }), {}).nextcloud?.mode).toBe(mode)
  })

  it.each(['exchange', 'Token-Exchange', '', true, false, null, ['token-exchange']])('is refused: %j', (mode) => {
    expect(refusalOf(withNextcloud({ url, mode }))).toEqual(
      refused(
        'nextcloud.mode',
        "must be 'token-exchange', 'refresh-token', 'app-password', 'jwt-bearer' or 'pass-through'",
      ),
    )
  })

  it('is refresh-token by default where a storage is given, and what the environment says before that', () => {
    const modeOf = (environment: Environment) =>
      readConfig({ ...withNextcloud({ url }), storage: new MemoryStorage() }, environment).nextcloud?.mode

    expect(modeOf({})).toBe('refresh-token')
    expect(modeOf({ ENABLE_TOKEN_EXCHANGE: 'true' })).toBe('token-exchange')
    expect(modeOf({ ENABLE_TOKEN_EXCHANGE: 'false' })).toBe('pass-through')
  })

  it('with refresh tokens has one set of scopes for all callers', () => {
    expect(refusalOf(withNextcloud({ url, mode: 'refresh-token', scopes: () => ['openid'] }))).toEqual(
      refused(
        'nextcloud.scopes',
        'must be a list in refresh-token mode: a grant has one set of scopes for all callers',
      ),
    )
  })

  const missing = (option: string, mode: string) => ({
    option,
    message: expect.stringMatching(new RegExp(`^${option} is required: in ${mode} mode `)) as unknown,
  })

  it.each(['token-exchange', 'jwt-bearer'])('needs a client that can prove who it is when it is %s', (mode) => {
    expect(refusalOf(withNextcloud({ url, mode }, {}))).toMatchObject(missing('clientId', mode))
    expect(refusalOf(withNextcloud({ url, mode }, { clientId: 'mcp-server' }))).toMatchObject(
      missing('clientSecret', mode),
    )
    expect(refusalOf(withNextcloud({ url, mode }, { clientId: 'mcp-server', clientAuth: None() }))).toBeUndefined()
  })

  it('needs such a client also as the default', () => {
    expect(refusalOf(withNextcloud({ url }, {}))).toMatchObject(missing('clientId', 'token-exchange'))
  })

  it.each(['resource', 'scopes', 'parameters'])('has no use for %s when it is pass-through', (name) => {
    const given = { resource: 'https://cloud.example.com', scopes: ['read'], parameters: { a: 'b' } }[name]
    expect(refusalOf(withNextcloud({ url, mode: 'pass-through', [name]: given }, {}))).toMatchObject({
      option: `nextcloud.${name}`,
      message: `nextcloud.${name} has no use in pass-through mode`,
    })
  })

  it('needs no client when it is pass-through', () => {
    expect(refusalOf(withNextcloud({ url, mode: 'pass-through' }, {}))).toBeUndefined()
  })
})

describe('nextcloud.parameters', () => {
  it.each(['text', 5, null, [], true])('is refused when it is no object: %j', (parameters) => {
    expect(refusalOf(withNextcloud({ url, parameters }))).toEqual(
      refused('nextcloud.parameters', 'must be an object of strings'),
    )
  })

  it.each([5, null, ['a'], true, undefined])('is refused when it holds what is no string: %j', (value) => {
    expect(refusalOf(withNextcloud({ url, parameters: { good: 'yes', hint: value } }))).toEqual(
      refused('nextcloud.parameters', 'must be an object of strings, which hint is not'),
    )
  })

  it.each([
    'grant_type',
    'subject_token',
    'assertion',
    'client_id',
    'client_secret',
    'client_assertion',
    'client_assertion_type',
    'scope',
    'audience',
    'resource',
  ])('is refused when it holds %s', (name) => {
    expect(refusalOf(withNextcloud({ url, parameters: { [name]: 'value' } }))).toEqual(
      refused('nextcloud.parameters', `must not hold ${name}, which has an option of its own or is set here`),
    )
  })
})

describe('nextcloud.preset', () => {
  it.each(['generic', 'keycloak', 'entra', 'nextcloud-oidc-app', 'nextcloud-oauth2-app'])('may be %s', (preset) => {
    const connect = { authenticateBrowser: () => Promise.resolve(undefined) }
    const options = { ...withNextcloud({ url, preset, mode: 'refresh-token' }), connect }
    expect(readConfig(options, {}).nextcloud?.preset).toBe(preset)
  })

  it.each(['Keycloak', '', 1, null, 'constructor'])('is refused: %j', (preset) => {
    expect(refusalOf(withNextcloud({ url, preset }))).toEqual(
      refused(
        'nextcloud.preset',
        "must be 'generic', 'keycloak', 'entra', 'nextcloud-oidc-app' or 'nextcloud-oauth2-app'",
      ),
    )
  })

  it.each(
    ['nextcloud-oidc-app', 'nextcloud-oauth2-app'].flatMap((preset) =>
      ['token-exchange', 'jwt-bearer'].map((mode) => ({ preset, mode })),
    ),
  )('$preset contradicts $mode mode', ({ preset, mode }) => {
    expect(refusalOf(withNextcloud({ url, preset, mode }))).toEqual(
      refused('nextcloud.preset', `contradicts ${mode} mode, which that server does not have: use refresh-token mode`),
    )
  })
})
