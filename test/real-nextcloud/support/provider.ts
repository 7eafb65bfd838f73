import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { inject } from 'vitest'
import { jwtVerify, decodeJwt } from 'jose'
import type { McpAuthOptions } from '../../../src/options.js'
import { createRealm } from '../../keycloak/support/realm.js'
import { signIn } from '../../keycloak/support/tokens.js'
import { leaveOut } from '../../support/left-out.js'
import { startAuthorizationServer, type ReceivedRequest } from '../../support/scripted-authorization-server.js'
import type { Account, Target } from './target.js'

/** The authorization server of MCP tokens, whose tokens Nextcloud takes by `user_oidc`. */
export interface Provider {
  readonly issuer: string
  /** Options of the MCP server that are the provider's. */
  readonly options: McpAuthOptions
  readonly resource: string
  /** Signs an account in at an MCP client: its token. */
  readonly mcpToken: (account: Account) => Promise<string>
  /** A token that is for Nextcloud as well. */
  readonly tokenForBoth: (account: Account) => Promise<string>
  /** Sets `user_oidc` up; more options of `occ user_oidc:provider`. */
  readonly trust: (...options: readonly string[]) => Promise<void>
}

const NAME = 'mcp-test'
export const RESOURCE = 'https://mcp.example.com/mcp'

/** A real Keycloak where there is one, else a scripted server that exchanges as Keycloak does. */
export async function openProvider(target: Target): Promise<Provider> {
  const keycloak = inject('keycloak') as { readonly url: string } | undefined
  if (keycloak === undefined) leaveOut('Keycloak', 'KEYCLOAK_HOME is not set; a scripted server exchanges in its place')
  const provider = keycloak === undefined ? await scripted(target) : await realKeycloak()
  const trust = async (...options: readonly string[]): Promise<void> => {
    const discovery = `${provider.issuer}/.well-known/openid-configuration`
    const client = ['--clientid=nextcloud', '--clientsecret=not-used-for-bearers', `--discoveryuri=${discovery}`]
    await target.occ('user_oidc:provider', NAME, ...client, '--check-bearer=1', ...options)
  }
  await trust('--mapping-uid=preferred_username', '--unique-uid=0')
  target.after(() => target.occ('user_oidc:provider:delete', NAME, '--force'))
  return { ...provider, resource: RESOURCE, trust }
}

type Issuing = Omit<Provider, 'trust' | 'resource'>

async function realKeycloak(): Promise<Issuing> {
  const realm = await createRealm()
  const known = new Set<string>()
  /** Keycloak's user of an account, by the same name and password. */
  async function userOf({ uid, password }: Account): Promise<void> {
    if (known.has(uid)) return
    known.add(uid)
    await realm.admin('POST', '/users', {
      ...{ username: uid, enabled: true, emailVerified: true, email: `${uid}@example.com` },
      ...{ firstName: 'Test', lastName: uid },
      credentials: [{ type: 'password', value: password, temporary: false }],
    })
  }
  const tokenOf = async (account: Account): Promise<string> => {
    await userOf(account)
    return (await signIn({ ...realm, password: account.password }, { username: account.uid })).token
  }
  return {
    issuer: realm.issuer,
    options: {
      ...{ issuer: realm.issuer, clientId: 'mcp-server', clientSecret: realm.clientSecret },
      nextcloud: { preset: 'keycloak' },
    },
    mcpToken: tokenOf,
    async tokenForBoth(account) {
      await realm.addDefaultScope('mcp-client', 'nextcloud-audience')
      try {
        return await tokenOf(account)
      } finally {
        await realm.removeDefaultScope('mcp-client', 'nextcloud-audience')
      }
    },
  }
}

/** No word of the doctor begins it, which names files of secrets: the tests look for its parts in what the doctor says. */
const SECRET = randomBytes(18).toString('base64url')

async function scripted(target: Target): Promise<Issuing> {
  const as = await startAuthorizationServer()
  target.after(() => as.close())
  Object.assign(as.metadata, { introspection_endpoint: undefined })
  as.script('/token', async ({ form }: ReceivedRequest, res: ServerResponse) => {
    const answer = (status: number, value: object) =>
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:token-exchange')
      return answer(400, { error: 'invalid_grant' })
    const subjectToken = form.get('subject_token') ?? ''
    const verified = await jwtVerify(subjectToken, as.key.publicJwk).catch(() => undefined)
    if (verified === undefined) return answer(400, { error: 'invalid_request', error_description: 'Invalid token' })
    const { sub, preferred_username } = decodeJwt(subjectToken)
    const token = await as.mint({ sub, preferred_username, aud: form.get('audience'), client_id: 'mcp-server' })
    return answer(200, {
      access_token: token,
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: 300,
    })
  })
  const claims = ({ uid }: Account) => ({ sub: `id-of-${uid}`, preferred_username: uid, client_id: 'mcp-client' })
  return {
    issuer: as.issuer,
    options: { issuer: as.issuer, clientId: 'mcp-server', clientSecret: SECRET },
    mcpToken: (account) => as.mint({ ...claims(account), aud: RESOURCE }),
    tokenForBoth: (account) => as.mint({ ...claims(account), aud: [RESOURCE, 'nextcloud'] }),
  }
}
