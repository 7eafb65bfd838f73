import { request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import type { ManualClock } from '../clock.js'
import { find, createFile, parentOf, type Folder } from '../../../src/testing/nextcloud/files.js'
import { startStandIn, type NextcloudStandIn } from '../nextcloud/stand-in.js'
import { addAccount, type Account } from '../nextcloud/state.js'
import { startAuthorizationServer, type ScriptedAuthorizationServer } from '../scripted-authorization-server.js'
import type { ReceivedAnswer } from './compare.js'

/** The host that the recorded Nextcloud had. */
export const HOST = 'cloud.example.com'
export const PASSWORD = 'the account password'
export const NEW_PASSWORD = 'the new account password'
const RECORDED_PROVIDER = 'keycloak'

/** The stand-in as the recorded Nextcloud was set up, and the provider of its `user_oidc`. */
export interface Bed {
  readonly clock: ManualClock
  readonly nextcloud: NextcloudStandIn
  readonly as: ScriptedAuthorizationServer
  readonly alice: () => Account
  readonly send: (request: Sent) => Promise<ReceivedAnswer>
}

export interface Sent {
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer | undefined
  readonly host?: string
}

export const CLIENTS = {
  'mcp-server-client-id': {},
  'resource-server-client-id': { resourceUrl: 'https://mcp.example.com/mcp' },
  'mcp-client-id': { isPublic: true, jwt: true },
  'mcp-opaque-client-id': { isPublic: true },
}

export const secretOf = (clientId: string): string => `secret of ${clientId}`
export const CALLBACK = 'https://mcp.example.com/nextcloud/callback'
export const MCP_CALLBACK = 'https://mcp.example.com/cb'

export async function setUpBed(clock: ManualClock): Promise<Bed> {
  const as = await startAuthorizationServer(clock.now)
  const nextcloud = await startStandIn({
    now: clock.now,
    provider: { issuer: as.issuer, clientId: 'nextcloud', uid: 'preferred_username' },
  })
  const { state } = nextcloud
  for (const [clientId, more] of Object.entries(CLIENTS))
    state.oidcClients.push({
      id: state.nextId(),
      name: clientId,
      clientId,
      secret: secretOf(clientId),
      redirectUris: [CALLBACK, MCP_CALLBACK],
      ...more,
    })
  state.oauth2Clients.push({
    id: state.nextId(),
    name: RECORDED_PROVIDER,
    clientId: 'oauth2-client-id',
    secret: secretOf('oauth2-client-id'),
    redirectUris: [CALLBACK],
  })
  addAccount(state, 'alice', { password: PASSWORD, displayName: 'Alice Example', email: 'alice@example.com' })
  addAccount(state, 'frank', { backend: 'user_oidc' })
  for (const account of state.accounts.values())
    account.files.children.set('hello.txt', createFile(Buffer.from('hello')))
  return {
    clock,
    nextcloud,
    as,
    alice: () => state.accounts.get('alice')!,
    send: (sent) => send(nextcloud.url, sent),
  }
}

/** Sends a request as it is told, to the host that the recordings have. */
export async function send(
  url: string,
  { method, path, headers = {}, body, host = HOST }: Sent,
): Promise<ReceivedAnswer> {
  const { hostname, port } = new URL(url)
  const all = { host, 'x-forwarded-proto': 'https', ...headers }
  const sent = request({ hostname, port, method, path, headers: all, agent: false })
  sent.end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  return {
    status: response.statusCode ?? 0,
    headers: response.headers as ReceivedAnswer['headers'],
    text: await text(response),
  }
}

/** Puts a file into an account, with its folders. */
export function putFile(root: Folder, names: readonly string[], content = 'hello'): void {
  if (find(root, names) === undefined)
    parentOf(root, names)?.children.set(names.at(-1) ?? '', createFile(Buffer.from(content)))
}
