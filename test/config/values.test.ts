import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import { isSecure, nearName } from '../../src/config/values.js'
import { CLIENT, LEAST, refusalOf, refused, withOption } from '../support/refusal.js'

const shown = (value: unknown) => (typeof value === 'function' ? 'a function' : JSON.stringify(value))

/** Options × wrong values. */
const table = (options: readonly string[], values: readonly unknown[]) =>
  options.flatMap((option) => values.map((value): [string, string, unknown] => [option, shown(value), value]))

const noString = [5, true, null, [], {}, new URL('https://h'), '']
const noFunction = ['text', 5, true, null, {}]
const noObject = ['text', 5, true, null, [], new URL('https://h'), () => ({})]
const noScopes = ['notes', 5, null, {}, [''], ['a b'], ['a"'], ['a\\'], ['ä'], ['a\n'], [5], ['a', null]]
const noStrings = [5, true, null, {}, [], '', [''], ['a', ''], ['a', 5], [null]]

describe('is refused for its type', () => {
  it.each(table(['clientId', 'resourceName'], noString))('%s: %s', (option, _shown, value) => {
    expect(refusalOf(withOption(option, value, LEAST))).toEqual(refused(option, 'must be a string that is not empty'))
  })

  it.each(table(['issuer', 'resource', 'clientSecret'], noString))('%s: %s', (option, _shown, value) => {
    expect(refusalOf(withOption(option, value))).toEqual(refused(option, 'must be a string that is not empty'))
  })

  it.each(table(['clientAuth', 'scopeSatisfies', 'validateClaims', 'onEvent', 'onError', 'http.fetch'], noFunction))(
    '%s: %s',
    (option, _shown, value) => {
      expect(refusalOf(withOption(option, value, { ...LEAST, clientId: 'c' }))).toEqual(
        refused(option, 'must be a function'),
      )
    },
  )

  it.each(table(['authorizationServer', 'nextcloud', 'cache', 'http'], noObject))('%s: %s', (option, _shown, value) => {
    expect(refusalOf(withOption(option, value))).toEqual(refused(option, 'must be an object'))
  })

  it.each(table(['requiredScopes', 'scopesSupported', 'nextcloud.scopes'], noScopes))(
    '%s: %s',
    (option, _shown, value) => {
      expect(refusalOf(withOption(option, value))).toEqual(
        refused(option, 'must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3)'),
      )
    },
  )

  it.each(table(['audience', 'allowedClients', 'algorithms', 'nextcloud.audience', 'nextcloud.resource'], noStrings))(
    '%s: %s',
    (option, _shown, value) => {
      expect(refusalOf(withOption(option, value))).toEqual(
        refused(option, 'must be a list of strings, with no empty list and no empty string'),
      )
    },
  )

  it.each(table(['rootMetadata'], ['false', 'true', 0, null, []]))('%s: %s', (option, _shown, value) => {
    expect(refusalOf(withOption(option, value))).toEqual(refused(option, 'must be true or false'))
  })

  it.each(table(['introspection'], [true, 'never', '', null, 0, []]))('%s: %s', (option, _shown, value) => {
    expect(refusalOf(withOption(option, value))).toEqual(refused(option, "must be 'opaque-only', 'always' or false"))
  })

  it.each(table(['http.agent'], ['http://proxy', 5, true]))('%s: %s', (option, _shown, value) => {
    expect(refusalOf(withOption(option, value))).toEqual(
      refused(option, 'must be an http.Agent or a function that returns one'),
    )
  })
})

describe('a number', () => {
  const numbers: [option: string, unit: string, least: number, most: number][] = [
    ['cache.nextcloudTokens', 'whole number of entries', 0, 10_000_000],
    ['cache.verifiedTokens', 'whole number of entries', 0, 10_000_000],
    ['http.timeout', 'whole number of milliseconds', 1, 2_147_483_647],
    ['http.maxResponseBytes', 'whole number of bytes', 1, 2_147_483_647],
    ['http.retries', 'whole number of attempts', 0, 10],
    ['nextcloud.timeout', 'whole number of milliseconds', 1, 2_147_483_647],
    ['clockTolerance', 'number of seconds', 0, 600],
    ['cache.renewBefore', 'number of seconds', 0, 2_147_483_647],
    ['cache.verifiedTtl', 'number of seconds', 0, 2_147_483_647],
    ['cache.staleKeys', 'number of seconds', 0, 2_147_483_647],
  ]

  it.each(numbers)('%s is a %s from %d to %d', (option, unit, least, most) => {
    const refusal = refused(option, `must be a ${unit} from ${least} to ${most}`)
    const wrong = [least - 1, most + 1, NaN, Infinity, -Infinity, '5', null, true, [], {}, 5n]

    expect(wrong.map((value) => refusalOf(withOption(option, value)))).toEqual(wrong.map(() => refusal))
    expect([least, most].map((value) => refusalOf(withOption(option, value)))).toEqual([undefined, undefined])
    expect(refusalOf(withOption(option, 1.5))).toEqual(unit.startsWith('whole') ? refusal : undefined)
  })
})

describe('a URL', () => {
  const urls = [
    'issuer',
    'discoveryUrl',
    'resource',
    'resourceDocumentation',
    'authorizationServer.jwksUri',
    'authorizationServer.tokenEndpoint',
    'authorizationServer.introspectionEndpoint',
    'nextcloud.url',
  ]
  const wrong: [text: string, reason: string][] = [
    ['idp.example.com', 'must be an absolute URL'],
    ['/path', 'must be an absolute URL'],
    ['//idp.example.com', 'must be an absolute URL'],
    ['https://', 'must be an absolute URL'],
    ['https://h:port', 'must be an absolute URL'],
    ['ftp://h', 'must be an http or https URL'],
    ['mailto:a@b', 'must be an http or https URL'],
    ['file:///etc/passwd', 'must be an http or https URL'],
    ['javascript:alert(1)', 'must be an http or https URL'],
    ['https://user@h', 'must not hold a user name or password'],
    ['https://user:hunter2@h', 'must not hold a user name or password'],
    ['https://:hunter2@h', 'must not hold a user name or password'],
    ['https://h/#part', 'must not have a fragment'],
    ['https://h/#', 'must not have a fragment'],
  ]

  it.each(urls.flatMap((option) => wrong.map(([text, reason]) => ({ option, text, reason }))))(
    '$option is refused: $text',
    ({ option, text, reason }) => {
      expect(refusalOf(withOption(option, text))).toEqual(refused(option, reason))
    },
  )

  it.each(
    urls
      .slice(1)
      .flatMap((option) => (option === 'resource' ? [] : [5, null, {}, true, '']).map((value) => ({ option, value }))),
  )('$option is refused when it is no text and no URL: $value', ({ option, value }) => {
    expect(refusalOf(withOption(option, value))).toEqual(refused(option, 'must be an absolute URL'))
  })

  it('may be given as an object, where it is not published to the letter', () => {
    const objects = urls.filter((option) => !['issuer', 'resource'].includes(option))
    const url = new URL('https://h/path')

    expect(objects.map((option) => refusalOf(withOption(option, url)))).toEqual(objects.map(() => undefined))
  })
})

describe('the issuer', () => {
  it.each(['https://idp.example.com?tenant=a', 'https://idp.example.com/realm?a'])('has no query: %s', (issuer) => {
    expect(refusalOf({ ...LEAST, issuer })).toEqual(refused('issuer', 'must not have a query (RFC 8414 section 2)'))
  })

  it.each([
    'http://idp.example.com',
    'http://10.0.0.1',
    'http://0.0.0.0',
    'http://[::]',
    'http://localhost.example.com',
    'http://127.0.0.1.example.com',
    'http://128.0.0.1',
    'http://keycloak:8080/realms/acme',
  ])('is not %s, plain http off loopback', (issuer) => {
    expect(refusalOf({ ...LEAST, issuer })).toEqual(
      refused(
        'issuer',
        'must be https, or http on loopback (RFC 8414 section 2); discoveryUrl may be an internal address',
      ),
    )
  })

  it.each(['http://localhost:8080/realms/acme', 'http://127.0.0.1:8080', 'http://127.1.2.3', 'http://[::1]:8080'])(
    'may be %s, on loopback, without a warning',
    (issuer) => {
      expect(readConfig({ ...LEAST, issuer }, {})).toMatchObject({ issuer, warnings: [] })
    },
  )

  it.each(['https://idp.example.com', 'https://idp.example.com/', 'https://IDP.example.com:443/Realm'])(
    'is kept to the letter: %s',
    (issuer) => {
      expect(readConfig({ ...LEAST, issuer }, {}).issuer).toBe(issuer)
    },
  )
})

describe('the resource', () => {
  it.each([
    ' https://mcp.example.com',
    'https://mcp.example.com ',
    'https://mcp.example.com/a b',
    'https://mcp.example.com/m\ncp',
    'https://mcp.example.com/mcp\n',
    '\thttps://mcp.example.com',
    'https:mcp.example.com',
    'https:/mcp.example.com',
    'https:\\\\mcp.example.com',
    'https://mcp.example.com\\mcp',
    'https://mcp.example.com/?a=\\b',
  ])('is written as a URL is, since it is published to the letter: not %j', (resource) => {
    expect(refusalOf({ ...LEAST, resource })).toEqual(
      refused('resource', 'must be an absolute URL, written without spaces'),
    )
  })
})

describe('the algorithms', () => {
  const accepted =
    'RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, Ed25519, EdDSA, ML-DSA-44, ML-DSA-65, ML-DSA-87'

  it.each(['none', 'None', 'HS256', 'HS384', 'HS512', 'RS1', 'ES256K', 'rs256', 'A256GCM', '*'])(
    'never hold %s, alone or among good ones',
    (algorithm) => {
      const refusal = refused('algorithms', `must list asymmetric JWS algorithms only (${accepted}), not ${algorithm}`)

      expect(refusalOf({ ...LEAST, algorithms: [algorithm] })).toEqual(refusal)
      expect(refusalOf({ ...LEAST, algorithms: ['RS256', algorithm] })).toEqual(refusal)
    },
  )
})

describe('plain http off loopback', () => {
  const options = [
    'discoveryUrl',
    'resource',
    'authorizationServer.jwksUri',
    'authorizationServer.tokenEndpoint',
    'authorizationServer.introspectionEndpoint',
    'nextcloud.url',
  ]

  it.each(options)('is taken with a warning: %s', (option) => {
    expect(readConfig(withOption(option, 'http://service:8080/x'), {}).warnings).toEqual([
      [option, `${option} is plain http off loopback: tokens can be read and keys replaced on the way`],
    ])
  })

  it.each(options)('is no matter on loopback, nor https anywhere: %s', (option) => {
    const { warnings } = readConfig(withOption(option, 'http://localhost:8080/x'), {})

    expect([...warnings, ...readConfig(withOption(option, 'https://service/x'), {}).warnings]).toEqual([])
  })
})

it('only http is harmless on loopback', () => {
  expect(
    ['http://localhost', 'https://h', 'ftp://localhost', 'ws://127.0.0.1'].map((url) => isSecure(new URL(url))),
  ).toEqual([true, true, false, false])
})

it('no refusal repeats a secret', () => {
  const wrong = [
    { issuer: 'https://user:hunter2@idp.example.com' },
    { clientSecret: ['hunter2'] },
    { clientSecret: 'hunter2', clientId: undefined },
    { nextcloud: { url: 'https://cloud.example.com', parameters: { client_secret: 'hunter2' } } },
    { http: { agent: 'http://user:hunter2@proxy' } },
  ]

  for (const options of wrong) {
    const refusal = refusalOf({ ...LEAST, ...CLIENT, ...options })
    expect(refusal?.code).toBe('ERR_CONFIGURATION')
    expect(refusal?.message).not.toContain('hunter2')
  }
})

const OPTION_NAMES = ['audience', 'issuer', 'jwksUri', 'clientId', 'clientSecret', 'clientAuth', 'scopes', 'path']

describe('the name that was meant', () => {
  it.each([
    ['audince', 'audience'],
    ['audiences', 'audience'],
    ['adience', 'audience'],
    ['audiance', 'audience'],
    ['uadience', 'audience'],
    ['Issuer', 'issuer'],
    ['jwks_uri', 'jwksUri'],
    ['clientID', 'clientId'],
    ['client-secret', 'clientSecret'],
    ['scope', 'scopes'],
    ['paths', 'path'],
  ])('by %s is %s', (given, meant) => {
    expect(nearName(given, OPTION_NAMES)).toBe(meant)
  })

  it('is the nearest, wherever it stands, and of several the first', () => {
    expect(nearName('clientIds', ['clientAdd', 'clientId', 'clientOdd'])).toBe('clientId')
    expect(nearName('clientIds', ['clientId', 'clientAdd'])).toBe('clientId')
    expect(nearName('clientIds', ['clientIda', 'clientIdb'])).toBe('clientIda')
  })

  it.each(['resource', 'toString', '__proto__', '', 'id', 'pa', 'th', 'scoring', 'issuerUrlOfKeys'])(
    'is none where it could be any: %j',
    (given) => {
      expect(nearName(given, OPTION_NAMES)).toBeUndefined()
    },
  )

  it('is not looked for behind what is too long for an option', () => {
    const long = 'o'.repeat(41)
    expect(nearName(long, [long])).toBeUndefined()
    expect(nearName(long.slice(1), [long.slice(1)])).toBe(long.slice(1))
  })
})
