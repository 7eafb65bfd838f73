import type { RequestListener } from 'node:http'
import type { OAuthClientProvider } from '@modelcontextprotocol/client'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { decodeJwt } from 'jose'
import { describe, expect, it, onTestFinished } from 'vitest'
import { browserOf } from '../../examples/demo/client.js'
import { startIdentityProvider } from '../../examples/demo/identity-provider.js'
import { listenOnLoopback } from '../../examples/demo/loopback.js'
import { startNextcloud } from '../../examples/demo/nextcloud.js'
import { createOAuthClient } from '../../examples/demo/oauth-client.js'
import { createMcp } from '../../examples/hono/mcp.js'
import { mcpAuth } from '../../src/index.js'
import { SDK_NAMES, SDKS, signIn } from '../support/app-clients.js'
import { has } from '../support/left-out.js'
import { runPythonClient } from '../support/python-client.js'

const SCOPE = 'notes:read'

/** An MCP server whose clients sign in at a provider of its own, an oidc-provider with registration. */
async function startServer() {
  const provider = await startIdentityProvider()
  const nextcloud = await startNextcloud({ issuer: provider.issuer })
  const server = await listenOnLoopback()
  const resource = `${server.origin}/mcp`
  provider.registerResource(resource, [SCOPE])
  const auth = mcpAuth({
    issuer: provider.issuer,
    ...provider.client,
    resource,
    nextcloud: { url: nextcloud.url },
    requiredScopes: [SCOPE],
    scopesSupported: [SCOPE],
    // For SDK 1.11, which looks for the provider here.
    legacyMetadata: true,
    onEvent: () => undefined,
  })
  const routes = auth.routes()
  const handle = toNodeHandler(createMcp(auth))
  const serve: RequestListener = (req, res) =>
    routes(req, res, () => auth(req, res, () => void handle(req as never, res)))
  server.serve(serve)
  onTestFinished(async () => {
    await auth.close()
    await Promise.all([server.close(), nextcloud.close(), provider.close()])
  })
  return { resource, nextcloud }
}

describe('at a provider that is neither this server nor Nextcloud', () => {
  it.each(SDK_NAMES)(
    'a client of the SDK %s that knows the URL alone registers, signs its user in, and its tool acts in Nextcloud',
    async (sdk) => {
      const { resource, nextcloud } = await startServer()
      const browser = browserOf('alice')
      const asked: URL[] = []
      let last: URL | undefined
      const oauth = createOAuthClient({
        ...browser,
        open: async (url, stopAt) => {
          asked.push(new URL(url))
          return (last = await browser.open(url, stopAt))
        },
      })
      // SDK 1.11 reads no scope from a 401: its app names it.
      const clientMetadata = { ...oauth.provider.clientMetadata, ...(sdk === 'v1.11' && { scope: SCOPE }) }
      const provider: OAuthClientProvider = { ...oauth.provider, clientMetadata }
      const client = await signIn(() =>
        SDKS[sdk](
          new URL(resource),
          provider,
          () => oauth.callback(),
          () => last,
        ),
      )
      const answer = await client.callTool('whoami')
      await client.close()

      expect(answer).toContain('alice')
      expect(asked.map(({ searchParams }) => [searchParams.get('resource'), searchParams.get('scope')])).toEqual([
        [sdk === 'v1.11' ? null : resource, SCOPE],
      ])
      expect(decodeJwt(oauth.accessToken())).toMatchObject({ aud: resource, sub: 'alice', scope: SCOPE })
      expect(nextcloud.received.at(-1)?.claims).toMatchObject({
        aud: 'nextcloud',
        sub: 'alice',
        client_id: 'mcp-server',
      })
    },
  )

  it.runIf(has('Python SDK'))('a client of the Python SDK does the same', async () => {
    const { resource } = await startServer()
    const browser = browserOf('bob')
    const { asked, results } = await runPythonClient({
      url: resource,
      tools: ['whoami'],
      open: (url, stopAt) => browser.open(new URL(url), stopAt),
    })

    expect(asked.map((query) => [query.get('resource'), query.get('scope')])).toEqual([
      [resource, `${SCOPE} offline_access`],
    ])
    expect(results).toEqual([{ result: [expect.stringContaining('"id":"bob"')], error: false }])
  })
})
