import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { createMemoryAdapter } from 'oidc-provider/lib/adapters/memory_adapter.js'
import { InvalidTarget } from 'oidc-provider/lib/helpers/errors.js'
import { Provider } from 'oidc-provider/lib/provider.js'
import type { Configuration } from 'oidc-provider'
import { onTestFinished } from 'vitest'
import type { Finding } from '../../src/cli/doctor/check.js'
import { systemClock } from '../../src/clock.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { runIn } from './doctor-setup.js'
import { listen } from './hosts.js'

/** A provider that clients go to. */
export interface WalkedProvider {
  readonly issuer: string
  /** Ids of the clients that are registered now. */
  readonly clients: () => readonly string[]
  /** What comes before it: answers a request, or lets it go on. */
  readonly front: { handler: ConnectHandler }
}

export interface ProviderOptions {
  readonly features?: Configuration['features']
  readonly more?: Configuration
  /** Resources that it knows. Default: any. */
  readonly knows?: (resource: string) => boolean
}

/** A real oidc-provider with registration and deletion (RFC 7592), metadata documents and resource indicators. */
export async function startOidcProvider({ features, more, knows }: ProviderOptions = {}): Promise<WalkedProvider> {
  const adapter = createMemoryAdapter()
  const ids = new Set<string>()
  let serve: RequestListener = () => undefined
  const front: WalkedProvider['front'] = { handler: (_req, _res, next) => next() }
  const site = await listen((req, res) => front.handler(req, res, () => serve(req, res)))
  onTestFinished(() => site.close())
  const provider = new Provider(site.url, {
    adapter,
    scopes: ['openid', 'offline_access', 'notes:read'],
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      registrationManagement: { enabled: true },
      clientIdMetadataDocument: { enabled: false, ack: 'draft-02' },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx: unknown, resource: string) => {
          if (knows?.(resource) === false) throw new InvalidTarget('unknown resource')
          return { scope: 'notes:read', audience: resource }
        },
      },
      ...features,
    } as Configuration['features'],
    ...more,
  })
  provider.on('registration_create.success', (_ctx, { clientId }) => void ids.add(clientId))
  provider.on('registration_delete.success', (_ctx, { clientId }) => void ids.delete(clientId))
  const handle = provider.callback()
  serve = (req, res) => void handle(req, res)
  return { issuer: site.url, clients: () => [...ids], front }
}

/** The parts of a Keycloak that clients see, with its own words. */
export interface Realm extends WalkedProvider {
  readonly metadata: Record<string, unknown>
  /** Whether its policy lets clients register. */
  readonly policy: { trustsHosts: boolean; offersDeletion: boolean; deletesAt?: string }
  /** Tokens and secrets that it has given out. */
  readonly secrets: string[]
  readonly deletions: () => number
  /** The answer of its authorization endpoint, in place of the sign-in page. */
  readonly authorize: { answer?: (query: URLSearchParams, res: ServerResponse) => unknown }
  /** Redirect URIs of the clients that were made by hand. */
  readonly byHand: Map<string, readonly string[]>
  /** Queries of its authorization endpoint. */
  readonly asked: URLSearchParams[]
}

export async function startRealm(): Promise<Realm> {
  const clients = new Map<string, { readonly token: string; readonly redirectUris: readonly string[] }>()
  const front: WalkedProvider['front'] = { handler: (_req, _res, next) => next() }
  const site = await listen((req, res) => front.handler(req, res, () => void answer(req, res)))
  onTestFinished(() => site.close())
  const issuer = `${site.url}/realms/acme`
  const register = '/realms/acme/clients-registrations/openid-connect'
  const realm: Realm = {
    issuer,
    clients: () => [...clients.keys()],
    front,
    metadata: {
      issuer,
      authorization_endpoint: `${issuer}/protocol/openid-connect/auth`,
      token_endpoint: `${issuer}/protocol/openid-connect/token`,
      jwks_uri: `${issuer}/protocol/openid-connect/certs`,
      registration_endpoint: `${site.url}${register}`,
      response_types_supported: ['code', 'none'],
      code_challenge_methods_supported: ['plain', 'S256'],
      scopes_supported: ['openid', 'offline_access', 'notes:read'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
      authorization_response_iss_parameter_supported: true,
    },
    policy: { trustsHosts: true, offersDeletion: true },
    authorize: {},
    byHand: new Map(),
    secrets: [],
    deletions: () => deletions,
    asked: [],
  }
  let deletions = 0
  const json = (res: ServerResponse, status: number, value: unknown) =>
    res.writeHead(status, { 'content-type': 'application/json' }).end(value === undefined ? '' : JSON.stringify(value))

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<unknown> {
    const { pathname, searchParams } = new URL(req.url ?? '', issuer)
    if (pathname === '/realms/acme/.well-known/openid-configuration') return json(res, 200, realm.metadata)
    if (pathname === register && req.method === 'POST') return json(res, ...registered(await text(req)))
    if (pathname.startsWith(`${register}/`)) return json(res, ...managed(req, pathname.slice(register.length + 1)))
    if (pathname === '/realms/acme/protocol/openid-connect/auth') {
      realm.asked.push(searchParams)
      if (realm.authorize.answer !== undefined) return realm.authorize.answer(searchParams, res)
      const id = searchParams.get('client_id') ?? ''
      const uris = clients.get(id)?.redirectUris ?? realm.byHand.get(id)
      const fault = uris === undefined ? 'Client not found.' : 'Invalid parameter: redirect_uri'
      if (uris?.includes(searchParams.get('redirect_uri') ?? '') !== true) {
        return res.writeHead(400, { 'content-type': 'text/html' }).end(`<html>We are sorry... ${fault}</html>`)
      }
      return res.writeHead(200, { 'content-type': 'text/html' }).end('<html>Sign in to your account</html>')
    }
    return json(res, 404, { error: 'HTTP 404 Not Found' })
  }

  function registered(body: string): [status: number, value: unknown] {
    if (!realm.policy.trustsHosts) {
      const error_description =
        "Policy 'Trusted Hosts' rejected request to client-registration service. Details: Host not trusted."
      return [403, { error: 'insufficient_scope', error_description }]
    }
    const { redirect_uris: uris } = JSON.parse(body) as { redirect_uris: string[] }
    if (!uris.every((uri) => URL.canParse(uri))) {
      return [400, { error: 'invalid_client_metadata', error_description: 'A redirect URI is not a valid URI' }]
    }
    const [id, token] = [crypto.randomUUID(), crypto.randomUUID()]
    clients.set(id, { token, redirectUris: uris })
    const place = `${realm.policy.deletesAt ?? site.url}${register}/${id}`
    const management = { registration_client_uri: place, registration_access_token: token }
    const secret = crypto.randomUUID()
    realm.secrets.push(token, secret)
    return [201, { client_id: id, client_secret: secret, ...(realm.policy.offersDeletion && management) }]
  }

  function managed(req: IncomingMessage, id: string): [status: number, value: unknown] {
    if (req.method === 'DELETE') deletions += 1
    if (!realm.policy.offersDeletion) return [404, { error: 'HTTP 404 Not Found' }]
    if (req.headers.authorization !== `Bearer ${clients.get(id)?.token ?? '-'}`) {
      return [401, { error: 'invalid_token', error_description: 'Failed decode token' }]
    }
    if (req.method === 'DELETE') clients.delete(id)
    return [204, undefined]
  }
  return realm
}

export interface WalkSetup {
  /** The address of the MCP server. */
  readonly resource: string
  readonly front: { handler: ConnectHandler }
  readonly walk: (client: string, more?: readonly string[]) => Promise<Walked>
}

export interface Walked {
  readonly status: number
  readonly output: string
  readonly failed: readonly string[]
  readonly finding: (id: string) => Finding
}

/** An MCP server of that provider behind a proxy, to which clients walk. */
export async function setUpWalk(
  { issuer }: Pick<WalkedProvider, 'issuer'>,
  options: McpAuthOptions = {},
  path = '/mcp',
): Promise<WalkSetup> {
  const front: WalkSetup['front'] = { handler: (_req, _res, next) => next() }
  const site = await listen((req, res) =>
    front.handler(req, res, () => routes(req, res, () => auth(req, res, () => res.end('{}')))),
  )
  onTestFinished(() => site.close())
  const resource = `${site.url}${path}`
  const { requiredScopes = ['notes:read'] } = options
  const given = { issuer, resource, onEvent: () => undefined, ...options, requiredScopes }
  const auth = createMcpAuth(given, systemClock)
  onTestFinished(() => auth.close())
  const routes = auth.routes()
  return {
    resource,
    front,
    async walk(client, more = []) {
      const scopes = requiredScopes.length === 0 ? [] : ['--required-scopes', requiredScopes.join()]
      const setUp = ['--issuer', issuer, '--resource', resource, ...scopes]
      const { status, output } = await runIn(['--as', client, '--json', ...setUp, ...more])
      const { checks } = JSON.parse(output) as { checks: readonly Finding[] }
      return {
        status,
        output,
        failed: checks.filter((check) => check.status === 'failed').map(({ id }) => id),
        finding: (id) => checks.find((check) => check.id === id) ?? { id, status: 'left-out', found: 'not there' },
      }
    },
  }
}
