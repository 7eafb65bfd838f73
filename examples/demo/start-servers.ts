import type { McpAuthEvent } from 'mcp-nextcloud-auth'
import { createNotesApp, scopes, type NotesApp } from './app.js'
import { withFrontPage } from './front-page.js'
import { startIdentityProvider, type IdentityProvider } from './identity-provider.js'
import { listenOnLoopback } from './loopback.js'
import { startNextcloud, type Nextcloud } from './nextcloud.js'

export interface Servers {
  readonly identityProvider: IdentityProvider
  readonly nextcloud: Nextcloud
  readonly notes: NotesApp
  /** The MCP endpoint on SDK v2, which is also its resource identifier. */
  readonly mcpUrl: string
  /** The MCP endpoint on SDK v1. */
  readonly mcpV1Url: string
  /** The MCP endpoint whose users connect Nextcloud in a browser. */
  readonly mcpConnectUrl: string
  close(): Promise<void>
}

/**
 * Starts the provider, Nextcloud and the MCP server in this process, on free loopback ports.
 *
 * @param options.onEvent hears every decision of the MCP server's guards
 */
export async function startServers({
  onEvent,
}: { readonly onEvent?: (event: McpAuthEvent) => void } = {}): Promise<Servers> {
  const identityProvider = await startIdentityProvider()
  const { issuer, client, nextcloudResource } = identityProvider
  const nextcloud = await startNextcloud({ issuer })
  const server = await listenOnLoopback()
  const { origin } = server
  const notes = createNotesApp({
    origin,
    issuer,
    client,
    nextcloudUrl: nextcloud.url,
    nextcloudResource,
    ...(onEvent && { onEvent }),
  })
  const mcpUrl = `${origin}/mcp`
  const mcpV1Url = `${origin}/mcp-v1`
  const mcpConnectUrl = `${origin}/mcp-connect`
  for (const url of [mcpUrl, mcpV1Url, mcpConnectUrl]) identityProvider.registerResource(url, scopes)
  identityProvider.registerConnectCallback(notes.authConnect.connectRedirectUri ?? '')
  server.serve(withFrontPage(notes.app, { identityProvider, nextcloud, mcpUrl, mcpV1Url, mcpConnectUrl }))

  return {
    identityProvider,
    nextcloud,
    notes,
    mcpUrl,
    mcpV1Url,
    mcpConnectUrl,
    async close() {
      await server.close()
      await Promise.all([notes.close(), nextcloud.close(), identityProvider.close()])
    },
  }
}
