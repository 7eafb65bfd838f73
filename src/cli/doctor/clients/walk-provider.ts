import { isSecure } from '../../../config/values.js'
import type { JsonObject } from '../../../json.js'
import { waysToGive } from '../words.js'
import { failed, leftOut, passed, type Verdict } from '../check.js'
import type { Examination } from '../examination.js'
import { lookAt, ownPlaces, providerPlaces } from './places.js'
import type { Walk } from './walk-finds.js'

/** Looks for the metadata of the provider where the client does, and for what it needs of it. */
export async function checkProvider(context: Examination, walk: Walk): Promise<Verdict> {
  const { client, address, issuer } = walk
  const { quote } = context.secrets
  const isOwn = client.metadataAt === 'this server'
  const places = isOwn ? ownPlaces(address) : providerPlaces(issuer)
  const { document, url, tried } = await lookAt(context, places)
  if (document === undefined) {
    return failed(
      `no metadata of the provider: ${tried.join(', ')}`,
      isOwn
        ? `${client.name} looks nowhere else: ${waysToGive('legacyMetadata')} (true) serves it there`
        : 'have the provider, or the proxy before it, serve its metadata at one of them (RFC 8414 puts the well-known part between host and path, OpenID Connect behind the path); a 5xx or a page in its place ends the search',
    )
  }
  const named = document['issuer']
  if (!isOwn && named !== issuer) {
    return failed(
      `${url} names the issuer ${quote(named ?? 'not there')}, and the metadata of this server ${quote(issuer)}`,
      `they must be one string (RFC 8414 section 3.3): set the issuer to the letter by ${waysToGive('issuer')} or ${waysToGive('authorizationServers')}, or have the provider name its public address (Keycloak: KC_HOSTNAME)`,
    )
  }
  const lack = lackOf(document)
  if (lack !== undefined)
    return failed(`${url}: ${quote(lack)}`, `${client.name} cannot go on: mend it at the provider`)
  walk.issuer = typeof named === 'string' ? named : issuer
  walk.provider = document
  return passed(`${url}${tried.length === 0 ? '' : `, after ${tried.join(', ')}`}`)
}

/** What a document lacks that every client needs (RFC 8414 §2). */
function lackOf(document: Readonly<JsonObject>): string | undefined {
  for (const name of ['authorization_endpoint', 'token_endpoint']) {
    const url = document[name]
    if (typeof url !== 'string' || !URL.canParse(url)) return `there is no ${name}`
    if (!isSecure(new URL(url))) return `${name} is plain http: ${url}`
  }
  const types = document['response_types_supported']
  if (!Array.isArray(types) || !types.includes('code')) return 'response_types_supported lacks code'
  return undefined
}

/** Chooses the scopes as the client does: those of the 401, else of this server's metadata, else what it does without any. */
export function checkScopes(context: Examination, walk: Walk): Verdict {
  const { client, challenge, metadata, provider } = walk
  if (client.metadataAt === 'this server') {
    return leftOut(
      `${client.name} reads no scope from a 401: it asks for those of its own settings, or for none`,
      `have the provider grant ${context.config.requiredScopes.join(' ') || 'what tools need'} to clients that ask for nothing`,
    )
  }
  const listed = textsIn(provider['scopes_supported'])
  const named = challenge?.scope?.split(' ').filter((scope) => scope !== '') ?? textsIn(metadata['scopes_supported'])
  const asked = named.length === 0 && client.unscoped === 'all of the provider' ? listed : named
  const adds = client.offlineAccess && listed.includes('offline_access')
  walk.scopes = [...new Set([...asked, ...(adds ? ['offline_access'] : [])])]
  return judgeScopes(context, walk, named)
}

function judgeScopes({ config, secrets }: Examination, { client, scopes }: Walk, named: readonly string[]): Verdict {
  const { requiredScopes } = config
  const nameThem = `name the scopes by ${waysToGive('challengeScopes')}, or ${waysToGive('requiredScopes')}`
  if (named.length === 0) {
    const found = 'neither the 401 nor the metadata of this server names a scope'
    if (requiredScopes.length > 0) {
      return failed(
        found,
        `the token will lack ${requiredScopes.join(' ')}: let the proxy pass WWW-Authenticate on, or the app and the doctor have other options`,
      )
    }
    const asksForAll = client.unscoped === 'all of the provider'
    return leftOut(`${found}: it asks for ${asksForAll ? 'every one that the provider lists' : 'none'}`, nameThem)
  }
  const asksFor = `it asks for ${secrets.quote(scopes.join(' '))}`
  const absent = requiredScopes.filter((scope) => !named.includes(scope))
  if (absent.length === 0) return passed(asksFor)
  return leftOut(
    `${asksFor}, without ${absent.join(' ')}`,
    `unless scopeSatisfies takes them for the same, the answer to its token is 403: ${nameThem}`,
  )
}

const textsIn = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((text) => typeof text === 'string') : []
