import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mcpAuth } from '../mcp-auth.js'
import { nextcloudSignIn } from '../nextcloud-sign-in/nextcloud-sign-in.js'
import { createApp } from './app.js'
import { openDataFolder } from './data-folder.js'
import { logEvents, type WriteLine } from './log.js'
import { redirectUriOf, type ServeSettings } from './settings.js'
import { SCOPES } from './tools/tool.js'

/** A server that runs. */
export interface RunningServe {
  readonly port: number
  /** Sentences for the operator. */
  readonly notes: readonly string[]
  /** Ends it: requests under way get `patience` milliseconds. */
  readonly stop: (patience: number) => Promise<void>
}

/**
 * Starts a whole MCP server for one Nextcloud.
 *
 * @throws {ConfigurationError} a setting is wrong
 * @throws {StorageError} the database cannot be used
 */
export async function startServe(
  settings: ServeSettings,
  { version, write }: { readonly version: string; readonly write: WriteLine },
): Promise<RunningServe> {
  const data = await openDataFolder(settings.data, settings.encryptionKey)
  const { resource, nextcloudUrl, nextcloudPublicUrl, clientId, clientSecret } = settings
  const signIn = await nextcloudSignIn({
    resource,
    nextcloud: { url: nextcloudUrl, publicUrl: nextcloudPublicUrl, clientId, clientSecret },
    scopes: SCOPES,
    storage: data.storage,
    encryptionKey: data.encryptionKey,
    onEvent: logEvents(write),
  })
  const auth = mcpAuth(signIn.options)
  const { app, close } = createApp({ settings, signIn, auth, version, write })
  const server = createServer(app)
  server.listen(settings.port, settings.host)
  await once(server, 'listening')
  const made = data.newKeyFile
  return {
    port: (server.address() as AddressInfo).port,
    notes: [
      ...(made === undefined
        ? []
        : [
            `Made an encryption key in ${made}. Without it the connections in the database cannot be read: keep a copy.`,
          ]),
      `In Nextcloud, the redirection URI of the OAuth 2.0 client must be ${redirectUriOf(settings)}`,
    ],
    async stop(patience) {
      await stopped(server, patience, async () => {
        // Ends the tool calls that wait for a user, and waits until rotated refresh tokens are stored.
        await auth.close()
        await signIn.close()
        await close()
      })
      data.close()
    },
  }
}

async function stopped(server: Server, patience: number, close: () => Promise<void>): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  // Requests that hang are cut off before an orchestrator kills the process.
  const cutOff = setTimeout(() => server.closeAllConnections(), patience)
  await close()
  server.closeIdleConnections()
  await closed
  clearTimeout(cutOff)
}
