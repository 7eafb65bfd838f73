import { describe, expect, it } from 'vitest'
import { createDiscovery, type Discovery } from '../../src/authorization-server/discovery.js'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import type { McpAuthOptions } from '../../src/options.js'
import { createTransport } from '../../src/transport/transport.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

const ISSUER = 'https://idp.example.com/realms/acme'
const OIDC = `${ISSUER}/.well-known/openid-configuration`
const RFC_8414 = 'https://idp.example.com/.well-known/oauth-authorization-server/realms/acme'
const INTERNAL = 'http://keycloak.internal:8080/realms/acme/.well-known/openid-configuration'
const METADATA = {
  issuer: ISSUER,
  jwks_uri: `${ISSUER}/keys`,
  token_endpoint: `${ISSUER}/token`,
  introspection_endpoint: `${ISSUER}/introspect`,
}

type Answer = Record<string, unknown> | (() => Response)
const notFound = (): Response => Response.json({ error: 'not_found' }, { status: 404 })
const failing = (): Response => Response.json({}, { status: 500 })

interface Asked {
  readonly discovery: Discovery
  readonly clock: ManualClock
  /** The URLs fetched so far. */
  readonly urls: string[]
  /** What is answered at which URL; anywhere else it is 404. */
  readonly answers: Record<string, Answer>
}

/** Discovery on an Internet where only these answers are. */
function discover(options: McpAuthOptions, answers: Record<string, Answer>): Asked {
  const clock = manualClock()
  const urls: string[] = []
  const config = readConfig(
    {
      resource: RESOURCE,
      ...options,
      onEvent: () => undefined,
      http: {
        retries: 0,
        fetch: (url: string) => {
          urls.push(url)
          const answer = answers[url] ?? notFound
          return Promise.resolve(typeof answer === 'function' ? answer() : Response.json(answer))
        },
      },
    },
    {},
  )
  const transport = createTransport(config.http, clock, createEvents(config.onEvent, clock))
  return { discovery: createDiscovery(config, transport, clock), clock, urls, answers }
}

const outage = (retryAfter?: number): object => ({
  status: 503,
  code: 'ERR_UPSTREAM_UNAVAILABLE',
  ...(retryAfter !== undefined && { retryAfter }),
})
const misconfigured = (option: string | undefined): object => ({
  status: 500,
  code: 'ERR_CONFIGURATION',
  option,
})

const refusing = (): Response => Response.json(METADATA, { status: 403 })
const page = (): Response => new Response('<html>', { headers: { 'content-type': 'text/html' } })
const busy = (seconds: number): Response =>
  new Response(null, { status: 503, headers: { 'retry-after': String(seconds) } })
const refusedConnection = (): never => {
  throw Object.assign(new Error(), { code: 'ECONNREFUSED' })
}
const status = (code: number) => (): Response => new Response(null, { status: code })

/** Returns the key set's address of an issuer whose only document is this. */
const jwksUriOf = (options: McpAuthOptions, document: Answer): Promise<string> =>
  discover(options, { [options.discoveryUrl?.toString() ?? wellKnown(options.issuer!)]: document }).discovery.jwksUri()
const wellKnown = (issuer: string): string => `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`

describe('the document', () => {
  it.each<[place: string, options: McpAuthOptions, answers: Record<string, Answer>, asked: string[]]>([
    ['at the OpenID Connect location', { issuer: ISSUER }, { [OIDC]: METADATA, [RFC_8414]: failing }, [OIDC]],
    [
      'at the RFC 8414 location if there is none at the other',
      { issuer: ISSUER },
      { [RFC_8414]: METADATA },
      [OIDC, RFC_8414],
    ],
    [
      'at discoveryUrl, if that is given',
      { issuer: ISSUER, discoveryUrl: INTERNAL },
      { [INTERNAL]: METADATA },
      [INTERNAL],
    ],
  ])('is %s', async (_place, options, answers, asked) => {
    const { discovery, urls } = discover(options, answers)

    expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(urls).toEqual(asked)
  })

  it.each([
    ['https://idp.example.com', 'https://idp.example.com/.well-known/oauth-authorization-server'],
    ['https://idp.example.com/', 'https://idp.example.com/.well-known/oauth-authorization-server'],
    ['https://idp.example.com/a/', 'https://idp.example.com/.well-known/oauth-authorization-server/a'],
  ])('of %s is looked for with no slash too many', async (issuer, second) => {
    const { discovery, urls } = discover({ issuer }, { [second]: { ...METADATA, issuer } })

    expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(urls).toEqual([wellKnown(issuer), second])
  })

  it.each([500, 429, 403, 204])('is not looked for elsewhere when the first place answers %i', async (code) => {
    const { discovery, urls } = discover({ issuer: ISSUER }, { [OIDC]: status(code), [RFC_8414]: METADATA })

    await expect(discovery.jwksUri()).rejects.toMatchObject(outage())
    expect(urls).toEqual([OIDC])
  })

  it('is not looked for elsewhere when it is not at discoveryUrl', async () => {
    const { discovery, urls } = discover({ issuer: ISSUER, discoveryUrl: INTERNAL }, { [OIDC]: METADATA })

    await expect(discovery.jwksUri()).rejects.toMatchObject(outage())
    expect(urls).toEqual([INTERNAL])
  })

  it.each<[name: string, given: McpAuthOptions, answer: Answer, said: string]>([
    // So answers a reverse proxy before a server that is down.
    ['is nowhere', { issuer: ISSUER }, notFound, `${OIDC} and ${RFC_8414} answered 404: check issuer`],
    ['is not at discoveryUrl', { discoveryUrl: OIDC }, notFound, `${OIDC} answered 404: check discoveryUrl`],
    ['is refused', { issuer: ISSUER }, refusing, `${OIDC} answered 403: check issuer`],
    ['is a page', { issuer: ISSUER }, page, `${OIDC} answered with something that is not metadata: check issuer`],
    ['fails', { issuer: ISSUER }, failing, `${OIDC} answers with status 500`],
    ['has a query', { issuer: ISSUER, discoveryUrl: `${OIDC}?key=x` }, failing, `${OIDC} answers with status 500`],
  ])('that %s is an outage, which names the place, the answer and the option', async (_name, given, answer, said) => {
    await expect(jwksUriOf(given, answer)).rejects.toMatchObject({ ...outage(), detail: said })
  })

  it.each<[name: string, answer: Answer]>([
    ['a page', page],
    ['nothing', status(204)],
    ['a list', () => Response.json([METADATA])],
    ['null', () => Response.json(null)],
    ['without an issuer', { ...METADATA, issuer: undefined }],
    ['with an issuer that is not a string', { ...METADATA, issuer: [ISSUER] }],
    ['with an issuer that is not a URL', { ...METADATA, issuer: 'acme' }],
    ['with ways of authentication that are not a list', { ...METADATA, token_endpoint_auth_methods_supported: {} }],
    ['with scopes that are not a list', { ...METADATA, scopes_supported: 1 }],
    ['with kinds of subjects that are not a list', { ...METADATA, subject_types_supported: true }],
    ['refused', refusing],
    ['a redirect', () => new Response(null, { status: 302, headers: { location: RFC_8414 } })],
  ])('that is %s is an outage, whether the issuer is known or not', async (_name, answer) => {
    await expect(jwksUriOf({ issuer: ISSUER }, answer)).rejects.toMatchObject(outage())
    const unknown = discover({ discoveryUrl: OIDC }, { [OIDC]: answer })
    await expect(unknown.discovery.issuer()).rejects.toMatchObject(outage())
  })

  it.each([
    ['https://idp.example.com/realms/acme/index.php/.well-known/openid-configuration'],
    ['http://inside:8080/realms/acme/index.php/.well-known/openid-configuration'],
    ['/realms/acme/index.php/.well-known/openid-configuration'],
  ])("may be where a Nextcloud's web server sends it on, at the issuer's own origin: %s", async (location) => {
    const moved = `${ISSUER}/index.php/.well-known/openid-configuration`
    const redirect = () => new Response(null, { status: 301, headers: { location } })
    const { discovery, urls } = discover({ issuer: ISSUER }, { [OIDC]: redirect, [moved]: METADATA })

    expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(urls).toEqual([OIDC, moved])
  })

  it.each([
    `${ISSUER}/index.php/.well-known/openid-configuration/`,
    `${ISSUER}/index.php/.well-known/other`,
    `${ISSUER}/elsewhere`,
    RFC_8414,
    'https://idp.example.com/index.php/.well-known/openid-configuration',
  ])('is an outage where it is sent on elsewhere, and nothing is asked there: %s', async (location) => {
    const redirect = () => new Response(null, { status: 301, headers: { location } })
    const { discovery, urls } = discover({ issuer: ISSUER }, { [OIDC]: redirect, [location]: METADATA })

    await expect(discovery.jwksUri()).rejects.toMatchObject(outage())
    expect(urls).toEqual([OIDC])
  })

  it('is fetched once for any number of questions at a time', async () => {
    const { discovery, urls } = discover({ issuer: ISSUER }, { [OIDC]: METADATA })

    await Promise.all([discovery.jwksUri(), discovery.forTokenRequests(), discovery.forIntrospection()])
    await discovery.jwksUri()

    expect(urls).toEqual([OIDC])
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
  ])('%s is not %s: it must be the very same string (RFC 8414 §3.3)', async (issuer, other) => {
    const answer = jwksUriOf({ issuer }, { ...METADATA, issuer: other })

    await expect(answer).rejects.toMatchObject(misconfigured('issuer'))
  })

  it('must be the configured one at discoveryUrl as well', async () => {
    const answer = jwksUriOf({ issuer: ISSUER, discoveryUrl: INTERNAL }, { ...METADATA, issuer: `${ISSUER}/` })

    await expect(answer).rejects.toMatchObject(misconfigured('discoveryUrl'))
  })

  it('is known at once if it is configured, else from the document at discoveryUrl', async () => {
    const known = discover({ issuer: ISSUER }, {})
    expect([known.discovery.issuer(), known.urls]).toEqual([ISSUER, []])

    const { discovery, urls } = discover({ discoveryUrl: INTERNAL }, { [INTERNAL]: METADATA })
    expect([await discovery.issuer(), urls]).toEqual([ISSUER, [INTERNAL]])
  })

  it('must not be plain http off loopback in such a document', async () => {
    const issuer = 'http://keycloak.internal:8080/realms/acme'
    const { discovery } = discover({ discoveryUrl: INTERNAL }, { [INTERNAL]: { issuer } })

    await expect(discovery.issuer()).rejects.toMatchObject(misconfigured('issuer'))
  })
})

describe('an endpoint in the document', () => {
  const LOOPBACK = { issuer: 'http://localhost:8080' }
  const HTTPS = { issuer: ISSUER }
  const SPLIT = { issuer: ISSUER, discoveryUrl: INTERNAL }

  it.each(['jwks_uri', 'token_endpoint', 'introspection_endpoint', 'revocation_endpoint', 'authorization_endpoint'])(
    'is refused on plain http, and unusable if it is not a URL: %s',
    async (field) => {
      const plain = jwksUriOf(HTTPS, { ...METADATA, [field]: 'http://idp.example.com/endpoint' })
      await expect(plain).rejects.toMatchObject(misconfigured(undefined))
      await expect(plain).rejects.toThrow(field)
      await expect(jwksUriOf(HTTPS, { ...METADATA, [field]: '/endpoint' })).rejects.toMatchObject(outage())
    },
  )

  it.each<[uri: string, of: string, options: McpAuthOptions]>([
    ['http://127.0.0.1:9000/keys', 'an issuer on loopback', LOOPBACK],
    ['http://localhost/keys', 'an issuer on loopback', LOOPBACK],
    ['http://[::1]/keys', 'an issuer on loopback', LOOPBACK],
    ['http://keycloak.internal:8080/keys', 'a discoveryUrl of that origin', SPLIT],
  ])('may be at %s for %s', async (uri, _of, options) => {
    expect(await jwksUriOf(options, { ...METADATA, issuer: options.issuer, jwks_uri: uri })).toBe(uri)
  })

  it.each<[uri: string, of: string, options: McpAuthOptions]>([
    ['ftp://idp.example.com/keys', 'an issuer on https', HTTPS],
    ['data:application/json,{}', 'an issuer on https', HTTPS],
    ['http://127.0.0.1/keys', 'an issuer on https', HTTPS],
    ['http://localhost/keys', 'an issuer on https', HTTPS],
    ['http://idp.example.com/keys', 'an issuer on loopback', LOOPBACK],
    ['ftp://localhost/keys', 'an issuer on loopback', LOOPBACK],
    ['http://keycloak.internal:8081/keys', 'a discoveryUrl of another origin', SPLIT],
  ])('must not be at %s for %s', async (uri, _of, options) => {
    const answer = jwksUriOf(options, { ...METADATA, issuer: options.issuer, jwks_uri: uri })

    await expect(answer).rejects.toMatchObject(misconfigured(undefined))
  })

  it('that is missing is named, with the option that can stand in for it', async () => {
    const { discovery } = discover(
      { issuer: ISSUER },
      { [OIDC]: { issuer: ISSUER, token_endpoint: `${ISSUER}/token` } },
    )
    const bare = discover({ issuer: ISSUER }, { [OIDC]: { issuer: ISSUER } }).discovery

    await expect(bare.jwksUri()).rejects.toMatchObject(misconfigured('authorizationServer.jwksUri'))
    await expect(bare.forTokenRequests()).rejects.toMatchObject(misconfigured('authorizationServer.tokenEndpoint'))
    await expect(discovery.forAuthorization()).rejects.toMatchObject(
      misconfigured('authorizationServer.authorizationEndpoint'),
    )
    expect([await bare.forIntrospection(), await bare.forRevocation()]).toEqual([undefined, undefined])
  })
})

describe('an override', () => {
  const OVERRIDES = {
    jwksUri: 'https://internal.example.com/keys',
    tokenEndpoint: 'https://internal.example.com/token',
    introspectionEndpoint: 'https://internal.example.com/introspect',
    revocationEndpoint: 'https://internal.example.com/revoke',
    authorizationEndpoint: 'https://internal.example.com/authorize',
  }

  it.each<[name: string, options: McpAuthOptions, asked: string[]]>([
    ['comes without discovery', { issuer: ISSUER }, []],
    ['waits for the document if that tells the issuer', { discoveryUrl: INTERNAL }, [INTERNAL]],
  ])('%s', async (_name, options, asked) => {
    const all = { ...options, authorizationServer: OVERRIDES }
    const { discovery, urls } = discover(all, { [INTERNAL]: METADATA })
    const { tokenEndpoint: token_endpoint } = OVERRIDES

    expect(await discovery.jwksUri()).toBe(OVERRIDES.jwksUri)
    expect(await discovery.forTokenRequests()).toMatchObject({ issuer: ISSUER, token_endpoint })
    expect(await discovery.forIntrospection()).toMatchObject({
      introspection_endpoint: OVERRIDES.introspectionEndpoint,
    })
    expect(await discovery.forRevocation()).toMatchObject({ revocation_endpoint: OVERRIDES.revocationEndpoint })
    const { authorizationEndpoint: authorization_endpoint } = OVERRIDES
    expect(await discovery.forAuthorization()).toMatchObject({ authorization_endpoint, token_endpoint })
    expect(urls).toEqual(asked)
  })

  it('replaces its own field only', async () => {
    const authorizationServer = { jwksUri: OVERRIDES.jwksUri, authorizationEndpoint: OVERRIDES.authorizationEndpoint }
    const { discovery } = discover({ issuer: ISSUER, authorizationServer }, { [OIDC]: METADATA })
    const { token_endpoint, introspection_endpoint } = METADATA

    expect(await discovery.forTokenRequests()).toMatchObject({ jwks_uri: OVERRIDES.jwksUri, token_endpoint })
    expect(await discovery.forIntrospection()).toMatchObject({ introspection_endpoint })
    expect(await discovery.forAuthorization()).toMatchObject({ token_endpoint })
  })

  it('makes good what the document says there, and nothing else', async () => {
    const wrong = {
      issuer: ISSUER,
      jwks_uri: 'x',
      token_endpoint: 'http://a.internal',
      introspection_endpoint: 'ftp://a',
    }
    const asked = discover({ discoveryUrl: OIDC, authorizationServer: OVERRIDES }, { [OIDC]: wrong })
    expect(await asked.discovery.forTokenRequests()).toMatchObject({ token_endpoint: OVERRIDES.tokenEndpoint })

    const { jwksUri } = OVERRIDES
    const partly = discover({ issuer: ISSUER, authorizationServer: { jwksUri } }, { [OIDC]: wrong })
    await expect(partly.discovery.forTokenRequests()).rejects.toMatchObject(misconfigured(undefined))
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

  it('the document is fetched again in the background, once, while the old one serves', async () => {
    const { discovery, clock, urls, answers } = await knownForAnHour()
    answers[OIDC] = moved
    expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
    expect(urls).toHaveLength(1)

    clock.advance(1)
    const both = await Promise.all([discovery.jwksUri(), discovery.jwksUri()])
    expect(both).toEqual([METADATA.jwks_uri, METADATA.jwks_uri])
    await inTheBackground()
    expect(await discovery.jwksUri()).toBe(moved.jwks_uri)
    expect(urls).toEqual([OIDC, OIDC])
  })

  it.each<[name: string, answer: Answer]>([
    ['is unavailable', failing],
    ['names another issuer', { ...METADATA, issuer: 'https://other.example.com' }],
  ])(
    'the old one serves on when the server %s, which is asked again only after the cool-down',
    async (_name, answer) => {
      const { discovery, clock, urls, answers } = await knownForAnHour()
      answers[OIDC] = answer
      clock.advance(24 * HOUR)
      for (const [passed, fetches] of [
        [0, 2],
        [999, 2],
        [1, 3],
      ] as const) {
        clock.advance(passed)
        for (let count = 0; count < 3; count += 1) {
          expect(await discovery.jwksUri()).toBe(METADATA.jwks_uri)
          await inTheBackground()
        }
        expect(urls).toHaveLength(fetches)
      }
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

it.each<[name: string, answer: () => Response, stated: number | undefined, unprocessed: boolean]>([
  ['a refused connection', refusedConnection, undefined, true],
  ['a server that is busy for an hour', () => busy(3_600), 3_600, true],
  ['a server that fails', failing, undefined, false],
])(
  'after %s the cool-down tells what happened, and states no Retry-After of its own',
  async (_name, answer, ...told) => {
    const { discovery } = discover({ issuer: ISSUER }, { [OIDC]: answer })
    const [statedRetryAfter, unprocessed] = told
    const retryAfter = Math.min(statedRetryAfter ?? 1, 60)

    for (const asked of [discovery.jwksUri(), discovery.jwksUri().catch(() => discovery.forTokenRequests())])
      await expect(asked).rejects.toMatchObject({ statedRetryAfter, unprocessed, retryAfter })
  },
)

it('the issuer of the document at discoveryUrl is the one that tokens must be from', async () => {
  const { as, open } = await world({ mode: 'none' })
  as.script('/internal', { json: as.metadata })
  const auth = open({ issuer: undefined!, discoveryUrl: `${as.issuer}/internal` })

  expect((await auth.verify(await as.mint())).issuer).toBe(as.issuer)
  await expect(auth.verify(await as.mint({ iss: `${as.issuer}/` }))).rejects.toMatchObject({ reason: 'issuer' })
})
