import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { mcpAuth } from '../mcp-auth.js'
import { nextcloudSignIn } from '../nextcloud-sign-in/nextcloud-sign-in.js'
import { createApp } from './app.js'
import { DATABASE_FILE, KEY_FILE, openDataFolder, type DataFolder } from './data-folder.js'
import { createListener, type WriteLine } from './log.js'
import { portDoubt, redirectUriOf, type ServeSettings } from './settings.js'
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
 * Starts a whole MCP server for one Nextcloud. It makes files once it has its port, and a port is free again where it cannot start.
 *
 * @throws {ConfigurationError} a setting is wrong
 * @throws {StorageError} the database cannot be used
 */
export async function startServe(
  settings: ServeSettings,
  parts: { readonly version: string; readonly write: WriteLine },
): Promise<RunningServe> {
  let handle: RequestListener = notReady
  const server = createServer((req, res) => handle(req, res))
  server.listen(settings.port, settings.host)
  await once(server, 'listening')
  try {
    const { app, data, close } = await createServe(settings, parts)
    handle = app
    return {
      port: (server.address() as AddressInfo).port,
      notes: notesOf(settings, data),
      async stop(patience) {
        await stopped(server, patience, close.requests)
        close.data()
      },
    }
  } catch (error) {
    server.close()
    server.closeAllConnections()
    throw error
  }
}

const notReady: RequestListener = (_req, res) => void res.writeHead(503, { 'retry-after': '1' }).end()

async function createServe(
  settings: ServeSettings,
  { version, write }: { readonly version: string; readonly write: WriteLine },
) {
  const data = await openDataFolder(settings.data, settings.encryptionKey)
  const { resource, nextcloudUrl, nextcloudPublicUrl, clientId, clientSecret } = settings
  const signIn = await nextcloudSignIn({
    resource,
    nextcloud: { url: nextcloudUrl, publicUrl: nextcloudPublicUrl, clientId, clientSecret },
    scopes: SCOPES,
    storage: data.storage,
    encryptionKey: data.encryptionKey,
    onEvent: createListener(write),
  })
  const auth = mcpAuth(signIn.options)
  // Deletions that a stop has left undone are tried at once, and not first when somebody asks for something.
  void auth.ready().catch(() => undefined)
  const { app, close } = createApp({ settings, signIn, auth, version, write })
  return {
    app,
    data,
    close: {
      data: data.close,
      requests: async () => {
        // Ends the tool calls that wait for a user, and waits until rotated refresh tokens are stored.
        await Promise.all([auth.close(), signIn.close()])
        await close()
      },
    },
  }
}

function notesOf(settings: ServeSettings, { made, hasLost }: Pick<DataFolder, 'made' | 'hasLost'>): readonly string[] {
  const beside = made.includes(DATABASE_FILE) ? ', and a database beside it' : ''
  const key = `Made an encryption key in ${path.join(settings.data, KEY_FILE)}${beside}. Without the key the connections in the database cannot be read: keep a copy.`
  const lost = `${path.join(settings.data, DATABASE_FILE)} has nothing in it, although this is not a first start: what it had is lost or elsewhere, and every app signs in again. If the folder is a copy, that is in the file ${DATABASE_FILE}-wal beside the original: stop both servers, copy the whole folder, and start one of them.`
  const doubt = portDoubt(settings)
  return [
    ...(made.includes(KEY_FILE) ? [key] : made.map((name) => `Made ${path.join(settings.data, name)}`)),
    ...(hasLost ? [lost] : []),
    `In Nextcloud, the redirection URI of the OAuth 2.0 client must be ${redirectUriOf(settings)}`,
    ...(doubt === undefined ? [] : [`${doubt.found}: ${doubt.fix}`]),
  ]
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
