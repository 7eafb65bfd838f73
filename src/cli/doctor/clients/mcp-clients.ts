/** The ways in which a client gets a client id. By hand is the last resort of all. */
export type Way = 'document' | 'registration'

/** The ways of an MCP client, as its maker or its source tells them. Sources and dates are in docs/clients.md. */
export interface McpClient {
  /** Name for people. */
  readonly name: string
  /** The machines from which it calls: those of its maker, on the Internet, or the person's own. */
  readonly callsFrom: 'maker' | 'computer'
  /** In the order in which it tries them. */
  readonly ways: readonly Way[]
  /** Its client id, if the provider takes client metadata documents. Empty: it has none. */
  readonly document: string
  /** Whether it goes by its document only if the provider also lists `none` as a way to authenticate at the token endpoint. */
  readonly documentNeedsNone?: boolean
  /** To be registered by hand. It asks with the first, whose `PORT` may be any. */
  readonly redirectUris: readonly [string, ...string[]]
  /** Its redirect URI, and that of its document, if the provider does not name itself in its answers (RFC 9207). */
  readonly withoutIssuer?: string
  /** The place for a client id that was made by hand, and the kind of client to make. */
  readonly byHand: { readonly place: string; readonly kind: 'public' | 'confidential' | 'public or confidential' }
  /** The `resource` that it asks with: the address that the person gave it, or the one in the metadata of the server. */
  readonly resource: 'address' | 'metadata'
  /** The scopes that it asks for if neither the 401 nor the metadata of the server names any. */
  readonly unscoped: 'none' | 'all of the provider'
  /** Whether it asks for `offline_access` too, if the provider lists it. */
  readonly offlineAccess: boolean
  /** Whether it takes a 403 without a token for a 401. */
  readonly takes403: boolean
  /** The place of the provider's metadata: at the server that this server's metadata names, or at this server itself (MCP 2025-03-26). */
  readonly metadataAt: 'provider' | 'this server'
}

const LOCAL = {
  callsFrom: 'computer',
  document: '',
  resource: 'address',
  unscoped: 'none',
  offlineAccess: false,
  takes403: false,
  metadataAt: 'provider',
} as const satisfies Partial<McpClient>

const HOSTED = { ...LOCAL, callsFrom: 'maker' } as const satisfies Partial<McpClient>

/** Name for `--as` → the client. */
export const MCP_CLIENTS = {
  claude: {
    ...HOSTED,
    name: 'Claude (web, desktop and phone)',
    ways: ['document', 'registration'],
    document: 'https://claude.ai/oauth/mcp-oauth-client-metadata',
    documentNeedsNone: true,
    redirectUris: ['https://claude.ai/api/mcp/auth_callback', 'https://claude.com/api/mcp/auth_callback'],
    byHand: { place: 'Add custom connector, Advanced settings', kind: 'public or confidential' },
    unscoped: 'all of the provider',
    offlineAccess: true,
  },
  'claude-code': {
    ...LOCAL,
    name: 'Claude Code',
    ways: ['document', 'registration'],
    document: 'https://claude.ai/oauth/claude-code-client-metadata',
    documentNeedsNone: true,
    redirectUris: ['http://localhost:PORT/callback', 'http://127.0.0.1:PORT/callback'],
    byHand: { place: 'claude mcp add --client-id ID --callback-port PORT', kind: 'public or confidential' },
    offlineAccess: true,
  },
  chatgpt: {
    ...HOSTED,
    name: 'ChatGPT',
    ways: ['document', 'registration'],
    document: 'https://chatgpt.com/oauth/client.json',
    redirectUris: ['https://chatgpt.com/connector_platform_oauth_redirect'],
    withoutIssuer: 'https://chatgpt.com/connector/oauth/CALLBACK_ID',
    byHand: { place: 'Advanced OAuth settings of the new app', kind: 'public or confidential' },
  },
  vscode: {
    ...LOCAL,
    name: 'VS Code',
    ways: ['document', 'registration'],
    document: 'https://vscode.dev/oauth/client-metadata.json',
    redirectUris: ['http://127.0.0.1:33418/', 'https://vscode.dev/redirect'],
    byHand: { place: 'oauth.clientId in mcp.json, or the window that asks for it', kind: 'public or confidential' },
    resource: 'metadata',
    takes403: true,
  },
  cursor: {
    ...LOCAL,
    name: 'Cursor',
    ways: ['registration'],
    redirectUris: [
      'http://localhost:8787/callback',
      'https://www.cursor.com/agents/mcp/oauth/callback',
      'cursor://anysphere.cursor-mcp/oauth/callback',
    ],
    byHand: { place: 'auth.CLIENT_ID in mcp.json', kind: 'public or confidential' },
  },
  codex: {
    ...LOCAL,
    name: 'Codex',
    ways: ['document', 'registration'],
    document: 'https://chatgpt.com/oauth/codex/client.json',
    redirectUris: ['http://127.0.0.1:PORT/callback', 'http://localhost:PORT/callback'],
    byHand: { place: 'codex mcp add --oauth-client-id ID', kind: 'public' },
  },
  mistral: {
    ...HOSTED,
    name: 'Mistral (Le Chat)',
    ways: ['registration'],
    redirectUris: ['https://callback.mistral.ai/v1/integrations_auth/oauth2_callback'],
    byHand: { place: 'the form of the custom connector', kind: 'confidential' },
  },
  inspector: {
    ...LOCAL,
    name: 'MCP Inspector',
    ways: ['registration'],
    redirectUris: ['http://localhost:6274/oauth/callback', 'http://127.0.0.1:6274/oauth/callback'],
    byHand: { place: '--client-id ID', kind: 'public or confidential' },
    resource: 'metadata',
    offlineAccess: true,
  },
  'copilot-studio': {
    ...HOSTED,
    name: 'Copilot Studio',
    ways: ['registration'],
    redirectUris: ['https://global.consent.azure-apim.net/redirect/CONNECTOR'],
    byHand: { place: 'OAuth 2.0, Manual, which shows the redirect URI once it is saved', kind: 'confidential' },
  },
  'mcp-2025-03-26': {
    ...LOCAL,
    name: 'a client of MCP 2025-03-26 (Raycast, SDKs of before June 2025)',
    ways: ['registration'],
    redirectUris: ['http://127.0.0.1:PORT/callback'],
    byHand: { place: 'the settings of that client', kind: 'public' },
    metadataAt: 'this server',
  },
} as const satisfies Readonly<Record<string, McpClient>>

export type McpClientId = keyof typeof MCP_CLIENTS

export const MCP_CLIENT_IDS = Object.keys(MCP_CLIENTS) as readonly McpClientId[]

export const clientOf = (id: McpClientId): McpClient => MCP_CLIENTS[id]

/** The way that a client takes at a provider with this metadata; undefined if only an id that was made by hand is left. */
export function wayAt(
  { ways, documentNeedsNone }: McpClient,
  metadata: Readonly<Record<string, unknown>>,
): Way | undefined {
  const methods = metadata['token_endpoint_auth_methods_supported']
  const isPublic = Array.isArray(methods) && methods.includes('none')
  return ways.find((way) =>
    way === 'registration'
      ? typeof metadata['registration_endpoint'] === 'string'
      : metadata['client_id_metadata_document_supported'] === true && (isPublic || documentNeedsNone !== true),
  )
}
