import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/options.js'
import {
  discover,
  failing,
  INTERNAL,
  ISSUER,
  METADATA,
  misconfigured,
  notFound,
  OIDC,
  outage,
  RFC_8414,
  type Answer,
  type Asked,
} from '../support/discovery-setup.js'
import { startTestBed, type TestBed } from '../support/test-bed.js'

const refusing = (): Response => Response.json(METADATA, { status: 403 })
const page = (): Response => new Response('<html>', { headers: { 'content-type': 'text/html' } })

describe('the document', () => {
  it('is at the OpenID Connect location', async () => {
    const { discovery, urls } = discover({ issuer: ISSUER }, { [OIDC]: METADATA })

    expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(urls).toEqual([OIDC])
  })

  it('is at the RFC 8414 location where there is none at the other', async () => {
    const { discovery, urls } = discover({ issuer: ISSUER }, { [RFC_8414]: METADATA })

    expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(urls).toEqual([OIDC, RFC_8414])
  })

  it.each([
    ['https://idp.example.com', 'https://idp.example.com/.well-known/oauth-authorization-server'],
    ['https://idp.example.com/', 'https://idp.example.com/.well-known/oauth-authorization-server'],
    ['https://idp.example.com/a/', 'https://idp.example.com/.well-known/oauth-authorization-server/a'],
  ])('of %s is looked for with no slash too many', async (issuer, second) => {
    const { discovery, urls } = discover({ issuer }, { [second]: { ...METADATA, issuer } })

    expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(urls).toEqual([`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, second])
  })

  it.each([500, 429, 403, 204])('is not looked for elsewhere when the first place answers %i', async (status) => {
    const answer = (): Response => new Response(null, { status })
    const { discovery, urls } = discover({ issuer: ISSUER }, { [OIDC]: answer, [RFC_8414]: METADATA })

    await expect(discovery.jwksUri()).rejects.toMatchObject(outage())
    expect(urls).toEqual([OIDC])
  })

  it('that is nowhere is an outage: so answers a reverse proxy before a server that is down', async () => {
    const { discovery, urls } = discover({ issuer: ISSUER }, {})

    await expect(discovery.jwksUri()).rejects.toMatchObject({ ...outage(), httpStatus: 404 })
    expect(urls).toEqual([OIDC, RFC_8414])
  })

  it.each<[name: string, given: McpAuthOptions, answer: Answer, said: string]>([
    ['is nowhere', { issuer: ISSUER }, notFound, `${OIDC} and ${RFC_8414} answered 404: check issuer`],
    ['is not at discoveryUrl', { discoveryUrl: OIDC }, notFound, `${OIDC} answered 404: check discoveryUrl`],
    ['is refused', { issuer: ISSUER }, refusing, `${OIDC} answered 403: check issuer`],
    ['is a page', { issuer: ISSUER }, page, `${OIDC} answered with something that is not metadata: check issuer`],
    ['fails', { issuer: ISSUER }, failing, `${OIDC} answers with status 500`],
    ['has a query', { issuer: ISSUER, discoveryUrl: `${OIDC}?key=x` }, failing, `${OIDC} answers with status 500`],
  ])(
    'that %s is named in the error, with what was answered and the option to check',
    async (_name, given, answer, said) => {
      const { discovery } = discover(given, { [given.discoveryUrl?.toString() ?? OIDC]: answer })

      await expect(discovery.jwksUri()).rejects.toMatchObject({ ...outage(), message: said })
    },
  )

  it('is at discoveryUrl and nowhere else, when that is given', async () => {
    const { discovery, urls } = discover({ issuer: ISSUER, discoveryUrl: `${INTERNAL}?v=1` }, { [OIDC]: METADATA })

    await expect(discovery.jwksUri()).rejects.toMatchObject(outage())
    expect(urls).toEqual([`${INTERNAL}?v=1`])
  })

  it('is fetched once for any number of questions at a time', async () => {
    const { discovery, urls } = discover({ issuer: ISSUER }, { [OIDC]: METADATA })

    await Promise.all([discovery.jwksUri(), discovery.forTokenRequests(), discovery.forIntrospection()])
    await discovery.jwksUri()

    expect(urls).toEqual([OIDC])
  })

  it('is not needed to know an issuer that is configured', () => {
    const { discovery, urls } = discover({ issuer: ISSUER }, {})

    expect(discovery.issuer()).toBe(ISSUER)
    expect(urls).toEqual([])
  })

  it.each<[name: string, answer: Answer]>([
    ['a page', page],
    ['nothing', () => new Response(null, { status: 204 })],
    ['a list', () => Response.json([METADATA])],
    ['null', () => Response.json(null)],
    ['without an issuer', { ...METADATA, issuer: undefined }],
    ['with an issuer that is no string', { ...METADATA, issuer: [ISSUER] }],
    ['with an issuer that is no URL', { ...METADATA, issuer: 'acme' }],
    ['refused', refusing],
    ['a redirect', () => new Response(null, { status: 302, headers: { location: RFC_8414 } })],
  ])('that is %s is an outage', async (_name, answer) => {
    const known = discover({ issuer: ISSUER }, { [OIDC]: answer })
    await expect(known.discovery.jwksUri()).rejects.toMatchObject(outage())

    const unknown = discover({ discoveryUrl: OIDC }, { [OIDC]: answer })
    await expect(unknown.discovery.issuer()).rejects.toMatchObject(outage())
  })
})

describe('the issuer', () => {
  it.each([
    ['https://idp.example.com', 'https://idp.example.com/'],
    ['https://idp.example.com/', 'https://idp.example.com'],
    ['https://idp.example.com', 'https://IDP.example.com'],
    ['https://idp.example.com', 'https://idp.example.com:443'],
    ['https://idp.example.com', 'https://idp.example.com/realms/acme'],
    ['https://idp.example.com', 'https://other.example.com'],
  ])('%s is not %s: it has to be the very same string (RFC 8414 §3.3)', async (issuer, other) => {
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
    const { discovery } = discover({ issuer }, { [url]: { ...METADATA, issuer: other } })

    await expect(discovery.jwksUri()).rejects.toMatchObject(misconfigured('issuer'))
  })

  it('has to be the configured one at discoveryUrl as well', async () => {
    const options = { issuer: ISSUER, discoveryUrl: INTERNAL }
    const wrong = discover(options, { [INTERNAL]: { ...METADATA, issuer: `${ISSUER}/` } })
    await expect(wrong.discovery.jwksUri()).rejects.toMatchObject(misconfigured('discoveryUrl'))

    const right = discover(options, { [INTERNAL]: METADATA })
    expect(await right.discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(right.urls).toEqual([INTERNAL])
  })

  it('is what the document at discoveryUrl says, when none is configured', async () => {
    const { discovery, urls } = discover({ discoveryUrl: INTERNAL }, { [INTERNAL]: METADATA })

    expect(await discovery.issuer()).toBe(ISSUER)
    expect(urls).toEqual([INTERNAL])
  })

  it('must not be plain http off loopback in such a document', async () => {
    const issuer = 'http://keycloak.internal:8080/realms/acme'
    const { discovery } = discover({ discoveryUrl: INTERNAL }, { [INTERNAL]: { issuer } })

    await expect(discovery.issuer()).rejects.toMatchObject(misconfigured('issuer'))
  })
})

describe('an endpoint in the document', () => {
  const ENDPOINTS = ['jwks_uri', 'token_endpoint', 'introspection_endpoint']

  it.each(ENDPOINTS)('is refused on plain http: %s', async (field) => {
    const document = { ...METADATA, [field]: 'http://idp.example.com/endpoint' }
    const { discovery } = discover({ issuer: ISSUER }, { [OIDC]: document })

    await expect(discovery.jwksUri()).rejects.toMatchObject(misconfigured(undefined))
    await expect(discovery.jwksUri()).rejects.toThrow(field)
  })

  it.each(ENDPOINTS)('that is no URL makes the document useless, 503: %s', async (field) => {
    const { discovery } = discover({ issuer: ISSUER }, { [OIDC]: { ...METADATA, [field]: '/endpoint' } })

    await expect(discovery.jwksUri()).rejects.toMatchObject(outage())
  })

  it.each(['ftp://idp.example.com/keys', 'data:application/json,{}', 'http://127.0.0.1/keys', 'http://localhost/keys'])(
    'of an issuer on https is on https as well, not at %s',
    async (uri) => {
      const { discovery } = discover({ issuer: ISSUER }, { [OIDC]: { ...METADATA, jwks_uri: uri } })

      await expect(discovery.jwksUri()).rejects.toMatchObject(misconfigured(undefined))
    },
  )

  it('of an issuer on loopback may be on plain http there, and nowhere else', async () => {
    const issuer = 'http://localhost:8080'
    const jwksUriOf = (uri: string): Promise<string> => {
      const answers = { [`${issuer}/.well-known/openid-configuration`]: { issuer, jwks_uri: uri } }
      return discover({ issuer }, answers).discovery.jwksUri()
    }

    for (const uri of ['http://127.0.0.1:9000/keys', 'http://localhost/keys', 'http://[::1]/keys']) {
      expect(await jwksUriOf(uri)).toBe(uri)
    }
    await expect(jwksUriOf('http://idp.example.com/keys')).rejects.toMatchObject(misconfigured(undefined))
    await expect(jwksUriOf('ftp://localhost/keys')).rejects.toMatchObject(misconfigured(undefined))
  })

  it('may be on plain http at the origin that the operator gave for discovery, and at no other', async () => {
    const documentWith = (uri: string): Record<string, Answer> => ({ [INTERNAL]: { ...METADATA, jwks_uri: uri } })
    const options = { issuer: ISSUER, discoveryUrl: INTERNAL }
    const same = discover(options, documentWith('http://keycloak.internal:8080/keys'))
    expect(await same.discovery.jwksUri()).toBe('http://keycloak.internal:8080/keys')

    const other = discover(options, documentWith('http://keycloak.internal:8081/keys'))
    await expect(other.discovery.jwksUri()).rejects.toMatchObject(misconfigured(undefined))
  })

  it('that is missing is named, with the option that can stand in for it', async () => {
    const { discovery } = discover({ issuer: ISSUER }, { [OIDC]: { issuer: ISSUER } })

    await expect(discovery.jwksUri()).rejects.toMatchObject(misconfigured('authorizationServer.jwksUri'))
    await expect(discovery.forTokenRequests()).rejects.toMatchObject(misconfigured('authorizationServer.tokenEndpoint'))
    expect(await discovery.forIntrospection()).toBeUndefined()
  })
})

describe('an override', () => {
  const overrides = {
    jwksUri: 'https://internal.example.com/keys',
    tokenEndpoint: 'https://internal.example.com/token',
    introspectionEndpoint: 'https://internal.example.com/introspect',
  }

  it('comes without discovery', async () => {
    const { discovery, urls } = discover({ issuer: ISSUER, authorizationServer: overrides }, {})

    expect(await discovery.jwksUri()).toBe(overrides.jwksUri)
    expect(await discovery.forTokenRequests()).toMatchObject({
      issuer: ISSUER,
      token_endpoint: overrides.tokenEndpoint,
    })
    expect(await discovery.forIntrospection()).toMatchObject({
      issuer: ISSUER,
      introspection_endpoint: overrides.introspectionEndpoint,
    })
    expect(urls).toEqual([])
  })

  it('replaces its own field only', async () => {
    const authorizationServer = { jwksUri: overrides.jwksUri }
    const { discovery } = discover({ issuer: ISSUER, authorizationServer }, { [OIDC]: METADATA })

    expect(await discovery.forTokenRequests()).toMatchObject({
      jwks_uri: overrides.jwksUri,
      token_endpoint: METADATA.token_endpoint,
    })
    expect(await discovery.forIntrospection()).toMatchObject({
      introspection_endpoint: METADATA.introspection_endpoint,
    })
  })

  it('makes good what the document says there', async () => {
    const wrong = {
      issuer: ISSUER,
      jwks_uri: 'x',
      token_endpoint: 'http://a.internal',
      introspection_endpoint: 'ftp://a',
    }
    const asked = discover({ discoveryUrl: OIDC, authorizationServer: overrides }, { [OIDC]: wrong })
    expect(await asked.discovery.forTokenRequests()).toMatchObject({ token_endpoint: overrides.tokenEndpoint })

    const { jwksUri } = overrides
    const partly = discover({ issuer: ISSUER, authorizationServer: { jwksUri } }, { [OIDC]: wrong })
    await expect(partly.discovery.forTokenRequests()).rejects.toMatchObject(misconfigured(undefined))
  })

  it('waits for the document where that tells the issuer', async () => {
    const options = { discoveryUrl: INTERNAL, authorizationServer: overrides }
    const { discovery, urls } = discover(options, { [INTERNAL]: METADATA })

    expect(await discovery.forTokenRequests()).toMatchObject({
      issuer: ISSUER,
      token_endpoint: overrides.tokenEndpoint,
    })
    expect(await discovery.forIntrospection()).toMatchObject({
      issuer: ISSUER,
      introspection_endpoint: overrides.introspectionEndpoint,
    })
    expect(urls).toEqual([INTERNAL])
  })
})

/** Lets what has been started, and waits for nothing outside, come to its end. */
async function inTheBackground(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate)
}

describe('after an hour', () => {
  const HOUR = 3_600_000
  const moved = { ...METADATA, jwks_uri: 'https://idp.example.com/moved' }

  async function knownForAnHour(): Promise<Asked> {
    const asked = discover({ issuer: ISSUER }, { [OIDC]: METADATA })
    await asked.discovery.jwksUri()
    asked.clock.advance(HOUR)
    return asked
  }

  it('the document is fetched anew in the background, once, while the old one serves', async () => {
    const { discovery, clock, urls, answers } = await knownForAnHour()
    answers[OIDC] = moved
    expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(urls).toHaveLength(1)

    clock.advance(1)
    expect(await Promise.all([discovery.jwksUri(), discovery.jwksUri()])).toEqual([
      METADATA.jwks_uri,
      METADATA.jwks_uri,
    ])
    await inTheBackground()
    expect(await discovery.jwksUri()).toBe(moved.jwks_uri)
    expect(urls).toEqual([OIDC, OIDC])
  })

  it.each<[name: string, answer: Answer]>([
    ['is away', failing],
    ['names another issuer', { ...METADATA, issuer: 'https://other.example.com' }],
  ])(
    'the old one serves on when the server %s, and it is asked again only after the cool-down',
    async (_name, answer) => {
      const { discovery, clock, urls, answers } = await knownForAnHour()
      answers[OIDC] = answer
      clock.advance(24 * HOUR)
      const fetches = async (): Promise<number> => {
        for (let count = 0; count < 3; count += 1) {
          expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
          await inTheBackground()
        }
        return urls.length
      }

      expect(await fetches()).toBe(2)
      clock.advance(999)
      expect(await fetches()).toBe(2)
      clock.advance(1)
      expect(await fetches()).toBe(3)
    },
  )
})

it('a failure cools down, and nothing is asked meanwhile', async () => {
  const { discovery, clock, urls } = discover({ issuer: ISSUER }, { [OIDC]: failing })
  for (const seconds of [1, 2, 4]) {
    await expect(discovery.jwksUri()).rejects.toMatchObject(outage(seconds))
    await expect(discovery.forTokenRequests()).rejects.toMatchObject(outage(seconds))
    clock.advance(seconds * 1_000)
  }
  expect(urls).toHaveLength(3)
})

describe('through the middleware', () => {
  let bed: TestBed
  beforeEach(async () => {
    bed = await startTestBed()
  })
  afterEach(() => bed.close())

  it('tokens are verified with a key set that is not discovered', async () => {
    const { as, open } = bed
    const auth = open({ authorizationServer: { jwksUri: `${as.issuer}/jwks` } })

    expect((await auth.verify(await as.mint())).issuer).toBe(as.issuer)
    expect(as.received().map(({ path }) => path)).toEqual(['/jwks'])
  })

  it('ready() rejects with the place that was looked at, and the client is told none of it', async () => {
    const { as, open } = bed
    const issuer = `${as.issuer}/realms/wrong`

    await expect(open({ issuer }).ready()).rejects.toMatchObject({
      ...outage(),
      message: expect.stringMatching(
        `^${issuer}/.well-known/openid-configuration and .* answered 404: check issuer$`,
      ) as string,
      body: {
        error: 'temporarily_unavailable',
        error_description: 'The authorization server is not available',
      },
    })
  })

  it('a token of another issuer than the one in the document is refused with 500, for the operator to mend', async () => {
    const { as, open } = bed
    as.metadata['issuer'] = `${as.issuer}/`

    await expect(open().verify(await as.mint())).rejects.toMatchObject({
      ...misconfigured('issuer'),
      body: { error: 'server_error', error_description: 'The server is not configured correctly' },
      headers: { 'Cache-Control': 'no-store' },
    })
  })

  it('the issuer of the document at discoveryUrl is the one that tokens have to be from', async () => {
    const { as, open } = bed
    as.script('/internal', { json: as.metadata })
    const auth = open({ issuer: undefined!, discoveryUrl: `${as.issuer}/internal` })

    expect((await auth.verify(await as.mint())).issuer).toBe(as.issuer)
    await expect(auth.verify(await as.mint({ iss: `${as.issuer}/` }))).rejects.toMatchObject({ reason: 'issuer' })
  })
})
