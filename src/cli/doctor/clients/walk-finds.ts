import type { JsonObject } from '../../../json.js'
import type { McpClient } from './mcp-clients.js'

/** The way of one client, with what it has found on it. Each step reads what those before have found; what they have not is empty. */
export interface Walk {
  readonly client: McpClient
  /** The address that the person gave to the client. */
  readonly address: string
  /** The client id that was made by hand. */
  readonly givenId: string | undefined
  /** `scope` and `resource_metadata` of the 401. */
  challenge?: { readonly scope: string | undefined; readonly metadataUrl: string | undefined }
  /** The metadata of this server; empty for clients that look for none. */
  metadata: Readonly<JsonObject>
  /** The authorization server, as the metadata of this server names it. */
  issuer: string
  /** Its metadata. */
  provider: Readonly<JsonObject>
  scopes: readonly string[]
  clientId?: string
  /** The client that was registered for this walk. */
  registered?: Registered
}

export interface Registered {
  readonly clientId: string
  /** The place to delete it, with the token for it (RFC 7592); undefined if the provider offers none. */
  readonly management: { readonly uri: string; readonly token: string } | undefined
}
