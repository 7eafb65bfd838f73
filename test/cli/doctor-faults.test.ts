import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { CHECK_IDS } from '../../src/cli/doctor/checks.js'
import type { ConnectHandler } from '../../src/http/router.js'
import {
  answerJson,
  METADATA_PATH,
  NOTES_SETTINGS,
  OAUTH_WELL_KNOWN,
  OCS_USER,
  setUpDoctor,
  STATUS,
  STATUS_PHP,
  WELL_KNOWN,
  type DoctorSetup,
} from '../support/doctor-setup.js'
import { signingKey } from '../support/scripted-authorization-server.js'

interface Fault {
  readonly name: string
  readonly plant: (setup: DoctorSetup) => unknown
  /** The check that has to find it, and the only one that may fail. */
  readonly id: string
  readonly found: RegExp
  /** What has to be changed. */
  readonly fix: RegExp
}

const FIVE_MINUTES = 300_000
const html = { status: 200, headers: { 'content-type': 'text/html' }, text: '<!doctype html><title>Sign in</title>' }
const unauthorized = answerJson({ message: 'Current user is not logged in' }, 401)
const seconds = () => Math.floor(Date.now() / 1_000)

/** The document as it would be, with some of it replaced. */
function document(setup: DoctorSetup, changes: object): ConnectHandler {
  const whole = { resource: setup.resource, authorization_servers: [setup.as.issuer], ...changes }
  return at(METADATA_PATH, (_req, res) => {
    res.writeHead(200, { 'content-type': 'application/json', 'access-control-allow-origin': '*' })
    res.end(JSON.stringify(whole))
  })
}

/** A proxy that answers for one path by itself. */
function at(path: string, answer: (req: IncomingMessage, res: ServerResponse) => unknown): ConnectHandler {
  return (req, res, next) => {
    if (req.url === path) answer(req, res)
    else next()
  }
}

const FAULTS: readonly Fault[] = [
  {
    name: 'an issuer that is written with a slash too many',
    plant: ({ options, as }) => (options['issuer'] = `${as.issuer}/`),
    id: 'discovery.issuer',
    found: /differ by a slash/,
    fix: /set the issuer to http:\/\/127\.0\.0\.1:\d+, to the letter, by --issuer, OIDC_ISSUER/,
  },
  {
    name: 'a document of another realm',
    plant: ({ as }) => (as.metadata['issuer'] = `${as.issuer}/realms/other`),
    id: 'discovery.issuer',
    found: /another realm, tenant or path/,
    fix: /--issuer/,
  },
  {
    name: 'a provider that calls itself by its internal http name',
    plant: ({ as, options }) => {
      options['discovery-url'] = `${as.issuer}${WELL_KNOWN}`
      as.metadata['issuer'] = 'http://keycloak.internal:8080'
    },
    id: 'discovery.issuer',
    found: /an internal and an external name/,
    fix: /KC_HOSTNAME.*--discovery-url/,
  },
  {
    name: 'an issuer on plain http off this machine',
    plant: ({ options }) => (options['issuer'] = 'http://keycloak.internal:8080'),
    id: 'config',
    found: /must be https, or http on loopback/,
    fix: /--issuer, OIDC_ISSUER or the option issuer/,
  },
  {
    name: 'a set-up that does not say where this server is',
    plant: ({ options }) => delete options['resource'],
    id: 'config',
    found: /resource is required/,
    fix: /--resource, NEXTCLOUD_MCP_SERVER_URL/,
  },
  {
    name: 'an issuer without metadata',
    plant: ({ as }) => {
      as.script(WELL_KNOWN, { status: 404 })
      as.script(OAUTH_WELL_KNOWN, { status: 404 })
    },
    id: 'discovery.document',
    found: /404/,
    fix: /check realm or tenant in --issuer/,
  },
  {
    name: 'metadata behind a redirect',
    plant: ({ as }) => as.script(WELL_KNOWN, { status: 302, headers: { location: 'https://login.example.com/?a=b' } }),
    id: 'discovery.document',
    found: /302, a redirect to https:\/\/login\.example\.com\/$/,
    fix: /redirects are not followed/,
  },
  {
    name: 'a provider that is broken',
    plant: ({ as }) => as.script(WELL_KNOWN, { status: 502, text: 'Bad gateway' }),
    id: 'discovery.document',
    found: /502/,
    fix: /behind its proxy, is not working/,
  },
  {
    name: 'two documents that name two issuers',
    plant: ({ as }) => as.script(OAUTH_WELL_KNOWN, { json: { issuer: 'https://other.example.com' } }),
    id: 'discovery.oauth',
    found: /names the issuer https:\/\/other\.example\.com/,
    fix: /one issuer in both documents/,
  },
  {
    name: 'no metadata at the public address, where MCP clients look',
    plant: ({ as, options }) => {
      options['discovery-url'] = `${as.issuer}/internal`
      as.script('/internal', (_request, res) => res.end(JSON.stringify(as.metadata)))
      as.script(WELL_KNOWN, { status: 404 })
      as.script(OAUTH_WELL_KNOWN, { status: 404 })
    },
    id: 'discovery.oidc',
    found: /MCP clients find no metadata/,
    fix: /at the public address/,
  },
  {
    name: 'metadata without a token endpoint',
    plant: ({ as }) => delete as.metadata['token_endpoint'],
    id: 'discovery.endpoints',
    found: /no token_endpoint/,
    fix: /--token-endpoint/,
  },
  {
    name: 'a clock that is five minutes off',
    plant: ({ as }) =>
      as.script(WELL_KNOWN, ({ method }, res) => {
        expect(method).toBe('GET')
        res.writeHead(200, { date: new Date(Date.now() - FIVE_MINUTES).toUTCString() })
        res.end(JSON.stringify(as.metadata))
      }),
    id: 'clock.issuer',
    found: /(?:299|300|301) s behind/,
    fix: /NTP.*--clock-tolerance/,
  },
  {
    name: 'keys that cannot be fetched',
    plant: ({ as }) => as.script('/jwks', { status: 404 }),
    id: 'jwks.document',
    found: /\/jwks answers with 404/,
    fix: /--jwks-uri/,
  },
  {
    name: 'a key set without a usable key',
    plant: ({ as }) => as.keys.splice(0, 1, { ...as.key.publicJwk, use: 'enc' }),
    id: 'jwks.keys',
    found: /no key is usable.*EC ES256 enc/,
    fix: /asymmetric algorithm.*--algorithms/,
  },
  {
    name: 'a key set with HS256 only',
    plant: ({ as }) => as.keys.splice(0, 1, { kty: 'oct', alg: 'HS256', k: 'AAAA' }),
    id: 'jwks.keys',
    found: /oct HS256/,
    fix: /RS256 or ES256/,
  },
  {
    name: 'a provider that says it signs with HS256 only',
    plant: ({ as }) => (as.metadata['id_token_signing_alg_values_supported'] = ['HS256']),
    id: 'jwks.keys',
    found: /signs with HS256 only/,
    fix: /asymmetric algorithm/,
  },
  {
    name: 'algorithms that the keys do not have',
    plant: ({ options }) => (options['algorithms'] = 'RS256'),
    id: 'jwks.keys',
    found: /accepted algorithms \(RS256\)/,
    fix: /--algorithms/,
  },
  {
    name: 'a private key in the key set',
    plant: ({ as }) => as.keys.push({ ...as.key.publicJwk, kid: 'second', d: 'AAAA' }),
    id: 'jwks.keys',
    found: /publishes a private key/,
    fix: /replace that key/,
  },
  {
    name: 'a wrong client secret',
    plant: ({ environment, secrets }) => {
      environment['OIDC_CLIENT_SECRET'] = 'canary-Qm7Xw2Zk9Lp4Vn8Rt1'
      secrets.push('canary-Qm7Xw2Zk9Lp4Vn8Rt1')
    },
    id: 'client.credentials',
    found: /does not take the credentials of mcp-server \(invalid_client/,
    fix: /OIDC_CLIENT_SECRET/,
  },
  {
    name: "a wrong client secret, in Keycloak's words",
    plant: ({ as }) =>
      as.script('/token', {
        status: 401,
        json: {
          error: 'unauthorized_client',
          error_description: 'Invalid client or Invalid client credentials',
        },
      }),
    id: 'client.credentials',
    found: /unauthorized_client/,
    fix: /--client-secret-file/,
  },
  {
    name: 'credentials that are turned away with a 401 and nothing more telling',
    plant: ({ as }) => as.script('/token', { status: 401, json: { error: 'access_denied' } }),
    id: 'client.credentials',
    found: /access_denied, status 401/,
    fix: /--client-id, OIDC_CLIENT_ID/,
  },
  {
    name: 'a token endpoint that is out of order',
    plant: ({ as }) => as.script('/token', { status: 500 }),
    id: 'client.credentials',
    found: /status 500/,
    fix: /--token-endpoint/,
  },
  {
    name: 'a provider without token exchange',
    plant: ({ as }) => (as.metadata['grant_types_supported'] = ['authorization_code']),
    id: 'grant.offered',
    found: /grant_types_supported lacks urn:ietf:params:oauth:grant-type:token-exchange/,
    fix: /Standard token exchange.*--mode/,
  },
  {
    name: 'token exchange that is not on for this client, found without a token',
    plant: (setup) => {
      setup.provider.exchangeIsOn = false
      setup.token = ''
    },
    id: 'grant.offered',
    found: /refuses the grant to this client \(unauthorized_client/,
    fix: /Standard token exchange/,
  },
  {
    name: "token exchange that is not on for this client, in Keycloak's words",
    plant: (setup) => {
      setup.token = ''
      setup.as.script('/token', ({ form }, res) => {
        const error =
          form.get('grant_type') === 'refresh_token'
            ? { error: 'invalid_grant' }
            : {
                error: 'invalid_request',
                error_description: 'Standard token exchange is not enabled for the requested client',
              }
        res.writeHead(400).end(JSON.stringify(error))
      })
    },
    id: 'grant.offered',
    found: /invalid_request/,
    fix: /Standard token exchange/,
  },
  {
    name: 'token exchange that is not on for this client',
    plant: ({ provider }) => (provider.exchangeIsOn = false),
    id: 'exchange.live',
    found: /unauthorized_client/,
    fix: /switch token exchange on for it/,
  },
  {
    name: 'an exchange that refuses the token',
    plant: ({ as }) =>
      as.script('/token', { status: 400, json: { error: 'invalid_grant', error_description: 'Session not active' } }),
    id: 'exchange.live',
    found: /refuses the MCP token in the exchange/,
    fix: /in its aud/,
  },
  {
    name: 'an exchange that gives a token for somebody else',
    plant: ({ provider }) => (provider.exchanged = { aud: 'account' }),
    id: 'exchange.audience',
    found: /aud is account, which lacks nextcloud/,
    fix: /audience mapper.*--nextcloud-audience, NEXTCLOUD_RESOURCE_URI/,
  },
  {
    name: 'an exchange that gives a token of another issuer',
    plant: ({ provider }) => (provider.exchanged = { iss: 'http://keycloak.internal:8080' }),
    id: 'exchange.issuer',
    found: /iss is http:\/\/keycloak\.internal:8080/,
    fix: /KC_HOSTNAME/,
  },
  {
    name: 'an exchange that gives fewer scopes than were asked for',
    plant: ({ options }) => (options['nextcloud-scopes'] = 'notes:read,files'),
    id: 'exchange.scopes',
    found: /lacks files/,
    fix: /--nextcloud-scopes/,
  },
  {
    name: 'an exchange that gives a token near its end',
    plant: ({ provider }) => (provider.exchanged = { exp: seconds() + 10 }),
    id: 'exchange.life',
    found: /lives for \d+ s only/,
    fix: /Access token lifespan/,
  },
  {
    name: 'an MCP token that has expired',
    plant: async (setup) => {
      setup.token = await setup.as.mint({ aud: setup.resource, exp: seconds() - 600 })
    },
    id: 'token.accepted',
    found: /reason expired: exp is/,
    fix: /fresh token/,
  },
  {
    name: 'an MCP token for another audience',
    plant: async (setup) => {
      setup.token = await setup.as.mint({ aud: 'https://other.example.com' })
    },
    id: 'token.accepted',
    found: /reason audience: .*https:\/\/other\.example\.com/,
    fix: /audience mapper.*--audience/,
  },
  {
    name: 'an MCP token without sub',
    plant: async (setup) => {
      setup.token = await setup.as.mint({ aud: setup.resource, sub: undefined })
    },
    id: 'token.accepted',
    found: /reason missing_claim: .*sub/,
    fix: /scope basic has sub/,
  },
  {
    name: 'an ID token in place of an access token',
    plant: async (setup) => {
      const claims = { aud: 'mcp-server', nonce: 'n', at_hash: 'h', client_id: undefined, scope: undefined }
      setup.token = await setup.as.mint(claims, { header: { typ: 'JWT' } })
    },
    id: 'token.accepted',
    found: /reason token_type: /,
    fix: /not the id_token/,
  },
  {
    name: 'an MCP token of another issuer',
    plant: async (setup) => {
      setup.token = await setup.as.mint({ aud: setup.resource, iss: 'https://other.example.com' })
    },
    id: 'token.accepted',
    found: /reason issuer: .*https:\/\/other\.example\.com/,
    fix: /--issuer/,
  },
  {
    name: 'an MCP token that is signed with another key',
    plant: async (setup) => {
      setup.token = await setup.as.mint({ aud: setup.resource }, { key: await signingKey('unknown') })
    },
    id: 'token.accepted',
    found: /reason key: /,
    fix: /rotation of keys/,
  },
  {
    name: 'an MCP token of a client that is not let in',
    plant: ({ environment }) => (environment['ALLOWED_MCP_CLIENTS'] = 'inspector'),
    id: 'token.accepted',
    found: /reason client: .*mcp-client/,
    fix: /--allowed-clients, ALLOWED_MCP_CLIENTS/,
  },
  {
    name: 'an MCP token without a scope that is required',
    plant: ({ options }) => (options['required-scopes'] = 'notes:read,notes:write'),
    id: 'token.scopes',
    found: /needed are notes:read notes:write, it has notes:read/,
    fix: /--required-scopes/,
  },
  {
    name: 'pass-through with a token that is not for Nextcloud',
    plant: ({ options }) => (options['mode'] = 'pass-through'),
    id: 'pass-through.audience',
    found: /lacks nextcloud/,
    fix: /--nextcloud-audience.*token-exchange mode/,
  },
  {
    name: 'a Nextcloud that nothing listens at',
    plant: ({ nextcloud }) => nextcloud.stop(),
    id: 'nextcloud.reachable',
    found: /ECONNREFUSED/,
    fix: /nothing listens there.*--nextcloud-url, NEXTCLOUD_HOST/,
  },
  {
    name: 'an address that is not that of Nextcloud',
    plant: ({ options, nextcloud }) => (options['nextcloud-url'] = `${nextcloud.url}/cloud`),
    id: 'nextcloud.status',
    found: /not the status\.php of a Nextcloud: 404/,
    fix: /with its folder/,
  },
  {
    name: 'a Nextcloud in maintenance mode',
    plant: ({ answers }) => (answers[STATUS_PHP] = answerJson({ ...STATUS, maintenance: true })),
    id: 'nextcloud.status',
    found: /31\.0\.4 is in maintenance mode/,
    fix: /occ maintenance:mode --off/,
  },
  {
    name: 'a Nextcloud that waits for an upgrade',
    plant: ({ answers }) => (answers[STATUS_PHP] = answerJson({ ...STATUS, needsDbUpgrade: true })),
    id: 'nextcloud.status',
    found: /waits for an upgrade/,
    fix: /occ upgrade/,
  },
  {
    name: 'a Nextcloud that is not installed',
    plant: ({ answers }) => (answers[STATUS_PHP] = answerJson({ ...STATUS, installed: false })),
    id: 'nextcloud.status',
    found: /not installed/,
    fix: /finish the installation/,
  },
  {
    name: 'a Nextcloud whose clock is five minutes ahead',
    plant: ({ answers }) =>
      (answers[STATUS_PHP] = (_request, res) => {
        res.writeHead(200, { date: new Date(Date.now() + FIVE_MINUTES).toUTCString() }).end(JSON.stringify(STATUS))
      }),
    id: 'clock.nextcloud',
    found: /Nextcloud is (?:299|300|301) s ahead/,
    fix: /NTP/,
  },
  {
    name: 'a Nextcloud that refuses the token',
    plant: ({ answers }) => {
      answers[OCS_USER] = unauthorized
      answers[NOTES_SETTINGS] = unauthorized
    },
    id: 'nextcloud.bearer',
    found: /refuses the token \(401\)/,
    fix: /--check-bearer=1.*client id in aud.*discovery endpoint.*--bearer-provisioning=1/,
  },
  {
    name: 'a Nextcloud that takes the token on a CORS route only',
    plant: ({ answers }) => (answers[OCS_USER] = unauthorized),
    id: 'nextcloud.bearer',
    found: /refuses the token on OCS \(401\), but takes it on a CORS route/,
    fix: /Authorization and OCS-APIRequest headers/,
  },
  {
    name: 'a Nextcloud whose proxy answers for OCS',
    plant: ({ answers }) => (answers[OCS_USER] = answerJson({}, 403)),
    id: 'nextcloud.bearer',
    found: /403/,
    fix: /let \/ocs and the Authorization header through/,
  },
  {
    name: 'a Nextcloud that refuses the token on CORS routes only',
    plant: ({ answers }) => (answers[NOTES_SETTINGS] = unauthorized),
    id: 'nextcloud.cors',
    found: /CORS route \(Notes\) refuses the token \(401\), which OCS takes/,
    fix: /Nextcloud 31 or later.*OCS-APIRequest: true/,
  },
  {
    name: 'a public URL without the metadata document',
    plant: ({ proxy }) => (proxy.handler = at(METADATA_PATH, (_req, res) => res.writeHead(404).end())),
    id: 'metadata.document',
    found: /answers 404/,
    fix: /auth\.routes\(\).*the proxy pass on/,
  },
  {
    name: 'a sign-in page before the metadata document',
    plant: ({ proxy }) =>
      (proxy.handler = at(METADATA_PATH, (_req, res) => res.writeHead(200, html.headers).end(html.text))),
    id: 'metadata.document',
    found: /200, an HTML page/,
    fix: /out of the sign-in/,
  },
  {
    name: 'a redirect before the metadata document',
    plant: ({ proxy }) =>
      (proxy.handler = at(METADATA_PATH, (_req, res) =>
        res.writeHead(301, { location: 'https://www.example.com/login?secret=1' }).end(),
      )),
    id: 'metadata.document',
    found: /301, a redirect to https:\/\/www\.example\.com\/login,/,
    fix: /redirect/,
  },
  {
    name: 'a document with another resource',
    plant: (setup) => (setup.proxy.handler = document(setup, { resource: `${setup.resource}/` })),
    id: 'metadata.resource',
    found: /character for character/,
    fix: /--resource, NEXTCLOUD_MCP_SERVER_URL/,
  },
  {
    name: 'a document with another authorization server',
    plant: (setup) => (setup.proxy.handler = document(setup, { authorization_servers: ['https://other.example.com'] })),
    id: 'metadata.issuer',
    found: /authorization_servers is https:\/\/other\.example\.com/,
    fix: /--issuer/,
  },
  {
    name: 'a proxy that strips the CORS header of the document',
    plant: ({ proxy }) => (proxy.handler = withoutHeader('Access-Control-Allow-Origin')),
    id: 'metadata.cors',
    found: /is not there/,
    fix: /browsers cannot read/,
  },
  {
    name: 'an MCP endpoint that lets anybody in',
    plant: ({ proxy }) => (proxy.handler = at('/mcp', (_req, res) => res.writeHead(200).end('{}'))),
    id: 'challenge.status',
    found: /answers 200 without a token/,
    fix: /app\.post\(path, auth, handler\)/,
  },
  {
    name: 'an MCP endpoint at another path',
    plant: ({ proxy }) => (proxy.handler = at('/mcp', (_req, res) => res.writeHead(404).end())),
    id: 'challenge.status',
    found: /answers 404/,
    fix: /the path of --resource/,
  },
  {
    name: 'a proxy that sends MCP clients to a sign-in page',
    plant: ({ proxy }) =>
      (proxy.handler = at('/mcp', (_req, res) => res.writeHead(302, { location: 'https://login.example.com/' }).end())),
    id: 'challenge.status',
    found: /302, a redirect/,
    fix: /out of the sign-in/,
  },
  {
    name: 'a proxy that strips WWW-Authenticate',
    plant: ({ proxy }) => (proxy.handler = withoutHeader('WWW-Authenticate')),
    id: 'challenge.header',
    found: /no WWW-Authenticate/,
    fix: /WWW-Authenticate of the app on unchanged/,
  },
  {
    name: 'a proxy with a challenge of its own',
    plant: ({ proxy }) =>
      (proxy.handler = at('/mcp', (_req, res) => res.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end())),
    id: 'challenge.header',
    found: /no resource_metadata/,
    fix: /answer no 401 itself/,
  },
  {
    name: 'a challenge that leads to another document',
    plant: ({ proxy }) =>
      (proxy.handler = at('/mcp', (_req, res) =>
        res
          .writeHead(401, { 'www-authenticate': 'Bearer resource_metadata="http://internal:3000/.well-known/x"' })
          .end(),
      )),
    id: 'challenge.header',
    found: /http:\/\/internal:3000/,
    fix: /--resource/,
  },
]

/** A proxy that takes a header off every answer. */
function withoutHeader(name: string): ConnectHandler {
  return (_req, res, next) => {
    const set = res.setHeader.bind(res)
    res.setHeader = (given, value) => (given.toLowerCase() === name.toLowerCase() ? res : set(given, value))
    next()
  }
}

describe('the doctor', () => {
  it('finds everything well in a healthy set-up in token-exchange mode, and exits with 0', async () => {
    const setup = await setUpDoctor()
    const { status, failed, leftOut, findings } = await setup.run()

    expect({ status, failed, leftOut }).toEqual({
      status: 0,
      failed: [],
      // Plain http on loopback; no required scopes; and what belongs to other modes.
      leftOut: [
        'issuer.tls',
        'token.scopes',
        'pass-through.audience',
        'exchange.scopes',
        'nextcloud.tls',
        'storage.access',
        'storage.seal',
        'storage.records',
        'connect.redirect-uri',
        'connect.offline-access',
        'public.tls',
        'connect.page',
      ],
    })
    expect(findings.map(({ id }) => id)).toEqual(CHECK_IDS)
  })

  it('finds scopes that are required and asked for, where they are there', async () => {
    const setup = await setUpDoctor()
    setup.options['required-scopes'] = 'notes:read'
    setup.options['nextcloud-scopes'] = 'notes:read'

    const { finding } = await setup.run()
    expect(finding('token.scopes')?.status).toBe('passed')
    expect(finding('exchange.scopes')?.status).toBe('passed')
  })

  it('takes a token of pass-through mode to Nextcloud as it is', async () => {
    const setup = await setUpDoctor()
    setup.options['mode'] = 'pass-through'
    setup.token = await setup.as.mint({ aud: [setup.resource, 'nextcloud'] })

    const { failed, finding } = await setup.run()
    expect(failed).toEqual([])
    expect(finding('pass-through.audience')?.status).toBe('passed')
    expect(finding('nextcloud.bearer')?.found).toContain('alice')
    expect(setup.nextcloud.tokens().filter(Boolean)).toEqual([setup.token, setup.token])
  })

  it.each(FAULTS)('finds $name, by $id', async ({ plant, id, found, fix }) => {
    const setup = await setUpDoctor()
    await plant(setup)
    const { status, failed, finding } = await setup.run()

    expect({ status, failed }).toEqual({ status: 1, failed: [id] })
    expect(finding(id)?.found).toMatch(found)
    expect(finding(id)?.fix).toMatch(fix)
  })

  it('finds an issuer that nothing listens at, by issuer.reachable, and does not ask further', async () => {
    const setup = await setUpDoctor()
    await setup.as.stop()
    const { failed, finding } = await setup.run()

    // The app cannot know its issuer's keys either, but it knows the issuer, which is all that its document needs.
    expect(failed).toEqual(['issuer.reachable'])
    expect(finding('issuer.reachable')?.found).toMatch(/ECONNREFUSED/)
    expect(finding('issuer.reachable')?.fix).toMatch(/nothing listens there.*--issuer, OIDC_ISSUER/)
    expect(finding('jwks.keys')?.found).toBe('mend issuer.reachable first')
  })

  it('finds a public URL that nothing listens at, by public.reachable', async () => {
    const setup = await setUpDoctor()
    setup.options['resource'] = 'http://127.0.0.1:1/mcp'
    setup.options['audience'] = setup.resource
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['public.reachable'])
    expect(finding('public.reachable')?.fix).toMatch(/--resource, NEXTCLOUD_MCP_SERVER_URL/)
  })

  it('gives up on a provider that does not answer, in its time', async () => {
    const setup = await setUpDoctor()
    setup.as.script(WELL_KNOWN, () => undefined)
    setup.options['timeout'] = '200'
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['issuer.reachable'])
    expect(finding('issuer.reachable')?.fix).toMatch(/--timeout/)
  })

  it('gives up on an answer without an end', async () => {
    const setup = await setUpDoctor()
    setup.answers[STATUS_PHP] = (_request, res) => res.end('x'.repeat(1_100_000))
    const { failed, finding } = await setup.run()

    expect(failed).toEqual(['nextcloud.reachable'])
    expect(finding('nextcloud.reachable')?.found).toMatch(/TOO_LARGE/)
  })

  it('warns of a challenge that clients in browsers cannot read', async () => {
    const setup = await setUpDoctor()
    setup.proxy.handler = withoutHeader('Access-Control-Expose-Headers')
    const { status, finding } = await setup.run()

    expect(status).toBe(0)
    expect(finding('challenge.header')?.fix).toMatch(/Access-Control-Expose-Headers: WWW-Authenticate/)
  })

  it('leaves a route of Notes out where that app is not installed', async () => {
    const setup = await setUpDoctor()
    setup.answers[NOTES_SETTINGS] = answerJson({}, 404)
    const { status, leftOut } = await setup.run()

    expect(status).toBe(0)
    expect(leftOut).toContain('nextcloud.cors')
  })

  it('leaves the root form out where another server has it', async () => {
    const setup = await setUpDoctor()
    setup.proxy.handler = at('/.well-known/oauth-protected-resource', (_req, res) => res.writeHead(404).end())
    const { status, leftOut, finding } = await setup.run()

    expect(status).toBe(0)
    expect(leftOut).toContain('metadata.root')
    expect(finding('metadata.root')?.found).toMatch(/404/)
  })

  it('does without discovery where every endpoint is given', async () => {
    const setup = await setUpDoctor()
    setup.as.script(WELL_KNOWN, { status: 404 })
    setup.as.script(OAUTH_WELL_KNOWN, { status: 404 })
    setup.options['jwks-uri'] = `${setup.as.issuer}/jwks`
    setup.options['token-endpoint'] = `${setup.as.issuer}/token`
    const { finding } = await setup.run()

    expect(finding('discovery.document')?.status).toBe('left-out')
    expect(finding('exchange.live')?.status).toBe('passed')
  })

  // Regression: the doctor asked the token endpoint, which nothing else in such a set-up needs, and called a missing one a fault.
  it.each([
    ['in pass-through mode', 'pass-through'],
    ['without a Nextcloud', undefined],
  ])('needs no more than the server does %s, with jwksUri given', async (_name, mode) => {
    const setup = await setUpDoctor()
    setup.as.script(WELL_KNOWN, { status: 404 })
    setup.as.script(OAUTH_WELL_KNOWN, { status: 404 })
    setup.options['jwks-uri'] = `${setup.as.issuer}/jwks`
    if (mode === undefined) delete setup.options['nextcloud-url']
    else setup.options['mode'] = mode
    setup.token = await setup.as.mint({ aud: [setup.resource, 'nextcloud'] })
    const { failed, finding } = await setup.run()

    // That one is for MCP clients, which find no metadata.
    expect(failed).toEqual(['discovery.oidc'])
    expect(finding('client.credentials')?.status).toBe('left-out')
    expect(finding('token.accepted')?.status).toBe('passed')
  })
})
