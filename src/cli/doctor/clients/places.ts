import { wellKnownUrl } from '../../../config/values.js'
import type { JsonObject } from '../../../json.js'
import { redirectTarget } from '../../../transport/answer.js'
import { fetched, type Examination } from '../examination.js'
import { describe, isAnswer, objectIn, type Answer, type NoAnswer } from '../probe.js'

/** A document that a client looks for, and the places where it looked. */
export interface Look {
  /** Undefined: it is at none of the places. */
  readonly document: Readonly<JsonObject> | undefined
  /** The place of the document, else the last one tried. */
  readonly url: string
  /** The places before, with their answers. */
  readonly tried: readonly string[]
}

/** The places of a server's own metadata, where the 401 names none (RFC 9728 §3.1, MCP 2025-11-25). */
export function resourcePlaces(address: string): readonly string[] {
  return [...new Set([wellKnownUrl(address), `${new URL(address).origin}/.well-known/oauth-protected-resource`])]
}

/** The places of a provider's metadata, in the order of MCP 2025-11-25: RFC 8414 §3.1, then OpenID Connect before and behind the path. */
export function providerPlaces(issuer: string): readonly string[] {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const before = ['oauth-authorization-server', 'openid-configuration'].map(
    (name) => `${origin}/.well-known/${name}${path}`,
  )
  return path === '' ? before : [...before, `${origin}${path}/.well-known/openid-configuration`]
}

/** The place of a provider's metadata for clients of MCP 2025-03-26: at the server's own origin. */
export const ownPlaces = (address: string): readonly string[] => [
  `${new URL(address).origin}/.well-known/oauth-authorization-server`,
]

/**
 * Looks at one place after the other, as clients do: a 4xx leads to the next, and whatever else is no document ends the search.
 */
export async function lookAt(context: Examination, places: readonly string[]): Promise<Look> {
  const tried: string[] = []
  for (const url of places) {
    const answer = await followed(context, url)
    const document = isAnswer(answer) && answer.status === 200 ? objectIn(answer) : undefined
    if (document !== undefined) return { document, url, tried }
    tried.push(`${url} (${describe(answer, context.secrets.quote)})`)
    const goesOn = isAnswer(answer) && answer.status >= 300 && answer.status < 500
    if (!goesOn) return { document: undefined, url, tried }
  }
  return { document: undefined, url: places.at(-1) ?? '', tried }
}

/** Follows a redirect within the origin, as clients do. */
async function followed(context: Examination, url: string): Promise<Answer | NoAnswer> {
  const answer = await fetched(context, url)
  const target = isAnswer(answer) ? redirectTarget(answer, url) : undefined
  return target?.origin === new URL(url).origin ? fetched(context, target.href) : answer
}
