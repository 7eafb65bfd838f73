import { createClientNames, readClaim } from '../connect/client-names.js'
import type { FetchPublicDocument } from '../transport/public-document.js'
import type { ProviderRooms } from './provider.js'
import type { SignInRooms } from './sign-in-rooms.js'
import { clientOf } from './redirect-uri.js'

/** Client metadata documents, where their addresses can be checked. */
export function publicFetch(fetchDocument: FetchPublicDocument | undefined): ProviderRooms['fetchPublic'] {
  return async (url) => {
    const document = await fetchDocument?.(url)
    if (document === undefined) throw new TypeError('There is no document at a public address')
    return Response.json(withKind(document))
  }
}

/** Returns a document with the kind of application that its redirect URIs make it: few documents name it. */
function withKind(document: unknown): unknown {
  const { redirect_uris: uris } = (document ?? {}) as { readonly redirect_uris?: unknown }
  if (!Array.isArray(uris) || !uris.every((uri) => typeof uri === 'string')) return document
  return { ...(document as object), application_type: clientOf(uris).application_type }
}

/** Returns the names of MCP clients as the pages for connecting have them. What a client says of itself is its claim. */
export function clientNaming(
  rooms: Omit<Parameters<typeof createClientNames>[0], 'fetchDocument'> & Pick<SignInRooms, 'provider'>,
): SignInRooms['nameOf'] {
  const ownName = async (clientId: string): Promise<string | undefined> => {
    const provider = await rooms.provider()
    // What oidc-provider knows already is not fetched again.
    return (await provider.Client.find(clientId).catch(() => undefined))?.clientName
  }
  const names = createClientNames({
    ...rooms,
    fetchDocument: async (url) => ({ client_id: url, client_name: await ownName(url) }),
  })
  return async (clientId) => {
    const [client, claim] = await Promise.all([names.of(clientId), ownName(clientId)])
    return { client, callsItself: client.id === undefined ? undefined : readClaim(claim) }
  }
}
