import type { FetchPublicDocument } from '../transport/public-document.js'
import type { ProviderRooms } from './provider.js'
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
