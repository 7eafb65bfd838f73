import { isLoopback } from '../../../config/values.js'
import type { JsonObject } from '../../../json.js'
import { forApp, waysToGive } from '../words.js'
import { check, failed, leftOut, missing, passed, type Check, type Subject, type Verdict } from '../check.js'
import type { Examination } from '../examination.js'
import { knownIssuer } from '../provider.js'
import { clientOf, MCP_CLIENT_IDS, wayAt, type McpClient, type McpClientId } from './mcp-clients.js'
import { lookAt, ownPlaces, providerPlaces } from './places.js'
import { providerSettings } from './provider-settings.js'

/** The metadata of the server to which MCP clients are sent, where they look for it. */
interface Published {
  readonly issuer: string
  readonly metadata: Readonly<JsonObject>
}

const published: Subject<Published> = async (context) => {
  const known = await knownIssuer(context)
  const issuer = context.config.authorizationServers?.[0] ?? ('missing' in known ? undefined : known.issuer)
  if (issuer === undefined) return missing('the issuer is not known')
  const { document, tried } = await lookAt(context, providerPlaces(issuer))
  return document === undefined
    ? missing(`MCP clients find no metadata: ${tried.join(', ')}`)
    : { issuer, metadata: document }
}

const parts = { needs: ['discovery.issuer'], about: published }

/** Checks of what the provider offers to MCP clients. */
export const mcpClientChecks: readonly Check[] = [
  check({ id: 'clients.pkce', ...parts, run: (_context, { metadata }) => judgePkce(metadata) }),
  check({ id: 'clients.scopes', ...parts, run: checkScopes }),
  ...MCP_CLIENT_IDS.map((id) =>
    check({ id: `clients.${id}`, ...parts, run: (context, about) => checkClient(context, id, about) }),
  ),
]

/** Judges whether clients find PKCE, without which MCP lets none of them go on. */
export function judgePkce(metadata: Readonly<JsonObject>): Verdict {
  const methods = metadata['code_challenge_methods_supported']
  if (!Array.isArray(methods)) {
    return leftOut(
      'code_challenge_methods_supported is not there',
      'clients that go by the letter of MCP 2025-11-25 refuse such a provider: have it list S256, if it takes PKCE',
    )
  }
  if (methods.includes('S256')) return passed('code_challenge_methods_supported holds S256')
  return failed(
    'code_challenge_methods_supported lacks S256',
    'no MCP client goes on without it: switch PKCE with S256 on at the provider',
  )
}

function checkScopes({ config, secrets }: Examination, { metadata }: Published): Verdict {
  const asked = config.challengeScopes
  const listed = metadata['scopes_supported']
  if (asked.length === 0) {
    return leftOut(
      'no scope is named for MCP clients to ask for',
      `several ask for none then, and Claude for all that the provider lists: name some by ${waysToGive('challengeScopes')}`,
    )
  }
  if (!Array.isArray(listed)) return passed(`${asked.join(' ')}; the provider does not list its scopes`)
  const absent = asked.filter((scope) => !listed.includes(scope))
  if (absent.length === 0) return passed(`${asked.join(' ')}: the provider lists them`)
  return leftOut(
    `scopes_supported of the provider lacks ${secrets.quote(absent.join(' '))}`,
    `see that a sign-in with it ends well (${forApp('doctor --as claude')}); otherwise make the scope at the provider, or name another by ${waysToGive('challengeScopes')}`,
  )
}

async function checkClient(context: Examination, id: McpClientId, { issuer, metadata }: Published): Promise<Verdict> {
  const client = clientOf(id)
  if (client.metadataAt === 'this server') {
    const { document, tried } = await lookAt(context, ownPlaces(context.config.resource))
    if (document === undefined) {
      return leftOut(
        `${client.name} looks for the provider at this server alone: ${tried.join(', ')}`,
        `${waysToGive('legacyMetadata')} leads it there (true); otherwise use a newer client`,
      )
    }
  }
  const way = wayAt(client, metadata)
  if (way === undefined) {
    return leftOut(`${client.name} cannot register itself at this provider`, adviceByHand(client, issuer, metadata))
  }
  const note = noteOnAddress(client, context.config.resource)
  if (way === 'document') {
    return passed(`${client.name} names itself by its metadata document ${client.document}`, note)
  }
  return passed(`${client.name} finds an endpoint to register itself; --as ${id} shows whether it may`, note)
}

/** The steps that make a client by hand. */
export function adviceByHand(client: McpClient, issuer: string, metadata: Readonly<JsonObject>): string {
  const { place, kind } = client.byHand
  const settings = providerSettings(issuer, metadata)
  const switchOn = settings.registration === undefined ? '' : `; or let it register: ${settings.registration}`
  return `make a ${kind} client by hand (${settings.client}) with the redirect URI ${redirectUriAt(client, metadata)}, and give its id to ${client.name}: ${place}${switchOn}`
}

/** The redirect URI with which a client comes to a provider with this metadata. */
export function redirectUriAt({ redirectUris, withoutIssuer }: McpClient, metadata: Readonly<JsonObject>): string {
  const namesItself = metadata['authorization_response_iss_parameter_supported'] === true
  return (namesItself ? undefined : withoutIssuer) ?? redirectUris[0]
}

function noteOnAddress({ callsFrom }: McpClient, resource: string): string | undefined {
  const url = new URL(resource)
  if (callsFrom === 'computer' || (url.protocol === 'https:' && !isLoopback(url))) return undefined
  return 'its maker calls from the Internet: this server needs a public name with https for it'
}
