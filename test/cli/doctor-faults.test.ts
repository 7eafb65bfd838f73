import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { CHECK_IDS } from '../../src/cli/doctor/checks.js'
import { waysToGive } from '../../src/cli/options.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { REJECTION_ADVICE } from '../../src/verify/rejection-advice.js'
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
import { CLIENT_ID, type ScriptedAnswer } from '../support/scripted-authorization-server.js'

/** A fault, the check that has to find it and that alone fails, and what it says and advises. */
type Fault = readonly [name: string, id: string, plant: (setup: DoctorSetup) => unknown, says: RegExp]

const FIVE_MINUTES = 300_000
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

/** A proxy that answers for one path with so much. */
const proxied =
  (path: string, status: number, headers: Record<string, string> = {}, text = '') =>
  ({ proxy }: DoctorSetup) =>
    (proxy.handler = at(path, (_req, res) => res.writeHead(status, headers).end(text)))

/** A provider that answers for one path with so much. */
const provided =
  (path: string, answer: ScriptedAnswer) =>
  ({ as }: DoctorSetup) =>
    as.script(path, answer)

/** An MCP token with these claims. */
const minted =
  (claims: (setup: DoctorSetup) => object) =>
  async (setup: DoctorSetup): Promise<void> => {
    setup.token = await setup.as.mint({ aud: setup.resource, ...claims(setup) })
  }

function withoutMetadata({ as }: DoctorSetup): void {
  as.script(WELL_KNOWN, { status: 404 })
  as.script(OAUTH_WELL_KNOWN, { status: 404 })
}

const FAULTS: readonly Fault[] = [
  [
    'an issuer that is written with a slash too many',
    'discovery.issuer',
    ({ options, as }) => (options['issuer'] = `${as.issuer}/`),
    /differ by a slash.* → .*set the issuer to http:\/\/127\.0\.0\.1:\d+, to the letter, by --issuer, OIDC_ISSUER/,
  ],
  [
    'a document of another realm',
    'discovery.issuer',
    ({ as }) => (as.metadata['issuer'] = `${as.issuer}/realms/other`),
    /another realm, tenant or path.* → .*--issuer/,
  ],
  [
    'a provider that calls itself by its internal http name',
    'discovery.issuer',
    ({ as, options }) => {
      options['discovery-url'] = `${as.issuer}${WELL_KNOWN}`
      as.metadata['issuer'] = 'http://keycloak.internal:8080'
    },
    /an internal and an external name.* → .*KC_HOSTNAME.*--discovery-url/,
  ],
  [
    'an issuer on plain http off this machine',
    'config',
    ({ options }) => (options['issuer'] = 'http://keycloak.internal:8080'),
    /must be https, or http on loopback.* → .*--issuer, OIDC_ISSUER or the option issuer/,
  ],
  [
    'a set-up that does not say where this server is',
    'config',
    ({ options }) => delete options['resource'],
    /resource is required.* → .*--resource, NEXTCLOUD_MCP_SERVER_URL/,
  ],
  ['an issuer without metadata', 'discovery.document', withoutMetadata, /404.* → .*check realm or tenant in --issuer/],
  [
    'metadata behind a redirect',
    'discovery.document',
    provided(WELL_KNOWN, { status: 302, headers: { location: 'https://login.example.com/?a=b' } }),
    /302, a redirect to https:\/\/login\.example\.com\/ → .*redirects are not followed.*--discovery-url/,
  ],
  [
    'a provider that is broken',
    'discovery.document',
    provided(WELL_KNOWN, { status: 502, text: 'Bad gateway' }),
    /502.* → .*behind its proxy, is not working/,
  ],
  [
    'two documents that name two issuers',
    'discovery.oauth',
    provided(OAUTH_WELL_KNOWN, { json: { issuer: 'https://other.example.com' } }),
    /names the issuer https:\/\/other\.example\.com.* → .*one issuer in both documents/,
  ],
  [
    'no metadata at the public address, where MCP clients look',
    'discovery.oidc',
    (setup) => {
      const { as, options } = setup
      options['discovery-url'] = `${as.issuer}/internal`
      as.script('/internal', (_request, res) => res.end(JSON.stringify(as.metadata)))
      withoutMetadata(setup)
    },
    /MCP clients find no metadata.* → .*at the public address/,
  ],
  [
    'metadata without a token endpoint',
    'discovery.endpoints',
    ({ as }) => delete as.metadata['token_endpoint'],
    /no token_endpoint.* → .*--token-endpoint/,
  ],
  [
    'introspection without an endpoint for it',
    'discovery.endpoints',
    ({ as, options }) => {
      options['introspection'] = 'always'
      delete as.metadata['introspection_endpoint']
    },
    /no introspection_endpoint.* → .*--introspection-endpoint/,
  ],
  [
    'a clock that is five minutes off',
    'clock.issuer',
    ({ as }) =>
      as.script(WELL_KNOWN, ({ method }, res) => {
        expect(method).toBe('GET')
        res.writeHead(200, { date: new Date(Date.now() - FIVE_MINUTES).toUTCString() })
        res.end(JSON.stringify(as.metadata))
      }),
    /(?:299|300|301) s behind.* → .*NTP.*--clock-tolerance/,
  ],
  [
    'keys that cannot be fetched',
    'jwks.document',
    provided('/jwks', { status: 404 }),
    /\/jwks answers with 404.* → .*--jwks-uri/,
  ],
  [
    'a key set without a usable key',
    'jwks.keys',
    ({ as }) => as.keys.splice(0, 1, { ...as.key.publicJwk, use: 'enc' }),
    /no key is usable.*EC ES256 enc.* → .*asymmetric algorithm.*--algorithms/,
  ],
  [
    'a provider that says it signs with HS256 only',
    'jwks.keys',
    ({ as }) => (as.metadata['id_token_signing_alg_values_supported'] = ['HS256']),
    /signs with HS256 only.* → .*asymmetric algorithm/,
  ],
  [
    'algorithms that the keys do not have',
    'jwks.keys',
    ({ options }) => (options['algorithms'] = 'RS256'),
    /accepted algorithms \(RS256\).* → .*--algorithms/,
  ],
  [
    'a private key in the key set',
    'jwks.keys',
    ({ as }) => as.keys.push({ ...as.key.publicJwk, kid: 'second', d: 'AAAA' }),
    /publishes a private key.* → .*replace that key/,
  ],
  [
    'a wrong client secret',
    'client.credentials',
    ({ environment, secrets }) => {
      environment['OIDC_CLIENT_SECRET'] = 'canary-Qm7Xw2Zk9Lp4Vn8Rt1'
      secrets.push('canary-Qm7Xw2Zk9Lp4Vn8Rt1')
    },
    /does not take the credentials of mcp-server \(invalid_client.* → .*OIDC_CLIENT_SECRET/,
  ],
  [
    // Regression: it blanked the client id too.
    'a wrong client secret that begins with the client id',
    'client.credentials',
    ({ environment }) => (environment['OIDC_CLIENT_SECRET'] = 'mcp-server-of-acme'),
    /Bad credentials mcp-server:…\)/,
  ],
  [
    'a token endpoint that is out of order',
    'client.credentials',
    provided('/token', { status: 500 }),
    /status 500.* → .*--token-endpoint/,
  ],
  [
    'a provider without token exchange',
    'grant.offered',
    ({ as }) => (as.metadata['grant_types_supported'] = ['authorization_code']),
    /grant_types_supported lacks urn:ietf:params:oauth:grant-type:token-exchange.* → .*Standard token exchange.*--mode/,
  ],
  [
    'token exchange that is not on for this client, found without a token',
    'grant.offered',
    (setup) => {
      setup.provider.exchangeIsOn = false
      setup.token = ''
    },
    /refuses the grant to this client \(unauthorized_client.* → .*Standard token exchange/,
  ],
  [
    'token exchange that is not on for this client',
    'exchange.live',
    ({ provider }) => (provider.exchangeIsOn = false),
    /unauthorized_client.* → .*switch token exchange on for it/,
  ],
  [
    'an exchange that refuses the token',
    'exchange.live',
    provided('/token', { status: 400, json: { error: 'invalid_grant', error_description: 'Session not active' } }),
    /refuses the MCP token in the exchange.* → .*in its aud/,
  ],
  [
    'an exchange that gives a token for somebody else',
    'exchange.audience',
    ({ provider }) => (provider.exchanged = { aud: 'account' }),
    /aud is account, which lacks nextcloud.* → .*audience mapper.*--nextcloud-audience, NEXTCLOUD_RESOURCE_URI/,
  ],
  [
    'an exchange that gives a token of another issuer',
    'exchange.issuer',
    ({ provider }) => (provider.exchanged = { iss: 'http://keycloak.internal:8080' }),
    /iss is http:\/\/keycloak\.internal:8080.* → .*KC_HOSTNAME/,
  ],
  [
    'an exchange that gives fewer scopes than were asked for',
    'exchange.scopes',
    ({ options }) => (options['nextcloud-scopes'] = 'notes:read,files'),
    /lacks files.* → .*--nextcloud-scopes/,
  ],
  [
    'an exchange that gives a token near its end',
    'exchange.life',
    ({ provider }) => (provider.exchanged = { exp: seconds() + 10 }),
    /lives for \d+ s only.* → .*Access token lifespan/,
  ],
  [
    'an MCP token that has expired',
    'token.accepted',
    minted(() => ({ exp: seconds() - 600 })),
    /reason expired: exp is.* → .*fresh token/,
  ],
  [
    'an MCP token for another server, whose audience it must not suggest',
    'token.accepted',
    minted(() => ({ aud: 'https://other.example.com/mcp' })),
    /reason audience: (?!.*--audience).* → .*must never be accepted/,
  ],
  [
    'an MCP token for another name of this server',
    'token.accepted',
    minted(({ resource }) => ({ aud: new URL(resource).origin })),
    /reason audience: .* → .*set resource \(NEXTCLOUD_MCP_SERVER_URL\) to it/,
  ],
  [
    'an MCP token of a client that is not let in',
    'token.accepted',
    ({ environment }) => (environment['ALLOWED_MCP_CLIENTS'] = 'inspector'),
    /reason client: .*mcp-client.* → .*--allowed-clients, ALLOWED_MCP_CLIENTS/,
  ],
  [
    'an MCP token without a scope that is required',
    'token.scopes',
    ({ options }) => (options['required-scopes'] = 'notes:read,notes:write'),
    /needed are notes:read notes:write, it has notes:read.* → .*--required-scopes/,
  ],
  [
    'pass-through with a token that is not for Nextcloud',
    'pass-through.audience',
    ({ options }) => (options['mode'] = 'pass-through'),
    /lacks nextcloud.* → .*--nextcloud-audience.*token-exchange mode/,
  ],
  [
    'a Nextcloud that nothing listens at',
    'nextcloud.reachable',
    ({ nextcloud }) => nextcloud.stop(),
    /ECONNREFUSED.* → .*nothing listens there.*--nextcloud-url, NEXTCLOUD_HOST/,
  ],
  [
    'an address that is not that of Nextcloud',
    'nextcloud.status',
    ({ options, nextcloud }) => (options['nextcloud-url'] = `${nextcloud.url}/cloud`),
    /not the status\.php of a Nextcloud: 404.* → .*with its folder/,
  ],
  [
    'a Nextcloud in maintenance mode',
    'nextcloud.status',
    ({ answers }) => (answers[STATUS_PHP] = answerJson({ ...STATUS, maintenance: true })),
    /31\.0\.4 is in maintenance mode.* → .*occ maintenance:mode --off/,
  ],
  [
    'a Nextcloud that waits for an upgrade',
    'nextcloud.status',
    ({ answers }) => (answers[STATUS_PHP] = answerJson({ ...STATUS, needsDbUpgrade: true })),
    /waits for an upgrade.* → .*occ upgrade/,
  ],
  [
    'a Nextcloud that is not installed',
    'nextcloud.status',
    ({ answers }) => (answers[STATUS_PHP] = answerJson({ ...STATUS, installed: false })),
    /not installed.* → .*finish the installation/,
  ],
  [
    'a Nextcloud whose clock is five minutes ahead',
    'clock.nextcloud',
    ({ answers }) =>
      (answers[STATUS_PHP] = (_request, res) => {
        res.writeHead(200, { date: new Date(Date.now() + FIVE_MINUTES).toUTCString() }).end(JSON.stringify(STATUS))
      }),
    /Nextcloud is (?:299|300|301) s ahead.* → .*NTP/,
  ],
  [
    'a Nextcloud whose clock is 90 s behind, so that it refuses fresh tokens',
    'clock.nextcloud',
    ({ answers }) => {
      answers[OCS_USER] = unauthorized
      answers[STATUS_PHP] = (_request, res) => {
        res.writeHead(200, { date: new Date(Date.now() - 90_000).toUTCString() }).end(JSON.stringify(STATUS))
      }
    },
    /Nextcloud is (?:89|90|91) s behind.* → .*NTP.*a minute/,
  ],
  [
    'a Nextcloud that refuses the token',
    'nextcloud.bearer',
    ({ answers }) => {
      answers[OCS_USER] = unauthorized
      answers[NOTES_SETTINGS] = unauthorized
    },
    /refuses the token \(401\).* → .*--check-bearer=1.*client id in aud.*discovery endpoint.*auto_provision/,
  ],
  [
    'a Nextcloud that takes the token on a CORS route only',
    'nextcloud.bearer',
    ({ answers }) => (answers[OCS_USER] = unauthorized),
    /refuses the token on OCS \(401\), but takes it on a CORS route.* → .*Authorization and OCS-APIRequest headers/,
  ],
  [
    'a Nextcloud whose proxy answers for OCS',
    'nextcloud.bearer',
    ({ answers }) => (answers[OCS_USER] = answerJson({}, 403)),
    /403.* → .*let \/ocs and the Authorization header through/,
  ],
  [
    'a Nextcloud that refuses the token on CORS routes only',
    'nextcloud.cors',
    ({ answers }) => (answers[NOTES_SETTINGS] = unauthorized),
    /CORS route \(Notes\) refuses the token \(401\), which OCS takes.* → .*Nextcloud 31 or later.*OCS-APIRequest: true/,
  ],
  [
    'a public URL without the metadata document',
    'metadata.document',
    proxied(METADATA_PATH, 404),
    /answers 404.* → .*auth\.routes\(\).*the proxy pass on/,
  ],
  [
    'a sign-in page before the metadata document',
    'metadata.document',
    proxied(METADATA_PATH, 200, { 'content-type': 'text/html' }, '<!doctype html><title>Sign in</title>'),
    /200, an HTML page.* → .*out of the sign-in/,
  ],
  [
    'a redirect before the metadata document',
    'metadata.document',
    proxied(METADATA_PATH, 301, { location: 'https://www.example.com/login?secret=1' }),
    /301, a redirect to https:\/\/www\.example\.com\/login,.* → .*redirect/,
  ],
  [
    'a document with another resource',
    'metadata.resource',
    (setup) => (setup.proxy.handler = document(setup, { resource: `${setup.resource}/` })),
    /character for character.* → .*--resource, NEXTCLOUD_MCP_SERVER_URL/,
  ],
  [
    'a document with another authorization server',
    'metadata.issuer',
    (setup) => (setup.proxy.handler = document(setup, { authorization_servers: ['https://other.example.com'] })),
    /authorization_servers is https:\/\/other\.example\.com.* → .*--issuer/,
  ],
  [
    'a proxy that strips the CORS header of the document',
    'metadata.cors',
    ({ proxy }) => (proxy.handler = withoutHeader('Access-Control-Allow-Origin')),
    /is not there.* → .*browsers cannot read/,
  ],
  [
    'an MCP endpoint that lets anybody in',
    'challenge.status',
    proxied('/mcp', 200, {}, '{}'),
    /answers 200 without a token.* → .*app\.all\(path, auth, handler\)/,
  ],
  [
    'an MCP endpoint at another path',
    'challenge.status',
    proxied('/mcp', 404),
    /answers 404.* → .*the path of --resource/,
  ],
  [
    'a proxy that sends MCP clients to a sign-in page',
    'challenge.status',
    proxied('/mcp', 302, { location: 'https://login.example.com/' }),
    /302, a redirect.* → .*out of the sign-in/,
  ],
  [
    'a proxy that strips WWW-Authenticate',
    'challenge.header',
    ({ proxy }) => (proxy.handler = withoutHeader('WWW-Authenticate')),
    /no WWW-Authenticate.* → .*WWW-Authenticate of the app on unchanged/,
  ],
  [
    'a proxy with a challenge of its own',
    'challenge.header',
    proxied('/mcp', 401, { 'www-authenticate': 'Basic realm="x"' }),
    /no resource_metadata.* → .*answer no 401 itself/,
  ],
  [
    'a challenge that leads to another document',
    'challenge.header',
    proxied('/mcp', 401, { 'www-authenticate': 'Bearer resource_metadata="http://internal:3000/.well-known/x"' }),
    /http:\/\/internal:3000.* → .*--resource/,
  ],
]

/** A token endpoint that answers refreshes and exchanges so, and knows one client. */
const tokenEndpoint =
  ({ refresh = { error: 'invalid_grant' }, exchange = {}, stranger = { error: 'invalid_client' } }: Tokens) =>
  ({ as, secrets }: DoctorSetup): void =>
    as.script('/token', ({ headers, form }, res) => {
      const [id] = Buffer.from((headers.authorization ?? '').slice(6), 'base64')
        .toString()
        .split(':')
      const known = form.get('grant_type') === 'refresh_token' ? refresh : exchange
      const answer: Record<string, unknown> = id === CLIENT_ID ? known : stranger
      if (answer === UNAVAILABLE) return res.writeHead(503).end()
      if (typeof answer['access_token'] === 'string') secrets.push(answer['access_token'])
      return res.writeHead(answer['access_token'] === undefined ? 400 : 200).end(JSON.stringify(answer))
    })

interface Tokens {
  readonly refresh?: Record<string, unknown>
  readonly exchange?: Record<string, unknown>
  /** The answer to a client that does not exist. */
  readonly stranger?: Record<string, unknown>
}
const UNAVAILABLE = {}
const opaque = (): string => `opaque-${randomBytes(18).toString('base64url')}`

/** Nothing is given to the doctor but the address of the document. */
function byDiscoveryUrl({ as, options }: DoctorSetup): void {
  delete options['issuer']
  options['discovery-url'] = `${as.issuer}${WELL_KNOWN}`
}

const breaksOff = (_request: unknown, res: ServerResponse) => res.destroy()
const ofTheWeb =
  (changes: object, headers: Record<string, string>): ((setup: DoctorSetup) => unknown) =>
  (setup) =>
    (setup.proxy.handler = at(METADATA_PATH, (_req, res) => {
      const whole = { resource: setup.resource, authorization_servers: [setup.as.issuer], ...changes }
      res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(whole))
    }))

const MORE_FAULTS: readonly Fault[] = [
  [
    'a document whose issuer is not a URL',
    'discovery.issuer',
    ({ as }) => (as.metadata['issuer'] = 'acme'),
    /names the issuer acme, .*: that is not a URL → set the issuer to acme/,
  ],
  [
    'an issuer that is https in its document',
    'discovery.issuer',
    ({ as }) => (as.metadata['issuer'] = as.issuer.replace('http:', 'https:')),
    /they differ by http and https → set the issuer to https:\/\/127\.0\.0\.1:\d+, to the letter, by --issuer/,
  ],
  [
    'a document of another issuer',
    'discovery.issuer',
    ({ as }) => (as.metadata['issuer'] = 'https://other.example.com/realms/acme'),
    /another issuer → .*KC_HOSTNAME.*--discovery-url/,
  ],
  [
    'a token endpoint on plain http',
    'discovery.endpoints',
    ({ as }) => (as.metadata['token_endpoint'] = 'http://keycloak.internal/token'),
    /token_endpoint.* → .*https addresses \(Keycloak: KC_HOSTNAME.*--token-endpoint/,
  ],
  ['keys that are broken off', 'jwks.document', provided('/jwks', breaksOff), /cannot be fetched \(ECONNRESET\) → /],
  [
    'a document without keys in their place',
    'jwks.document',
    provided('/jwks', { json: { issuer: 'x' } }),
    /answers with no key set with keys in it → .*--jwks-uri/,
  ],
  [
    'a key set that is empty',
    'jwks.document',
    ({ as }) => as.keys.splice(0),
    /answers with no key set with keys in it → .*publish its signing keys/,
  ],
  [
    'a key set of more keys than are read',
    'jwks.document',
    ({ as }) => as.keys.push(...Array.from({ length: 100 }, () => as.key.publicJwk)),
    /answers with 101 keys, and no more than 100 are read → .*publish its signing keys/,
  ],
  [
    'an exchange that fails for a reason of its own',
    'exchange.live',
    tokenEndpoint({ exchange: { error: 'server_busy' } }),
    /the exchange fails: server_busy → look into the log of the provider \(asked for: audience nextcloud, by --nextcloud-audience/,
  ],
  [
    'an exchange without an answer',
    'exchange.live',
    tokenEndpoint({ exchange: UNAVAILABLE }),
    /the exchange gets no answer: .* → see discovery\.endpoints above/,
  ],
  [
    'an exchange that gives a token for nobody',
    'exchange.audience',
    ({ provider }) => (provider.exchanged = { aud: undefined }),
    /aud is none, which lacks nextcloud/,
  ],
  [
    'an exchange that gives a token of no issuer',
    'exchange.issuer',
    ({ provider }) => (provider.exchanged = { iss: undefined }),
    /iss is none, and not http/,
  ],
  [
    'an exchange that gives a token after its end',
    'exchange.life',
    ({ provider }) => (provider.exchanged = { exp: seconds() - 10 }),
    /it had expired 1\d s ago as it came → .*clock\.issuer/,
  ],
  [
    'an exchange whose answer has a life that is none',
    'exchange.life',
    tokenEndpoint({ exchange: { access_token: opaque(), token_type: 'Bearer', expires_in: 'soon' } }),
    /expires_in of the answer is not a positive number.* → .*Access token lifespan/,
  ],
  [
    'an MCP token that is not a JWT',
    'token.accepted',
    (setup) => (setup.token = opaque()),
    /would refuse it with 401 invalid_token, reason \w+: /,
  ],
  [
    'an MCP token that cannot be introspected now',
    'token.accepted',
    ({ as, options }) => {
      options['introspection'] = 'always'
      as.script('/introspect', { status: 503 })
    },
    /whether this server takes it cannot be told: .* → see the checks of discovery/,
  ],
  [
    'an MCP token without any scope',
    'token.scopes',
    async (setup) => {
      setup.options['required-scopes'] = 'notes:read'
      await minted(() => ({ scope: undefined }))(setup)
    },
    /needed are notes:read, it has none → /,
  ],
  [
    'a Nextcloud that breaks the request of a user off',
    'nextcloud.bearer',
    ({ answers }) => (answers[OCS_USER] = breaksOff),
    /no answer to ocs\/v2\.php\S* \(ECONNRESET\) → see nextcloud\.reachable; .*nextcloud\.timeout/,
  ],
  [
    'a Nextcloud that breaks DAV off',
    'nextcloud.dav',
    ({ answers }) => (answers['/remote.php/dav/files/alice/'] = breaksOff),
    /DAV answers ECONNRESET to a PROPFIND.* → .*methods of DAV/,
  ],
  [
    'a token without claims that Nextcloud refuses',
    'nextcloud.bearer',
    (setup) => {
      tokenEndpoint({ exchange: { access_token: opaque(), token_type: 'Bearer', expires_in: 300 } })(setup)
      setup.answers[OCS_USER] = unauthorized
      setup.answers[NOTES_SETTINGS] = unauthorized
    },
    /Nextcloud refuses the token \(401\) → .*needs the scope openid/,
  ],
  [
    'an app that is broken where its metadata should be',
    'metadata.document',
    proxied(METADATA_PATH, 500),
    /answers 500, and not the metadata.* → look into the log of the app and of the proxy; let app\.use/,
  ],
  [
    'metadata without a resource',
    'metadata.resource',
    ofTheWeb({ resource: undefined }, { 'access-control-allow-origin': '*' }),
    /resource is not there, and not http/,
  ],
  [
    'metadata whose servers are not a list',
    'metadata.issuer',
    ofTheWeb({ authorization_servers: 'https://idp.example.com' }, { 'access-control-allow-origin': '*' }),
    /authorization_servers is not there, which lacks http.* → .*--issuer/,
  ],
  [
    'metadata for the browsers of one site',
    'metadata.cors',
    ofTheWeb({}, { 'access-control-allow-origin': 'https://app.example.com' }),
    /Access-Control-Allow-Origin is https:\/\/app\.example\.com → /,
  ],
  [
    'a proxy that breaks a POST off',
    'challenge.status',
    ({ proxy }) => (proxy.handler = at('/mcp', breaksOff)),
    /no answer from \S+\/mcp \(ECONNRESET\) → let the proxy pass POST on/,
  ],
]

/** What the doctor mentions: the check, and its status with the words. */
const MENTIONS: readonly Fault[] = [
  [
    'an issuer that only its document names',
    'discovery.issuer',
    byDiscoveryUrl,
    /^passed: http\S+, taken from the document → better say it by --issuer/,
  ],
  [
    'a configuration that names no issuer',
    'config',
    byDiscoveryUrl,
    /^passed: issuer of http\S+openid-configuration, /,
  ],
  [
    'this server, whose issuer is told by the document alone',
    'metadata.issuer',
    byDiscoveryUrl,
    /^passed: authorization_servers holds http/,
  ],
  [
    'an exchange, whose issuer is told by the document alone',
    'exchange.issuer',
    byDiscoveryUrl,
    /^passed: iss is http/,
  ],
  [
    'a second document that cannot be reached',
    'discovery.oauth',
    provided(OAUTH_WELL_KNOWN, breaksOff),
    /^left-out: \S+ cannot be reached from here \(ECONNRESET\), as MCP clients must/,
  ],
  [
    'a provider with every endpoint',
    'discovery.endpoints',
    ({ as }) =>
      Object.assign(as.metadata, {
        introspection_endpoint: `${as.issuer}/introspect`,
        revocation_endpoint: `${as.issuer}/revoke`,
      }),
    /^passed: jwks_uri, .*revocation_endpoint, registration_endpoint → $/,
  ],
  [
    'a provider that does not tell the time',
    'clock.issuer',
    ({ as }) =>
      as.script(WELL_KNOWN, (_request, res) => {
        res.sendDate = false
        res.end(JSON.stringify(as.metadata))
      }),
    /^left-out: the provider sends no Date/,
  ],
  [
    'a time that a cache has kept',
    'clock.issuer',
    ({ as }) =>
      as.script(WELL_KNOWN, (_request, res) => {
        res.writeHead(200, { age: '300', date: new Date(Date.now() - FIVE_MINUTES).toUTCString() })
        res.end(JSON.stringify(as.metadata))
      }),
    /^left-out: the clock of the provider is \d+ s behind this one, but the answer came from a cache/,
  ],
  [
    'a server without a client',
    'client.credentials',
    ({ options, environment }) => {
      delete options['client-id']
      delete options['nextcloud-url']
      delete environment['OIDC_CLIENT_SECRET']
    },
    /^left-out: there is no clientId, and nothing here needs one/,
  ],
  [
    'a client without a secret',
    'client.credentials',
    ({ options, environment }) => {
      delete options['nextcloud-url']
      delete environment['OIDC_CLIENT_SECRET']
    },
    /^left-out: the client mcp-server has no secret to try/,
  ],
  [
    'a provider that refuses refreshes to a client that it knows',
    'client.credentials',
    (setup) => {
      setup.token = ''
      tokenEndpoint({ refresh: { error: 'unsupported_grant_type' }, exchange: { error: 'invalid_request' } })(setup)
    },
    /^passed: the provider takes the credentials of mcp-server \(of a made-up refresh token it says unsupported_grant_type\)/,
  ],
  [
    'a provider that tells a stranger the same',
    'client.credentials',
    (setup) => {
      setup.token = ''
      setup.as.script('/introspect', { status: 404 })
      tokenEndpoint({ stranger: { error: 'invalid_grant' }, exchange: { error: 'invalid_request' } })(setup)
    },
    /^left-out: whether the provider takes the credentials of mcp-server cannot be tried.* → a wrong secret shows/,
  ],
  [
    'an exchange that finds only the made-up token wrong',
    'grant.offered',
    (setup) => {
      setup.token = ''
      tokenEndpoint({ exchange: { error: 'invalid_grant' } })(setup)
    },
    /^passed: .*finds only the made-up token wrong/,
  ],
  [
    'an exchange that gives no usable answer to an attempt',
    'grant.offered',
    (setup) => {
      setup.token = ''
      tokenEndpoint({ exchange: UNAVAILABLE })(setup)
    },
    /^left-out: .*no usable answer to an attempt/,
  ],
  [
    'an exchange that says something else of a made-up token',
    'grant.offered',
    (setup) => {
      setup.token = ''
      tokenEndpoint({ exchange: { error: 'server_busy' } })(setup)
    },
    /^passed: .*to a made-up token it says server_busy → try a real one with --token-file/,
  ],
  [
    'an exchange that takes a made-up token',
    'grant.offered',
    (setup) => {
      setup.token = ''
      tokenEndpoint({ exchange: { access_token: opaque(), token_type: 'Bearer', expires_in: 300 } })(setup)
    },
    /^left-out: .*gave a token for a made-up one/,
  ],
  [
    'an exchange that gives a token that is not a JWT',
    'exchange.audience',
    tokenEndpoint({ exchange: { access_token: opaque(), token_type: 'Bearer', expires_in: 300 } }),
    /^left-out: the token is not a JWT.*user_oidc takes JWTs only/,
  ],
  [
    'an exchange that does not say how long its token lives',
    'exchange.life',
    tokenEndpoint({ exchange: { access_token: opaque(), token_type: 'Bearer' } }),
    /^left-out: the answer does not say how long the token lives; 300 s are taken/,
  ],
  [
    'pass-through mode without a token',
    'pass-through.audience',
    (setup) => {
      setup.token = ''
      setup.options['mode'] = 'pass-through'
    },
    /^left-out: no MCP token to try/,
  ],
  [
    'keys that nothing needs',
    'jwks.document',
    ({ options }) => (options['introspection'] = 'always'),
    /^left-out: every token is introspected/,
  ],
  [
    'Notes that break off',
    'nextcloud.cors',
    ({ answers }) => (answers[NOTES_SETTINGS] = breaksOff),
    /^left-out: no answer to \S+notes\S+ \(ECONNRESET\)/,
  ],
  [
    'a user id made by hashing, and no name to look for',
    'nextcloud.account',
    ({ answers }) => {
      const id = 'a'.repeat(64)
      answers[OCS_USER] = answerJson({ ocs: { meta: { statuscode: 200 }, data: { id } } })
      answers[`/remote.php/dav/files/${id}/`] = answerJson({}, 207)
    },
    /^passed: user_oidc makes user ids by hashing.* → whoever had an account before/,
  ],
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
      // Plain http on loopback; no required scopes; and what belongs to other modes, or is off by default.
      leftOut: [
        'nextcloud.tls',
        'issuer.tls',
        'token.scopes',
        'pass-through.audience',
        'exchange.scopes',
        'storage.access',
        'storage.seal',
        'storage.records',
        'nextcloud.login-flow',
        'connect.redirect-uri',
        'connect.offline-access',
        'public.tls',
        'connect.page',
        'clients.scopes',
        'clients.mcp-2025-03-26',
      ],
    })
    expect(findings.map(({ id }) => id)).toEqual(CHECK_IDS)
  })

  // Entra asks for api://…/name and grants name.
  it('finds scopes that are required and asked for, where they are there', async () => {
    const setup = await setUpDoctor()
    Object.assign(setup.options, { 'required-scopes': 'notes:read', 'nextcloud-scopes': 'api://nextcloud/notes:read' })
    const { finding } = await setup.run()

    expect([finding('token.scopes')?.status, finding('exchange.scopes')?.status]).toEqual(['passed', 'passed'])
  })

  it('takes a token of pass-through mode to Nextcloud as it is', async () => {
    const setup = await setUpDoctor()
    setup.options['mode'] = 'pass-through'
    setup.token = await setup.as.mint({ aud: [setup.resource, 'nextcloud'] })

    const { failed, finding } = await setup.run()
    expect(failed).toEqual([])
    expect(finding('pass-through.audience')?.status).toBe('passed')
    expect(finding('nextcloud.bearer')?.found).toContain('alice')
    expect(setup.nextcloud.tokens().filter(Boolean)).toEqual([setup.token, setup.token, setup.token])
  })

  it.each([...FAULTS, ...MORE_FAULTS])('finds %s, by %s', async (_name, id, plant, says) => {
    const setup = await setUpDoctor()
    await plant(setup)
    const { status, failed, finding } = await setup.run()

    expect({ status, failed }).toEqual({ status: 1, failed: [id] })
    expect(`${finding(id)?.found ?? ''} → ${finding(id)?.fix ?? ''}`).toMatch(says)
  })

  it.each<[...Fault]>([
    [
      'an issuer that nothing listens at',
      'issuer.reachable',
      ({ as }) => as.stop(),
      /ECONNREFUSED.* → nothing listens there.*--issuer, OIDC_ISSUER/,
    ],
    [
      'a public URL that nothing listens at',
      'public.reachable',
      ({ options, resource }) => Object.assign(options, { resource: 'http://127.0.0.1:1/mcp', audience: resource }),
      /ECONNREFUSED.* → .*--resource, NEXTCLOUD_MCP_SERVER_URL/,
    ],
    [
      'a provider that does not answer in time',
      'issuer.reachable',
      ({ as, options }) => {
        as.script(WELL_KNOWN, () => undefined)
        options['timeout'] = '200'
      },
      /TIMEOUT.* → .*--timeout/,
    ],
    [
      'an answer without an end',
      'nextcloud.reachable',
      ({ answers }) => (answers[STATUS_PHP] = (_request, res) => res.end('x'.repeat(1_100_000))),
      /TOO_LARGE/,
    ],
  ])('finds %s, by %s, and asks no further', async (_name, id, plant, says) => {
    const setup = await setUpDoctor()
    await plant(setup)
    const { failed, findings, finding } = await setup.run()

    expect(failed).toEqual([id])
    expect(`${finding(id)?.found ?? ''} → ${finding(id)?.fix ?? ''}`).toMatch(says)
    expect(findings.filter(({ found }) => found === `mend ${id} first`).length).toBeGreaterThan(1)
  })

  it.each<[...Fault]>([
    [
      'a challenge that clients in browsers cannot read',
      'challenge.header',
      ({ proxy }) => (proxy.handler = withoutHeader('Access-Control-Expose-Headers')),
      /^passed: .*Access-Control-Expose-Headers: WWW-Authenticate/,
    ],
    [
      'a Nextcloud without Notes',
      'nextcloud.cors',
      ({ answers }) => (answers[NOTES_SETTINGS] = answerJson({}, 404)),
      /^left-out: .*404/,
    ],
    [
      'a root form that another server has',
      'metadata.root',
      proxied('/.well-known/oauth-protected-resource', 404),
      /^left-out: .*404/,
    ],
  ])('takes no offence at %s, and mentions it by %s', async (_name, id, plant, says) => {
    const setup = await setUpDoctor()
    await plant(setup)
    const { status, finding } = await setup.run()
    const { status: outcome, found, fix } = finding(id)!

    expect(status).toBe(0)
    expect(`${outcome}: ${found} → ${fix ?? ''}`).toMatch(says)
  })

  // Regression: the doctor asked the token endpoint, which nothing else in the last two needs, and called a missing one a fault.
  it.each([
    ['in token-exchange mode', 'token-exchange', 'passed'],
    ['in pass-through mode', 'pass-through', 'left-out'],
    ['without a Nextcloud', undefined, 'left-out'],
  ])('needs no more than the server does %s, without metadata', async (_name, mode, exchange) => {
    const setup = await setUpDoctor()
    withoutMetadata(setup)
    const { options, as } = setup
    options['jwks-uri'] = `${as.issuer}/jwks`
    if (mode === undefined) delete options['nextcloud-url']
    else options['mode'] = mode
    if (exchange === 'passed') options['token-endpoint'] = `${as.issuer}/token`
    setup.token = await setup.as.mint({ aud: [setup.resource, 'nextcloud'] })
    const { failed, finding } = await setup.run()

    // That one is for MCP clients, which find no metadata.
    expect(failed).toEqual(['discovery.oidc'])
    expect(finding('discovery.document')?.status).toBe('left-out')
    expect(finding('client.credentials')?.status).toBe(exchange)
    expect(finding('token.accepted')?.status).toBe('passed')
    expect(finding('exchange.live')?.status).toBe(exchange)
  })

  it.each(MENTIONS)('mentions %s, by %s', async (_name, id, plant, says) => {
    const setup = await setUpDoctor()
    await plant(setup)
    const { failed, finding } = await setup.run()
    const { status, found, fix } = finding(id)!

    expect(failed).not.toContain(id)
    expect(`${status}: ${found} → ${fix ?? ''}`).toMatch(says)
  })

  it.each([
    [{ introspection: 'false' }, 'so nothing can be read from it'],
    [{ introspection: 'always' }, 'so it can only be introspected'],
  ])('says what can be told of an MCP token that is not a JWT: %j', async (options, words) => {
    const setup = await setUpDoctor()
    Object.assign(setup.options, options)
    setup.token = opaque()
    const { finding } = await setup.run()

    expect(finding('token.form')).toMatchObject({ status: 'left-out', found: `the token is not a JWT, ${words}` })
  })

  it('needs no root form of the metadata where the address has no path', async () => {
    const setup = await setUpDoctor()
    setup.options['resource'] = new URL(setup.resource).origin
    const { finding } = await setup.run()

    expect(finding('metadata.root')?.found).toBe('resource has no path, so both forms are one')
  })

  it('names an option for every reason that one may be to blame for', () => {
    const options = Object.values(REJECTION_ADVICE).flatMap(({ option }) => option ?? [])

    expect(options).not.toEqual([])
    expect(options.filter((option) => !/^--[a-z-]+/.test(waysToGive(option)))).toEqual([])
  })
})
