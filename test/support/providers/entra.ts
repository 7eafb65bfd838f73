import { createHash, randomBytes } from 'node:crypto'
import type { ManualClock } from '../clock.js'
import { NONE, refusal, STAND_IN_SECRET, startStandIn, type Refusal, type StandIn } from './stand-in.js'

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
/** Scopes that are those of no app. */
const STANDARD = ['openid', 'profile', 'email', 'offline_access']

/** An app registration, as far as others ask for it or it asks for others. */
export interface AppRegistration {
  readonly id: string
  /** Of the API that it exposes. */
  readonly applicationIdUri?: string
  /** Names of the scopes that it exposes. */
  readonly scopes?: readonly string[]
  /** Of the platforms of a client. */
  readonly redirectUris?: readonly string[]
}

export interface Entra extends StandIn {
  /** What a Conditional Access policy for Nextcloud's app asks for, as Entra's `claims`; undefined: nothing. */
  policy: string | undefined
  /** Whether somebody has consented to this server's use of Nextcloud's app. */
  consented: boolean
  /** `requestedAccessTokenVersion` of this server's app. */
  version: 1 | 2
  /** The user signs in at an MCP client, which asks for these claims. */
  readonly signIn: (user: string, client: string, claims?: string) => Promise<string>
  /** A token that an application gets for itself (client credentials). */
  readonly signInAsApplication: (client: string) => Promise<string>
  /** Resources and scopes of the authorization requests that were let through. */
  readonly authorized: { readonly resource: string | null; readonly scope: string }[]
}

/** One tenant of Entra: its code flow, and on-behalf-of from one app to another. */
export async function startEntra(
  clock: ManualClock,
  tenant: string,
  { mcp, nextcloud, clients = [] }: Record<'mcp' | 'nextcloud', AppRegistration> & { clients?: AppRegistration[] },
): Promise<Entra> {
  const standIn = await startStandIn(clock, `/${tenant}/v2.0`, {
    token_endpoint: `/${tenant}/oauth2/v2.0/token`,
    authorization_endpoint: `/${tenant}/oauth2/v2.0/authorize`,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt', 'client_secret_basic'],
  })
  const apps = [mcp, nextcloud]
  /** Tokens of users who have done what these claims ask for. */
  const satisfied = new Map<string, string>()
  const codes = new Map<string, { readonly client: string; readonly query: URLSearchParams }>()

  const entra: Entra = {
    ...standIn,
    policy: undefined,
    consented: true,
    version: 2,
    authorized: [],
    async signIn(user, client, claims) {
      const token = await mint(user, mcp, client, 'tools')
      if (claims !== undefined) satisfied.set(token, claims)
      return token
    },
    signInAsApplication: (client) =>
      standIn.mint({
        ...claimsOf(mcp, client),
        oid: `sp-${client}`,
        sub: `sp-${client}`,
        idtyp: 'app',
        roles: ['Tool'],
      }),
  }

  /** Version 1 has another issuer, and the audience that was asked for. `sub` differs from app to app, `oid` is the person. */
  function claimsOf({ id, applicationIdUri }: AppRegistration, client: string) {
    const more = { tid: tenant, uti: randomBytes(16).toString('base64url'), ...NONE }
    return id === mcp.id && entra.version === 1
      ? {
          iss: `https://sts.windows.net/${tenant}/`,
          ver: '1.0',
          aud: applicationIdUri ?? id,
          appid: client,
          appidacr: '0',
          ...more,
        }
      : { ver: '2.0', aud: id, azp: client, azpacr: '0', ...more }
  }

  function mint(user: string, app: AppRegistration, client: string, scp: string): Promise<string> {
    const sub = createHash('sha256').update(`${user} ${app.id}`).digest('base64url')
    return standIn.mint({ ...claimsOf(app, client), oid: user, sub, scp })
  }

  /** The app whose scopes are asked for, or why there is none. A scope without an Application ID URI is taken for one of Microsoft Graph. */
  function appOf(query: URLSearchParams): { readonly app: AppRegistration; readonly names: string[] } | Refusal {
    const scopes = (query.get('scope') ?? '').split(' ').filter((scope) => scope !== '' && !STANDARD.includes(scope))
    const [uri, ...others] = new Set(scopes.map((scope) => scope.slice(0, Math.max(0, scope.lastIndexOf('/')))))
    const names = scopes.map((scope) => scope.slice(scope.lastIndexOf('/') + 1))
    const resource = query.get('resource')
    // Compared as strings: a slash at the end makes a difference.
    if (resource !== null && resource !== uri) {
      return aadsts(
        'invalid_target',
        9010010,
        "The resource parameter provided in the request doesn't match with the requested scopes.",
      )
    }
    const app = apps.find(({ id, applicationIdUri }) => uri !== '' && [applicationIdUri, `api://${id}`].includes(uri))
    if (others.length > 0)
      return aadsts('invalid_request', 28000, 'Provided value for the input parameter scope is not valid.')
    if (uri === '' || uri === undefined) {
      return aadsts(
        'invalid_client',
        650053,
        `The application asked for scope '${names.join(' ')}' that doesn't exist on the resource '00000003-0000-0000-c000-000000000000'.`,
      )
    }
    if (app === undefined)
      return aadsts('invalid_resource', 500011, `The resource principal named ${uri} was not found in the tenant.`)
    const unknown = names.find((name) => name !== '.default' && app.scopes?.includes(name) !== true)
    if (unknown !== undefined)
      return aadsts(
        'invalid_client',
        650053,
        `The application asked for scope '${unknown}' that doesn't exist on the resource.`,
      )
    return { app, names }
  }

  standIn.as.script(`/${tenant}/oauth2/v2.0/authorize`, ({ query }, res) => {
    const client = clients.find(({ id }) => id === query.get('client_id'))
    const redirectUri = query.get('redirect_uri') ?? ''
    // What cannot go back to the client is a page, under 200.
    if (client === undefined)
      return void res.end('<html>AADSTS700016: Application was not found in the directory.</html>')
    if (!hasRedirectUri(client, redirectUri))
      return void res.end('<html>AADSTS50011: The redirect URI does not match.</html>')
    const found = appOf(query)
    const answer = new URLSearchParams({ state: query.get('state') ?? '' })
    if ('error' in found) {
      answer.set('error', found.error)
      answer.set('error_description', found.error_description ?? '')
    } else {
      const code = randomBytes(16).toString('base64url')
      codes.set(code, { client: client.id, query })
      answer.set('code', code)
      entra.authorized.push({ resource: query.get('resource'), scope: query.get('scope') ?? '' })
    }
    res.writeHead(302, { location: `${redirectUri}?${answer.toString()}` }).end()
  })

  standIn.tokenEndpoint(`/${tenant}/oauth2/v2.0/token`, async (form, client) => {
    if (form.get('grant_type') === 'authorization_code') return redeem(form, client.id)
    if (client.id !== mcp.id || client.secret !== STAND_IN_SECRET) {
      return aadsts('invalid_client', 7000215, 'Invalid client secret provided.', { status: 401 })
    }
    return onBehalfOf(form)
  })

  async function redeem(form: URLSearchParams, client: string): Promise<Record<string, unknown>> {
    const granted = codes.get(form.get('code') ?? '')
    codes.delete(form.get('code') ?? '')
    if (granted?.client !== client) return aadsts('invalid_grant', 70000, 'Provided grant is invalid or malformed.')
    const { query } = granted
    const resource = form.get('resource') ?? query.get('resource')
    const asked = new URLSearchParams({ scope: query.get('scope') ?? '', ...(resource !== null && { resource }) })
    const found = appOf(asked)
    if ('error' in found) return found
    const access_token = await mint('alice', found.app, client, found.names.join(' '))
    return { token_type: 'Bearer', scope: query.get('scope'), expires_in: 3_269, access_token }
  }

  async function onBehalfOf(form: URLSearchParams): Promise<Record<string, unknown>> {
    if (form.get('grant_type') !== JWT_BEARER) {
      return aadsts('unsupported_grant_type', 70003, 'The app requested an unsupported grant type.')
    }
    const missing = ['assertion', 'scope', 'requested_token_use'].find((name) => !form.has(name))
    if (missing !== undefined) {
      return aadsts('invalid_request', 900144, `The request body must contain the following parameter: '${missing}'.`)
    }
    const assertion = form.get('assertion') ?? ''
    const claims = await standIn.open(assertion)
    if (claims === undefined) return aadsts('invalid_grant', 50013, 'Assertion failed signature validation.')
    if (![mcp.id, mcp.applicationIdUri].includes(String(claims['aud']))) {
      const text = `Assertion audience does not match the Client app presenting the assertion. The audience in the assertion was '${String(claims['aud'])}'.`
      return aadsts('invalid_grant', 500131, text)
    }
    if (claims['idtyp'] === 'app') {
      return aadsts(
        'unauthorized_client',
        7000114,
        `Application '${mcp.id}' is not allowed to make application on-behalf-of calls.`,
      )
    }
    const found = appOf(form)
    if ('error' in found) return found
    if (!entra.consented) {
      const text = `The user or administrator has not consented to use the application with ID '${mcp.id}'.`
      return aadsts('invalid_grant', 65001, text, { suberror: 'consent_required' })
    }
    if (entra.policy !== undefined && satisfied.get(assertion) !== entra.policy) {
      const text = `you must use multi-factor authentication to access '${nextcloud.id}'.`
      return aadsts('interaction_required', 50076, text, { suberror: 'basic_action', claims: entra.policy })
    }
    return {
      token_type: 'Bearer',
      scope: `api://${nextcloud.id}/access`,
      expires_in: 3_269,
      ext_expires_in: 3_269,
      access_token: await mint(String(claims['oid']), found.app, mcp.id, 'access'),
    }
  }

  return entra
}

/** Of a loopback address the port is not compared, where it is `localhost` (RFC 8252 §7.3, as Entra has it). */
function hasRedirectUri({ redirectUris = [] }: AppRegistration, asked: string): boolean {
  return redirectUris.some(
    (uri) =>
      uri === asked ||
      (uri.startsWith('http://localhost/') && asked.replace(/^(http:\/\/localhost):\d+/, '$1') === uri),
  )
}

function aadsts(error: string, code: number, text: string, more: Record<string, unknown> = {}) {
  const ids = 'Trace ID: b72a68c3-0926-4b8e-bc35-3150069c2800\r\nCorrelation ID: 73d656cf-54b1-4eb2-b429-26d8165a52d7'
  return refusal(error, `AADSTS${code}: ${text}\r\n${ids}\r\nTimestamp: 2026-01-01 00:00:00Z`, {
    error_codes: [code],
    ...more,
  })
}
