import { isIP } from 'node:net'
import { isLoopback, isSecure } from '../../../config/values.js'
import { isPublicAddress } from '../../../transport/public-address.js'
import { waysToGive } from '../words.js'
import { failed, leftOut, passed, type Verdict } from '../check.js'
import type { Examination } from '../examination.js'
import { describe, isAnswer, isHtml, isRedirect, type Answer } from '../probe.js'
import { askMcp, ROUTES } from '../public.js'
import { lookAt, resourcePlaces } from './places.js'
import type { Walk } from './walk-finds.js'

/** Names that only a network of one's own knows. */
const PRIVATE_NAME = /(?:^|\.)(?:local|internal|lan|home|intranet|corp)$|^[^.]+$/i

/** Judges whether the client can call the address at all, from where it runs. */
export function checkAddress(_context: Examination, { client, address }: Walk): Verdict {
  const url = new URL(address)
  if (url.hash !== '') return failed('the address has a fragment', 'leave out what is behind #')
  if (client.callsFrom === 'computer')
    return passed(`${client.name} is given ${address}, and calls from the person's computer`)
  const needs = `${client.name} calls from the Internet: it needs a public name with https`
  if (isLoopback(url)) return leftOut(`${address} is an address of this machine alone`, needs)
  if (url.protocol !== 'https:') return failed(`${address} is plain http`, needs)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const isPrivate = isIP(host) === 0 ? PRIVATE_NAME.test(host) : !isPublicAddress(host)
  if (isPrivate) return failed(`${url.host} is a name or address of a private network`, needs)
  return passed(`${client.name} is given ${address}`)
}

/** Sends the first request of the client, and reads the answer as it does. */
export async function checkChallenge(context: Examination, walk: Walk): Promise<Verdict> {
  const { client, address } = walk
  const answer = await askMcp(context, address)
  if (!isAnswer(answer)) {
    return failed(
      `no answer from ${address} (${answer.code})`,
      `let the server run, and its name and proxy lead to it; the address comes from --address or ${waysToGive('resource')}`,
    )
  }
  if (answer.status !== 401 && !(answer.status === 403 && client.takes403)) return notAsked(context, walk, answer)
  const header = answer.headers.get('www-authenticate')
  const metadataUrl = parameterOf(header, 'resource_metadata')
  walk.challenge = { scope: parameterOf(header, 'scope'), metadataUrl }
  if (header === null) {
    return failed(
      `the ${answer.status} has no WWW-Authenticate`,
      'let the proxy pass the WWW-Authenticate of the app on unchanged, and answer no 401 itself',
    )
  }
  if (!/(?:^|,)\s*Bearer\b/i.test(header)) {
    return failed(
      `the challenge is not one of Bearer: ${context.secrets.quote(header)}`,
      `${client.name} knows no other scheme: ${waysToGive('dpop')} must not be 'required', and the proxy must not answer itself`,
    )
  }
  return judgeMetadataUrl(context, walk, header)
}

function judgeMetadataUrl({ secrets }: Examination, { challenge, address }: Walk, header: string): Verdict {
  const metadataUrl = challenge?.metadataUrl
  if (metadataUrl === undefined) {
    return failed(
      `the challenge has no resource_metadata: ${secrets.quote(header)}`,
      'not every client looks further: let the proxy pass the WWW-Authenticate of the app on unchanged, and answer no 401 itself',
    )
  }
  if (!URL.canParse(metadataUrl) || !isSecure(new URL(metadataUrl))) {
    return failed(
      `resource_metadata is ${secrets.quote(metadataUrl)}, which is not an https URL`,
      `the app takes it from ${waysToGive('resource')}, which must be the public https address`,
    )
  }
  if (new URL(metadataUrl).origin === new URL(address).origin) {
    return passed(
      `401, resource_metadata ${metadataUrl}${challenge?.scope === undefined ? '' : `, scope ${secrets.quote(challenge.scope)}`}`,
    )
  }
  return leftOut(
    `resource_metadata is ${secrets.quote(metadataUrl)}, on another host than ${address}`,
    `some clients follow it, others do not: ${waysToGive('resource')} should be the address that people give to the client`,
  )
}

/** A parameter of a challenge, read as the SDKs do: the first match anywhere. */
function parameterOf(header: string | null, name: string): string | undefined {
  // eslint-disable-next-line security/detect-non-literal-regexp -- made of this program's own names
  const [, quoted, bare] = new RegExp(`\\b${name}=(?:"([^"]*)"|([^\\s,]+))`).exec(header ?? '') ?? []
  return quoted ?? bare
}

/** An answer that starts no sign-in. */
function notAsked({ secrets }: Examination, { client, address }: Walk, answer: Answer): Verdict {
  const found = `${address} answers ${describe(answer, secrets.quote)} without a token, and not 401`
  if (isRedirect(answer)) {
    return failed(
      found,
      `people have to give ${client.name} the address behind the redirect, and ${waysToGive('resource')} has to be that one; a sign-in page of the proxy must not stand before it`,
    )
  }
  if (answer.status === 403) {
    return failed(
      found,
      `${client.name} signs in after a 401 only: let no filter of the proxy answer in place of the app`,
    )
  }
  if ([404, 405].includes(answer.status)) {
    return failed(
      found,
      `the address that people give must be the path of the handler, which ${waysToGive('resource')} names, and the proxy has to pass POST on to it`,
    )
  }
  if (answer.status < 300 && !isHtml(answer)) {
    return failed(found, 'everyone gets in: put auth before the handler, app.all(path, auth, handler)')
  }
  return failed(
    found,
    'take the path out of the sign-in, filter or start page of the proxy: the 401 of the app is needed',
  )
}

/** Looks for the metadata of this server (RFC 9728), and compares it with the address. */
export async function checkMetadata(context: Examination, walk: Walk): Promise<Verdict> {
  const { client, address, challenge } = walk
  if (client.metadataAt === 'this server') return leftOut(`${client.name} looks for no metadata of this server`)
  const { quote } = context.secrets
  const named = challenge?.metadataUrl
  const isUrl = named !== undefined && URL.canParse(named)
  const { document, url, tried } = await lookAt(context, isUrl ? [named] : resourcePlaces(address))
  if (document === undefined) return failed(`no metadata of this server: ${tried.join(', ')}`, ROUTES)
  const { resource, authorization_servers: servers } = document
  if (resource !== address) return otherResource(context, walk, resource)
  const [issuer] = Array.isArray(servers) ? (servers as unknown[]) : []
  if (typeof issuer !== 'string' || !URL.canParse(issuer) || !isSecure(new URL(issuer))) {
    return failed(
      `authorization_servers of ${url} begins with ${quote(issuer ?? 'nothing')}, which is not an https URL`,
      `${client.name} goes to the first of them: set it by ${waysToGive('issuer')}, or ${waysToGive('authorizationServers')}`,
    )
  }
  walk.metadata = document
  walk.issuer = issuer
  return passed(`${url}: resource is the address, and ${quote(issuer)} the authorization server`)
}

function otherResource({ secrets }: Examination, { client, address }: Walk, resource: unknown): Verdict {
  const shown = secrets.quote(resource ?? 'not there')
  return failed(
    `resource is ${shown}, and ${client.name} was given ${address}: ${difference(address, resource)}`,
    `it refuses that (RFC 9728 section 3.3): give it ${shown}, to the letter, or set ${address} by ${waysToGive('resource')}; a proxy may also lead to another app`,
  )
}

function difference(address: string, resource: unknown): string {
  if (typeof resource !== 'string' || !URL.canParse(resource)) return 'that is not a URL'
  const [given, named] = [new URL(address), new URL(resource)]
  const bare = ({ pathname }: URL): string => pathname.replace(/(?<!\/)\/+$/, '')
  if (given.host !== named.host) return 'another host'
  if (given.protocol !== named.protocol) return 'they differ by http and https'
  if (bare(given) !== bare(named)) return 'another path'
  if (given.search !== named.search) return 'another query'
  return 'they differ by a slash at the end'
}
