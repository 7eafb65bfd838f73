import { createHash } from 'node:crypto'
import type { ManualClock } from '../clock.js'
import { NONE, refusal, STAND_IN_SECRET, startStandIn, type StandIn } from './stand-in.js'

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

export interface Entra extends StandIn {
  /** What a Conditional Access policy for Nextcloud's app asks for, as Entra's `claims`; undefined: nothing. */
  policy: string | undefined
  /** Whether somebody has consented to this server's use of Nextcloud's app. */
  consented: boolean
  /** The user signs in at an MCP client, which asks for these claims. */
  readonly signIn: (user: string, client: string, claims?: string) => Promise<string>
}

/** Entra's on-behalf-of flow in one tenant. */
export async function startEntra(
  clock: ManualClock,
  tenant: string,
  mcpApp: string,
  nextcloudApp: string,
): Promise<Entra> {
  const standIn = await startStandIn(clock, `/${tenant}/v2.0`, {
    token_endpoint: `/${tenant}/oauth2/v2.0/token`,
    authorization_endpoint: `/${tenant}/oauth2/v2.0/authorize`,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt', 'client_secret_basic'],
  })
  /** Tokens of users who have done what these claims ask for. */
  const satisfied = new Map<string, string>()

  const entra: Entra = {
    ...standIn,
    policy: undefined,
    consented: true,
    async signIn(user, client, claims) {
      const token = await mint(user, mcpApp, client, 'mcp')
      if (claims !== undefined) satisfied.set(token, claims)
      return token
    },
  }

  /** Version 2 of its tokens: `sub` differs from app to app, `oid` is the person. */
  function mint(user: string, app: string, client: string, scp: string): Promise<string> {
    const sub = createHash('sha256').update(`${user} ${app}`).digest('base64url')
    return standIn.mint({ ver: '2.0', tid: tenant, oid: user, sub, aud: app, azp: client, azpacr: '0', scp, ...NONE })
  }

  standIn.tokenEndpoint(`/${tenant}/oauth2/v2.0/token`, async (form, client) => {
    if (client.id !== mcpApp || client.secret !== STAND_IN_SECRET) {
      return aadsts('invalid_client', 7000215, 'Invalid client secret provided.', { status: 401 })
    }
    if (form.get('grant_type') !== JWT_BEARER) {
      return aadsts('unsupported_grant_type', 70003, 'The app requested an unsupported grant type.')
    }
    const missing = ['assertion', 'scope', 'requested_token_use'].find((name) => !form.has(name))
    if (missing !== undefined) {
      return aadsts('invalid_request', 900144, `The request body must contain the following parameter: '${missing}'.`)
    }
    const assertion = form.get('assertion') ?? ''
    const claims = await standIn.open(assertion)
    if (claims?.['aud'] !== mcpApp) return aadsts('invalid_grant', 50013, 'Assertion failed signature validation.')
    if (form.get('scope') !== `api://${nextcloudApp}/.default`) {
      return aadsts('invalid_scope', 70011, 'The provided request must include a scope input parameter.')
    }
    if (!entra.consented) {
      const text = `The user or administrator has not consented to use the application with ID '${mcpApp}'.`
      return aadsts('invalid_grant', 65001, text, { suberror: 'consent_required' })
    }
    if (entra.policy !== undefined && satisfied.get(assertion) !== entra.policy) {
      const text = `you must use multi-factor authentication to access '${nextcloudApp}'.`
      return aadsts('interaction_required', 50076, text, { suberror: 'basic_action', claims: entra.policy })
    }
    return {
      token_type: 'Bearer',
      scope: `api://${nextcloudApp}/access`,
      expires_in: 3_269,
      ext_expires_in: 3_269,
      access_token: await mint(String(claims['oid']), nextcloudApp, mcpApp, 'access'),
    }
  })

  return entra
}

function aadsts(error: string, code: number, text: string, more: Record<string, unknown> = {}) {
  const ids = 'Trace ID: b72a68c3-0926-4b8e-bc35-3150069c2800\r\nCorrelation ID: 73d656cf-54b1-4eb2-b429-26d8165a52d7'
  return refusal(error, `AADSTS${code}: ${text}\r\n${ids}\r\nTimestamp: 2026-01-01 00:00:00Z`, {
    error_codes: [code],
    ...more,
  })
}
