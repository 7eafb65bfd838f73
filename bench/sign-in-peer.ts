/** A program: oidc-provider with its own memory adapter, where everybody is signed in at once. Says its origin, and ends with its parent. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import { Provider } from 'oidc-provider'

process.on('disconnect', () => process.exit())
const server = createServer()
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const resource = `${origin}/mcp`
const { privateKey } = await generateKeyPair('ES256', { extractable: true })

const provider = new Provider(origin, {
  jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig' }] },
  cookies: { keys: ['bench'] },
  clientAuthMethods: ['none'],
  clientDefaults: {
    token_endpoint_auth_method: 'none',
    id_token_signed_response_alg: 'ES256',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  },
  scopes: ['openid', 'offline_access'],
  responseTypes: ['code'],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
  expiresWithSession: () => false,
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  ttl: { AccessToken: 600, Grant: 3_600, Interaction: 600, RefreshToken: 3_600, Session: 3_600 },
  interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true, issueRegistrationAccessToken: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      getResourceServerInfo: () => ({
        audience: resource,
        scope: 'nextcloud',
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
      useGrantedResource: () => true,
    },
  },
  routes: { authorization: '/oauth/authorize', token: '/oauth/token', registration: '/oauth/register' },
})
const handle = provider.callback()

async function signIn(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { params, uid } = await provider.interactionDetails(req, res)
  const grant = new provider.Grant({ accountId: uid, clientId: String(params['client_id']) })
  grant.addResourceScope(resource, 'nextcloud')
  const result = { login: { accountId: uid }, consent: { grantId: await grant.save() } }
  res.writeHead(303, { location: await provider.interactionResult(req, res, result) }).end()
}

server.on('request', (req: IncomingMessage, res: ServerResponse) => {
  if (req.url?.startsWith('/interaction/') === true) signIn(req, res).catch(() => res.destroy())
  else void handle(req, res)
})
process.send?.(origin)
