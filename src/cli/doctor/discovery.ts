import type { EndpointField } from '../../authorization-server/metadata.js'
import { ConfigurationError, McpAuthError } from '../../errors/errors.js'
import { forApp, waysToGive } from './words.js'
import { answered, check, failed, leftOut, outcomeOf, passed, type Check, type Verdict } from './check.js'
import type { Examination } from './examination.js'
import { reached } from './network.js'
import { describe, isAnswer, isRedirect, objectIn, type Answer } from './probe.js'
import { issuerIn, knownIssuer, PROVIDER, providerMetadata, wellKnown } from './provider.js'

const metadata = answered(providerMetadata)

/** Checks of the provider's metadata: it is there, and says what is configured. */
export const discoveryChecks: readonly Check[] = [
  check({ id: 'discovery.document', needs: reached(PROVIDER), about: metadata, run: checkDocument }),
  check({ id: 'discovery.issuer', needs: ['discovery.document'], about: metadata, run: checkIssuer }),
  ...(['oidc', 'oauth2'] as const).map((form) =>
    check({
      id: form === 'oidc' ? 'discovery.oidc' : 'discovery.oauth',
      needs: ['discovery.issuer'],
      about: knownIssuer,
      run: (context, { issuer }) => checkForm(context, issuer, form),
    }),
  ),
  check({ id: 'discovery.endpoints', needs: ['discovery.issuer'], run: checkEndpoints }),
]

function checkDocument({ secrets }: Examination, answer: Answer): Verdict {
  if (issuerIn(answer) !== undefined) return passed(answer.url)
  const found = `no metadata at ${answer.url}: ${describe(answer, secrets.quote)}`
  if (answer.status >= 500) return failed(found, 'the provider, or the server behind its proxy, is not working')
  if (isRedirect(answer)) {
    return failed(found, `redirects are not followed: give the address behind it by ${waysToGive('discoveryUrl')}`)
  }
  return failed(
    found,
    `the issuer is a wrong address: check realm or tenant in ${waysToGive('issuer')}; for a provider that has its metadata elsewhere, ${waysToGive('discoveryUrl')}`,
  )
}

function checkIssuer({ config: { issuer }, secrets }: Examination, answer: Answer): Verdict {
  const found = issuerIn(answer) ?? ''
  if (found === issuer) return passed(found)
  const shown = secrets.quote(found)
  if (issuer === undefined)
    return passed(`${shown}, taken from the document`, `better say it by ${waysToGive('issuer')}`)
  const [difference, fix] = otherIssuer(issuer, found, shown)
  return failed(`the document names the issuer ${shown}, configured is ${issuer}: ${difference}`, fix)
}

const bare = (text: string): string => text.replace(/\/$/, '')

/** Returns the difference between two issuers, and the remedy. */
function otherIssuer(configured: string, found: string, shown: string): readonly [difference: string, fix: string] {
  const set = `set the issuer to ${shown}, to the letter, by ${waysToGive('issuer')}`
  if (bare(configured) === bare(found)) return ['they differ by a slash at the end', set]
  if (!URL.canParse(found)) return ['that is not a URL', set]
  const [ours, theirs] = [new URL(configured), new URL(found)]
  const sameHost = ours.host === theirs.host
  const name = `make the provider name its public address everywhere (Keycloak: KC_HOSTNAME with the whole https URL; behind a proxy also KC_PROXY_HEADERS; Nextcloud: overwritehost and overwriteprotocol), and reach it inside by ${waysToGive('discoveryUrl')}; if ${shown} is the public one, ${set}`
  const fix = sameHost && theirs.protocol === 'https:' ? set : name
  if (bare(ours.pathname) !== bare(theirs.pathname)) {
    return [sameHost ? 'another realm, tenant or path' : 'another issuer', fix]
  }
  return [
    sameHost
      ? 'they differ by http and https'
      : 'another host, as if the provider had an internal and an external name',
    fix,
  ]
}

/** MCP clients look at both forms, from outside, while this server needs only the document that it goes by. */
async function checkForm(context: Examination, issuer: string, form: 'oidc' | 'oauth2'): Promise<Verdict> {
  const { quote } = context.secrets
  const answer = await wellKnown(context, issuer, form)
  const { url } = answer
  const found = issuerIn(answer)
  if (found === issuer) return passed(url)
  if (found !== undefined) {
    return failed(
      `${url} names the issuer ${quote(found)}, and not ${issuer}`,
      'MCP clients that look there refuse it (RFC 8414 section 3.3): have the provider name one issuer in both documents',
    )
  }
  const what = describe(answer, quote)
  if (!isAnswer(answer)) return leftOut(`${url} cannot be reached from here (${what}), as MCP clients must`)
  const other = await wellKnown(context, issuer, form === 'oidc' ? 'oauth2' : 'oidc')
  if (form === 'oauth2' || issuerIn(other) !== undefined) {
    return leftOut(`not offered (${what}), and the other form will do`)
  }
  return failed(
    `MCP clients find no metadata at ${url} (${what}), nor at ${other.url}`,
    'have the provider, or the proxy before it, serve one of them at the public address',
  )
}

const ENDPOINTS = [
  'jwks_uri',
  'authorization_endpoint',
  'token_endpoint',
  'introspection_endpoint',
  'revocation_endpoint',
  'registration_endpoint',
] as const satisfies readonly (EndpointField | 'registration_endpoint')[]

/** Discovers by the code of the server itself. */
async function checkEndpoints(context: Examination): Promise<Verdict> {
  const failure = await outcomeOf(() => discover(context))
  if (failure instanceof McpAuthError) {
    const option = failure instanceof ConfigurationError ? failure.option : undefined
    return failed(
      context.secrets.quote(failure.detail),
      option === undefined
        ? `have the provider name https addresses (Keycloak: KC_HOSTNAME with https), or give them by ${forApp('--jwks-uri, --token-endpoint and the like (authorizationServer)')}`
        : `give it by ${waysToGive(option)}, or switch it on at the provider`,
    )
  }
  const answer = await providerMetadata(context)
  if ('missing' in answer) return passed('configured by hand')
  const document = objectIn(answer) ?? {}
  const absent = ENDPOINTS.filter((name) => typeof document[name] !== 'string')
  const there = ENDPOINTS.filter((name) => !absent.includes(name))
  return passed(`${there.join(', ')}${absent.length === 0 ? '' : `; not there: ${absent.join(', ')}`}`)
}

async function discover({ discovery, needs }: Examination): Promise<void> {
  if (needs.metadata) await discovery.issuer()
  if (needs.keys) await discovery.jwksUri()
  if (needs.tokenRequests) await discovery.forTokenRequests()
  if (needs.authorization) await discovery.forAuthorization()
  if (needs.introspection && (await discovery.forIntrospection()) === undefined) {
    throw new ConfigurationError(
      'There is no introspection_endpoint, which introspection always needs',
      'authorizationServer.introspectionEndpoint',
    )
  }
}
