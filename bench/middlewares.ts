import type { RequestHandler } from 'express'
import { RESOURCE } from './tokens.js'

const GIVEN = Object.freeze({})

/** Each as its README has it, for tokens of one issuer and one audience; loaded only where it is measured. */
export const MIDDLEWARES: Readonly<Record<string, (issuer: string) => Promise<RequestHandler>>> = {
  bare: () => Promise.resolve((_req, _res, next) => next()),
  // The cost of any middleware that gives a request three properties, as this one must: in Express no two requests have one shape.
  'three properties': () =>
    Promise.resolve((req, _res, next) => {
      const passing = req as unknown as Record<string, unknown>
      passing['mcpAuth'] = GIVEN
      passing['auth'] = GIVEN
      passing['getNextcloudToken'] = GIVEN
      next()
    }),
  'mcp-nextcloud-auth': async (issuer) => {
    const { mcpAuth } = await import('../dist/index.js')
    return mcpAuth({ issuer, resource: RESOURCE })
  },
  'express-oauth2-jwt-bearer': async (issuer) => {
    const { auth } = await import('express-oauth2-jwt-bearer')
    return auth({ issuer, jwksUri: `${issuer}/jwks`, audience: RESOURCE, tokenSigningAlg: 'RS256' })
  },
  'express-jwt + jwks-rsa': async (issuer) => {
    const [{ expressjwt }, { default: jwksRsa }] = await Promise.all([import('express-jwt'), import('jwks-rsa')])
    return expressjwt({
      secret: jwksRsa.expressJwtSecret({ cache: true, jwksUri: `${issuer}/jwks` }) as never,
      audience: RESOURCE,
      issuer,
      algorithms: ['RS256'],
    })
  },
  '@modelcontextprotocol/express + jose': async (issuer) => {
    const { requireBearerAuth } = await import('@modelcontextprotocol/express')
    const { createRemoteJWKSet, jwtVerify } = await import('jose')
    const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`))
    return requireBearerAuth({
      verifier: {
        async verifyAccessToken(token) {
          const { payload } = await jwtVerify(token, keys, { issuer, audience: RESOURCE })
          const { client_id: clientId, scope, exp } = payload
          return { token, clientId: String(clientId), scopes: String(scope).split(' '), expiresAt: exp ?? 0 }
        },
      },
    })
  },
  'mcp-auth': async (issuer) => {
    const { fetchServerConfig, MCPAuth } = await import('mcp-auth')
    const server = await fetchServerConfig(issuer, { type: 'oidc' })
    return new MCPAuth({ server }).bearerAuth('jwt', { audience: RESOURCE })
  },
}
