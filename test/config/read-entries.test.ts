import { hash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { perIssuer } from '../../src/config/per-issuer.js'
import { readConfig } from '../../src/config/read-config.js'
import { CLIENT, NO_SCOPES, refusalOf, refused } from '../support/refusal.js'

const A = 'https://a.example.com'
const B = 'https://b.example.com/realms/b'
const TOP = { resource: 'https://mcp.example.com/mcp', ...NO_SCOPES }
const TWO = { ...TOP, issuers: [{ issuer: A }, { issuer: B }] }
const clientAuth = () => undefined
const ofBoth = (options: object, environment = {}) => {
  const config = readConfig(options, environment)
  return [config, ...config.others] as const
}

describe('what an entry leaves out', () => {
  it('is that of the top level, in the order of the entries', () => {
    const [a, b] = ofBoth({
      ...TWO,
      ...CLIENT,
      audience: ['x'],
      introspection: false,
      missingAudience: 'client',
      nextcloud: { url: 'https://cloud.example.com', preset: 'keycloak' },
    })
    expect([a.issuer, b?.issuer]).toEqual([A, B])
    const inherited = { audience: ['x'], introspection: false, missingAudience: 'client' }
    for (const one of [a, b])
      expect(one).toMatchObject({
        ...inherited,
        client: { id: 'mcp-server', secret: 'secret' },
        nextcloud: { preset: 'keycloak' },
      })
  })

  it.each([
    ['refresh-token', 'generic', `https://mcp.example.com/nextcloud/callback/${hash('sha256', B).slice(0, 16)}`],
    // Users sign in at the one Nextcloud, whoever is the issuer.
    ['refresh-token', 'nextcloud-oauth2-app', undefined],
  ])('has no redirect URI of its own in it: %s, %s', (mode, preset, own) => {
    const connect = { identity: 'sub' }
    const all = ofBoth({ ...TWO, ...CLIENT, connect, nextcloud: { url: 'https://cloud.example.com', mode, preset } })
    const shared = 'https://mcp.example.com/nextcloud/callback'
    expect(all.map(({ grants }) => grants?.connect)).toMatchObject([
      { redirectUri: shared, ownRedirectUri: undefined },
      { redirectUri: shared, ownRedirectUri: own },
    ])
  })

  it('is warned of where the rule compares a claim whoever the issuer is, once for all, and not with a function', () => {
    const nextcloud = { url: 'https://cloud.example.com', mode: 'app-password' }
    const warnings = (identity: unknown, issuers: object) =>
      readConfig({ ...TOP, ...CLIENT, ...issuers, nextcloud, connect: { identity } }, {})
        .warnings.filter(([option]) => option === 'connect.identity')
        .map(([, message]) => message)

    for (const [rule, words] of [
      ['sub', 'is sub, which compares sub whoever'],
      [{ claim: 'email' }, 'is claim:email, which compares email whoever'],
      [{ userOidc: { providerId: 1 } }, 'is user_oidc:1, which compares sub whoever'],
    ] as const) {
      expect(warnings(rule, { issuers: TWO.issuers })).toEqual([expect.stringContaining(words)])
      expect(warnings(rule, { issuers: [{ issuer: A }] })).toEqual([])
      expect(warnings(rule, { issuer: A })).toEqual([])
    }
    expect(warnings('sub', { issuers: TWO.issuers })[0]).toMatch(/function \(account, who\) .*who\.issuer/)
    expect(warnings(() => true, { issuers: TWO.issuers })).toEqual([])
    expect(warnings('anyone', { issuers: TWO.issuers })).toEqual([expect.stringContaining("is 'anyone'")])
  })

  it('may come from the environment there, but for the variables that say where the one issuer is', () => {
    const [a, b] = ofBoth(TWO, {
      OIDC_CLIENT_ID: 'from-variable',
      OIDC_CLIENT_SECRET: 's',
      OIDC_ISSUER: 'https://other.example.com',
      OIDC_DISCOVERY_URL: 'https://other.example.com/discovery',
    })
    expect([a.issuer, b?.issuer, a.discoveryUrl, b?.discoveryUrl]).toEqual([A, B, undefined, undefined])
    expect([a.client?.id, b?.client?.secret]).toEqual(['from-variable', 's'])
  })

  it('is its own where it gives it, and the top level and its neighbours keep theirs', () => {
    const own = {
      issuer: B,
      discoveryUrl: 'https://inside.example.com/d',
      authorizationServer: { jwksUri: 'https://inside.example.com/jwks' },
      audience: 'of-b',
      clientId: 'client-b',
      clientSecret: 'secret-b',
      introspection: 'always',
      missingAudience: () => true,
      preset: 'entra',
    } as const
    const [a, b] = ofBoth({
      ...TOP,
      ...CLIENT,
      nextcloud: { url: 'https://cloud.example.com', mode: 'jwt-bearer' },
      issuers: [{ issuer: A }, own],
    })
    expect(a).toMatchObject({
      audience: [TOP.resource, 'mcp-server'],
      client: { id: 'mcp-server' },
      discoveryUrl: undefined,
    })
    expect([a.endpoints.jwksUri, a.introspection, a.nextcloud?.preset]).toEqual([undefined, 'opaque-only', 'generic'])
    expect(b).toMatchObject({
      audience: ['of-b'],
      client: { id: 'client-b', secret: 'secret-b' },
      introspection: 'always',
    })
    expect([b?.discoveryUrl?.href, b?.endpoints.jwksUri?.href, b?.missingAudience, b?.nextcloud?.preset]).toEqual([
      own.discoveryUrl,
      own.authorizationServer.jwksUri,
      own.missingAudience,
      'entra',
    ])
  })

  it('is in the default audience: the id of its own client', () => {
    const [a, b] = ofBoth({ ...TOP, ...CLIENT, issuers: [{ issuer: A, clientId: 'client-a' }, { issuer: B }] })
    expect([a.audience, b?.audience]).toEqual([
      [TOP.resource, 'client-a'],
      [TOP.resource, 'mcp-server'],
    ])
  })

  it.each([
    ['clientAuth', { clientAuth }, { clientSecret: 'top' }],
    ['clientSecret', { clientSecret: 'own' }, { clientAuth }],
  ])('is no credential of the top level where it has its own: %s', (_name, own, top) => {
    const [a] = ofBoth({ ...TOP, clientId: 'c', ...top, issuers: [{ issuer: A, ...own }] })
    expect(a.client).toMatchObject({ auth: 'clientAuth' in own ? clientAuth : undefined })
    expect(a.client?.secret).toBe('clientSecret' in own ? 'own' : undefined)
  })

  it.each([
    ['clientSecret', { clientSecret: 'of another client' }, {}],
    ['clientAuth', { clientAuth }, {}],
    ['OIDC_CLIENT_SECRET', {}, { OIDC_CLIENT_SECRET: 'of another client' }],
    ['NEXTCLOUD_OIDC_CLIENT_SECRET', {}, { NEXTCLOUD_OIDC_CLIENT_SECRET: 'of another client' }],
  ])('is no credential of another client, where it has a client of its own: %s', (_name, top, environment) => {
    const own = { issuer: B, clientId: 'client-b', clientSecret: undefined }
    const [a, b] = ofBoth({ ...TOP, clientId: 'mcp-server', ...top, issuers: [{ issuer: A }, own] }, environment)
    expect(a.client?.hasCredentials).toBe(true)
    expect(b?.client).toEqual({ id: 'client-b', secret: undefined, auth: undefined, hasCredentials: false })
  })
})

it('one entry is as good as issuer, and undefined is as good as none', () => {
  const [a, ...others] = ofBoth({ ...TOP, issuer: undefined, issuers: [{ issuer: A, clientId: undefined }] })
  expect([a.issuer, others]).toEqual([A, []])
  expect(ofBoth({ ...TOP, issuer: A, issuers: undefined })[0].issuer).toBe(A)
})

it('a warning of the top level is given once, and one of an entry for it', () => {
  const [{ warnings }] = ofBoth({
    ...TOP,
    challengeScopes: undefined,
    issuers: [{ issuer: A }, { issuer: B, discoveryUrl: 'http://inside.example.com/d' }],
  })
  expect(warnings.map(([option]) => option)).toEqual(['challengeScopes', 'discoveryUrl'])
})

describe('is refused', () => {
  const two = (second: object, top: object = {}) => ({ ...TOP, ...top, issuers: [{ issuer: A }, second] })

  it.each([
    [
      'an empty list',
      { ...TOP, issuers: [] },
      'issuers',
      'must be a list of objects, each with issuer, and not be empty',
    ],
    [
      'a list of texts',
      { ...TOP, issuers: [A] },
      'issuers',
      'must be a list of objects, each with issuer, and not be empty',
    ],
    ['beside issuer', { ...TWO, issuer: A }, 'issuers', 'contradicts issuer: give one of them'],
    ['an entry without issuer', two({ clientId: 'b' }), 'issuers[1].issuer', 'is required'],
    [
      'two entries with one issuer',
      two({ issuer: A, clientId: 'b' }),
      'issuers[1].issuer',
      'is that of issuers[0], too',
    ],
    ['an unknown name', two({ issuer: B, jwksURI: B }), 'issuers[1].jwksURI', 'is not an option'],
    [
      'a name of the top level',
      two({ issuer: B, requiredScopes: ['a'] }),
      'issuers[1].requiredScopes',
      'is not an option',
    ],
    [
      'a mistaken endpoint',
      two({ issuer: B, authorizationServer: { issuer: B } }),
      'issuers[1].authorizationServer.issuer',
      'is not an option',
    ],
    ['a wrong type', two({ issuer: B, clientId: 5 }), 'issuers[1].clientId', 'must be a string that is not empty'],
    [
      'a wrong preset',
      two({ issuer: B, preset: 'okta' }),
      'issuers[1].preset',
      "must be 'generic', 'keycloak', 'entra', 'nextcloud-oidc-app' or 'nextcloud-oauth2-app'",
    ],
    [
      'discoveryUrl for two',
      { ...TWO, discoveryUrl: 'https://d.example.com' },
      'discoveryUrl',
      'is of one authorization server: give it in the entries of issuers, of which 2 lack it',
    ],
    [
      'endpoints for two',
      { ...TWO, authorizationServer: { jwksUri: 'https://d.example.com' } },
      'authorizationServer',
      'is of one authorization server: give it in the entries of issuers, of which 2 lack it',
    ],
  ])('%s', (_name, options, option, problem) => {
    expect(refusalOf(options)).toEqual(refused(option, problem))
  })

  it.each([
    [
      'plain http',
      two({ issuer: 'http://b.example.com' }),
      'issuers[1].issuer',
      'http://b.example.com): issuer must be https',
    ],
    [
      'a secret without an id',
      two({ issuer: B, clientSecret: 's' }),
      'issuers[1].clientSecret',
      'clientSecret needs clientId',
    ],
    [
      "'always' without credentials",
      two({ issuer: B, introspection: 'always' }),
      'issuers[1].introspection',
      "introspection is 'always', which needs",
    ],
    [
      'no secret where one is needed',
      two({ issuer: B, clientId: 'b' }, { nextcloud: { url: 'https://c.example.com', mode: 'token-exchange' } }),
      'issuers[0].clientId',
      'clientId is required',
    ],
    [
      'a client of its own without its secret',
      two(
        { issuer: B, clientId: 'b', clientSecret: undefined },
        { ...CLIENT, nextcloud: { url: 'https://c.example.com', mode: 'token-exchange' } },
      ),
      'issuers[1].clientSecret',
      'An entry with a clientId takes no secret from the top level or the environment: give its own',
    ],
    [
      'a client of its own without its secret, where nothing says the mode',
      two({ issuer: B, clientId: 'b' }, { ...CLIENT, nextcloud: { url: 'https://c.example.com' } }),
      'issuers[1].clientSecret',
      'clientSecret is required',
    ],
  ])('by the name of the entry: %s', (_name, options, option, problem) => {
    const refusal = refusalOf(options)
    expect(refusal).toMatchObject({ code: 'ERR_CONFIGURATION', option })
    expect(refusal?.message).toContain(problem)
    expect(refusal?.message).toMatch(/^issuers\[[01]\] \(http/)
  })

  it.each(['token-exchange', 'jwt-bearer'])('a preset of an entry that has not %s mode, by its name there', (mode) => {
    const nextcloud = { url: 'https://c.example.com', mode }
    const refusal = refusalOf(two({ issuer: B, preset: 'nextcloud-oauth2-app' }, { ...CLIENT, nextcloud }))
    expect(refusal).toMatchObject({ code: 'ERR_CONFIGURATION', option: 'issuers[1].preset' })
    expect(refusal?.message).toContain(`issuers[1] (${B}): nextcloud.preset contradicts ${mode} mode`)
  })

  it('an option of the top level, by its own name, beside an entry with a preset', () => {
    const options = two({ issuer: B, preset: 'keycloak' }, { nextcloud: 'https://c.example.com' })
    expect(refusalOf(options)).toEqual(refused('nextcloud', 'must be an object'))
  })

  it('a preset of Nextcloud itself in some entries only', () => {
    const nextcloud = { url: 'https://c.example.com', mode: 'refresh-token' }
    const options = two(
      { issuer: B, preset: 'nextcloud-oauth2-app' },
      { ...CLIENT, nextcloud, connect: { identity: 'sub' } },
    )
    expect(refusalOf(options)).toMatchObject({ option: 'issuers' })
  })

  it.each(['{tenantid}', '{tenantId}', '*', '%7Btenantid%7D'])('an issuer for all tenants: %s', (tenant) => {
    const issuer = `https://login.microsoftonline.com/${tenant}/v2.0`
    for (const options of [two({ issuer }), { ...TOP, issuer }]) {
      const message = refusalOf(options)?.message ?? ''
      expect(message).toContain('is a template, and no token has it: list the tenants, one entry of issuers each')
      expect(message).toContain('the tenant id is on the Overview page of the tenant at entra.microsoft.com')
    }
  })
})

it('a top-level discoveryUrl is of the one entry that has none', () => {
  const discoveryUrl = 'https://inside.example.com/d'
  const [a, b] = ofBoth({
    ...TOP,
    discoveryUrl,
    issuers: [{ issuer: A, discoveryUrl: 'https://a.example.com/d' }, { issuer: B }],
  })
  expect([a.discoveryUrl?.href, b?.discoveryUrl?.href]).toEqual(['https://a.example.com/d', discoveryUrl])
})

it('what there is of an issuer is found by its name, and by any where the only one has none yet', () => {
  const names = (options: object) => perIssuer(readConfig(options, {})).map(({ issuer }) => ({ issuer }))
  const several = names(TWO)
  expect([several.of(A), several.of(B), several.find('https://c.example.com')]).toEqual([
    { issuer: A },
    { issuer: B },
    undefined,
  ])
  expect(() => several.of(`${A}/`)).toThrow(`${A}/ is none of the issuers here`)
  expect(several.map(({ issuer }) => `${issuer}!`).of(B)).toBe(`${B}!`)
  const one = names({ ...TOP, issuer: A })
  expect([one.of(A), one.find(B)]).toEqual([{ issuer: A }, undefined])
  const unnamed = names({ ...TOP, discoveryUrl: `${A}/discovery` })
  expect(unnamed.of('https://c.example.com')).toEqual({ issuer: undefined })
})
