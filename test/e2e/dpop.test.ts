import { decodeJwt } from 'jose'
import * as oauth from 'oauth4webapi'
import { describe, expect, it, onTestFinished } from 'vitest'
import { browserOf } from '../../examples/demo/client.js'
import { startIdentityProvider } from '../../examples/demo/identity-provider.js'
import { mcpAuth } from '../../src/index.js'
import { hosts, listen, type RunningApp } from '../support/hosts.js'
import { showCaller } from '../support/protected-app.js'

// eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so to stand out; this is loopback
const INSECURE = { [oauth.allowInsecureRequests]: true } as const
const REDIRECT_URI = 'http://127.0.0.1/callback'

/** An address that is known before the app behind it is there. */
async function address(): Promise<{ readonly port: number; readonly resource: string }> {
  const free = await listen(() => undefined)
  await free.close()
  const port = Number(new URL(free.url).port)
  return { port, resource: `${free.url}/mcp` }
}

/** A client signs a person in, from the challenge to a token that is bound to its key. */
async function signIn(app: RunningApp, resource: string) {
  const challenged = await fetch(resource, { method: 'POST' })
  const metadataUrl = /resource_metadata="([^"]+)"/.exec(challenged.headers.get('WWW-Authenticate') ?? '')?.[1] ?? ''
  expect(metadataUrl).toMatch(app.url)
  const asked = await oauth.resourceDiscoveryRequest(new URL(resource), INSECURE)
  const { authorization_servers: [issuer = ''] = [] } = await oauth.processResourceDiscoveryResponse(
    new URL(resource),
    asked,
  )
  const discovered = await oauth.discoveryRequest(new URL(issuer), INSECURE)
  const as = await oauth.processDiscoveryResponse(new URL(issuer), discovered)
  const registration = { redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none' }
  const client: oauth.Client = await oauth.processDynamicClientRegistrationResponse(
    await oauth.dynamicClientRegistrationRequest(as, registration, INSECURE),
  )

  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint ?? '')
  url.search = new URLSearchParams({
    ...{ client_id: client.client_id, redirect_uri: REDIRECT_URI, response_type: 'code', resource, state },
    ...{ scope: 'notes:read', code_challenge: await oauth.calculatePKCECodeChallenge(verifier) },
    code_challenge_method: 'S256',
  }).toString()
  const callback = await browserOf('alice').open(url, REDIRECT_URI)

  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
  const answer = await oauth.authorizationCodeGrantRequest(
    as,
    client,
    oauth.None(),
    oauth.validateAuthResponse(as, client, callback, state),
    REDIRECT_URI,
    verifier,
    { ...INSECURE, DPoP, additionalParameters: { resource } },
  )
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer)
  return { client, DPoP, tokens }
}

describe.each(hosts)('on $name', (host) => {
  it.each(['allowed', 'required'] as const)(
    'a client of oauth4webapi signs in at oidc-provider, and its bound token gets in with dpop %s and no other way',
    async (dpop) => {
      const provider = await startIdentityProvider()
      onTestFinished(() => provider.close())
      const { port, resource } = await address()
      provider.registerResource(resource, ['notes:read'])
      const auth = mcpAuth({
        issuer: provider.issuer,
        resource,
        dpop,
        requiredScopes: ['notes:read'],
        onEvent: () => undefined,
      })
      onTestFinished(() => auth.close())
      const app = await host.start([auth.routes(), auth, showCaller], { port })
      onTestFinished(app.close)
      const { client, DPoP, tokens } = await signIn(app, resource)
      const call = (handle: oauth.DPoPHandle | undefined, path = '') =>
        oauth
          .protectedResourceRequest(tokens.access_token, 'POST', new URL(resource + path), undefined, undefined, {
            ...INSECURE,
            ...(handle && { DPoP: handle }),
          })
          .catch((error: unknown) => error)

      expect(tokens.token_type).toBe('dpop')
      expect(decodeJwt(tokens.access_token)).toMatchObject({ cnf: { jkt: await DPoP.calculateThumbprint() } })
      for (const path of ['', '?query=1', '']) {
        const response = (await call(DPoP, path)) as Response
        expect(response.status).toBe(200)
        expect(await response.json()).toMatchObject({ subject: 'alice' })
      }

      for (const handle of [undefined, oauth.DPoP(client, await oauth.generateKeyPair('ES256'))]) {
        const refusal = (await call(handle)) as oauth.WWWAuthenticateChallengeError
        expect(refusal).toBeInstanceOf(oauth.WWWAuthenticateChallengeError)
        expect(refusal.status).toBe(401)
        expect(refusal.cause.map(({ scheme, parameters }) => [scheme, parameters.error])).toEqual([
          ...(dpop === 'allowed' ? [['bearer', 'invalid_token']] : []),
          ['dpop', 'invalid_token'],
        ])
        expect(refusal.cause.at(-1)?.parameters.algs?.split(' ')).toContain('ES256')
      }
    },
  )
})
