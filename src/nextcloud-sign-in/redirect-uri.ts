import { isTooLong, LONGEST_CLIENT_ID } from '../client-id.js'
import { ConfigurationError } from '../errors/errors.js'

const LONGEST_URI = 2_000

/** Hosts at which http is safe (RFC 8252 §7.3). `localhost` is there because most MCP clients use it. */
const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])$/

/** Private-use schemes in the form of RFC 8252 §7.1: a domain name in reverse, so that each has an owner. */
const REVERSE_DOMAIN = /^[a-z][a-z\d+-]*(?:\.[a-z\d+-]+)+$/

/**
 * Schemes without a dot that apps use for the answers to their MCP sign-ins: Cursor (`cursor://anysphere.cursor-mcp/oauth/callback`,
 * github.com/modelcontextprotocol/python-sdk/pull/895), Warp (`warp://mcp/oauth2callback`, github.com/warpdotdev/warp), and the editors
 * that hand `scheme://publisher.extension/…` to an extension (code.visualstudio.com/api/references/vscode-api#UriHandler).
 */
const OF_APPS = new Set([
  'claude',
  'cursor',
  'goose',
  'kiro',
  'raycast',
  'trae',
  'vscode',
  'vscode-insiders',
  'vscodium',
  'warp',
  'windsurf',
  'zed',
])

/** Names the reason why codes may not be sent to an address, for clients of any kind. Undefined: they may. */
export function redirectProblem(uri: unknown): string | undefined {
  if (typeof uri !== 'string' || uri.length > LONGEST_URI || !URL.canParse(uri)) return 'A redirect URI is not a URL'
  const { protocol, hostname, username, password } = new URL(uri)
  if (uri.includes('#')) return 'A redirect URI must not have a fragment (RFC 6749 section 3.1.2)'
  if (username !== '' || password !== '') return 'A redirect URI must not hold a user name or password'
  const scheme = protocol.slice(0, -1)
  if (scheme === 'https') return undefined
  if (scheme === 'http') {
    return LOOPBACK.test(hostname) ? undefined : 'A redirect URI must be https, or http on loopback'
  }
  return REVERSE_DOMAIN.test(scheme) || OF_APPS.has(scheme)
    ? undefined
    : 'The scheme of a redirect URI must be https, a domain name in reverse (RFC 8252 section 7.1) or that of a known app'
}

/** Metadata of a client with these redirect URIs: on loopback, its port is free (RFC 8252 §7.3). */
export function clientOf(redirectUris: readonly string[]) {
  const isNative = redirectUris.some((uri) => !uri.startsWith('https:'))
  return { application_type: isNative ? 'native' : 'web', redirect_uris: [...redirectUris] } as const
}

/** @throws {ConfigurationError} codes may not be sent to an address of a client */
export function checkClients(
  clients: readonly { readonly clientId: string; readonly redirectUris: readonly string[] }[],
): void {
  for (const { clientId, redirectUris } of clients) {
    if (isTooLong(clientId))
      throw new ConfigurationError(`A client_id has at most ${LONGEST_CLIENT_ID} bytes`, 'clients')
    const problem = redirectUris.map(redirectProblem).find((found) => found !== undefined)
    if (problem !== undefined) throw new ConfigurationError(problem, 'clients')
  }
}

/** The place of a redirect URI. */
export interface Target {
  /** Its host, or the scheme of an app on this device. */
  readonly place: string
  readonly isOnDevice: boolean
}

export function targetOf(redirectUri: string): Target {
  if (!URL.canParse(redirectUri)) return { place: '', isOnDevice: false }
  const { protocol, hostname, host } = new URL(redirectUri)
  if (protocol !== 'https:' && protocol !== 'http:') return { place: protocol.slice(0, -1), isOnDevice: true }
  return LOOPBACK.test(hostname) ? { place: hostname, isOnDevice: true } : { place: host, isOnDevice: false }
}
