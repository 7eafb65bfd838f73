import { needsOf } from '../../authorization-server/needs.js'
import { McpAuthError } from '../../errors/errors.js'
import { connectionChecks } from './network.js'
import { fetched, issuerDocument, needsDocument, wellKnownUrls, type Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { describeAnswer, isAnswer, jsonObject, textIn, type Answer, type NoAnswer } from './probe.js'
import { waysToGive } from './options.js'

/** Whether the provider is there, and whether what it says of itself is what is configured. */
export const discoveryChecks: readonly Check<Examination>[] = [
  ...connectionChecks({
    reachable: 'issuer.reachable',
    tls: 'issuer.tls',
    name: 'the provider',
    configured: `${waysToGive('issuer')} (or ${waysToGive('discoveryUrl')})`,
    ask: (context) => (needsDocument(context) ? issuerDocument(context) : 'every endpoint is configured by hand'),
  }),
  { id: 'discovery.document', needs: ['issuer.reachable', 'issuer.tls'], run: checkDocument },
  { id: 'discovery.issuer', needs: ['discovery.document'], run: checkIssuer },
  { id: 'discovery.oidc', needs: ['discovery.issuer'], run: (context) => checkForm(context, 'oidc') },
  { id: 'discovery.oauth', needs: ['discovery.issuer'], run: (context) => checkForm(context, 'oauth') },
  { id: 'discovery.endpoints', needs: ['discovery.issuer'], run: checkEndpoints },
]

const NO_DOCUMENT = 'every endpoint is configured by hand, so nothing is discovered'

async function checkDocument(context: Examination): Promise<Verdict> {
  if (!needsDocument(context)) return leftOut(NO_DOCUMENT)
  const answer = await issuerDocument(context)
  if (!isAnswer(answer)) return leftOut('no answer')
  if (issuerIn(answer) !== undefined) return passed(answer.url)
  const what = describeAnswer(answer, context.secrets.quote)
  const found = `no metadata at ${answer.url}: ${what}`
  if (answer.status >= 500) return failed(found, 'the provider, or what stands behind the proxy there, is not working')
  if (answer.status >= 300 && answer.status < 400) {
    return failed(found, `redirects are not followed: give the address behind it by ${waysToGive('issuer')}`)
  }
  return failed(
    found,
    `the issuer is a wrong address: check realm or tenant in ${waysToGive('issuer')}; for a provider that has its metadata elsewhere, ${waysToGive('discoveryUrl')}`,
  )
}

async function checkIssuer(context: Examination): Promise<Verdict> {
  const { config, secrets } = context
  if (!needsDocument(context)) return leftOut(NO_DOCUMENT)
  const answer = await issuerDocument(context)
  const found = textIn(answer, 'issuer') ?? ''
  if (config.issuer === undefined) {
    return passed(`${secrets.quote(found)}, taken from the document`, `better say it by ${waysToGive('issuer')}`)
  }
  if (found === config.issuer) return passed(found)
  const shown = secrets.quote(found)
  return failed(
    `the document names the issuer ${shown}, configured is ${config.issuer}: ${difference(config.issuer, found)}`,
    mendIssuer(config.issuer, found, shown),
  )
}

const bare = (text: string): string => text.replace(/\/$/, '')

function difference(configured: string, found: string): string {
  if (bare(configured) === bare(found)) return 'they differ by a slash at the end'
  if (!URL.canParse(found)) return 'that is no URL'
  const [ours, theirs] = [new URL(configured), new URL(found)]
  const samePath = bare(ours.pathname) === bare(theirs.pathname)
  if (ours.host === theirs.host && samePath) return 'they differ by http and https'
  if (samePath) return 'another host, as where a provider has an internal and an external name'
  return ours.host === theirs.host ? 'another realm, tenant or path' : 'another issuer'
}

function mendIssuer(configured: string, found: string, shown: string): string {
  const set = `set the issuer to ${shown}, to the letter, by ${waysToGive('issuer')}`
  if (bare(configured) === bare(found) || !URL.canParse(found)) return set
  const host = `make the provider name its public address everywhere (Keycloak: KC_HOSTNAME with the whole https URL; behind a proxy also KC_PROXY_HEADERS)`
  if (new URL(configured).host === new URL(found).host && new URL(found).protocol === 'https:') return set
  return `${host}, and reach it inside by ${waysToGive('discoveryUrl')}; if ${shown} is the public one, ${set}`
}

/** MCP clients look at both forms, from outside; this server is content with the document that it goes by. */
async function checkForm(context: Examination, form: 'oidc' | 'oauth'): Promise<Verdict> {
  const { config, secrets } = context
  const own = await (needsDocument(context) ? issuerDocument(context) : undefined)
  const issuer = config.issuer ?? textIn(own, 'issuer')
  if (issuer === undefined || !URL.canParse(issuer)) return leftOut('no issuer')
  const urls = wellKnownUrls(issuer)
  const answer = await fetched(context, urls[form])
  const issuerThere = issuerIn(answer)
  if (issuerThere === issuer) return passed(urls[form])
  if (issuerThere !== undefined) {
    return failed(
      `${urls[form]} names the issuer ${secrets.quote(issuerThere)}, and not ${issuer}`,
      'MCP clients that look there refuse it (RFC 8414 section 3.3): have the provider name one issuer in both documents',
    )
  }
  const what = isAnswer(answer) ? describeAnswer(answer, secrets.quote) : answer.code
  if (!isAnswer(answer)) return leftOut(`${urls[form]} cannot be reached from here (${what}); MCP clients have to`)
  const other = issuerIn(await fetched(context, urls[form === 'oidc' ? 'oauth' : 'oidc']))
  if (other !== undefined || form === 'oauth') return leftOut(`not offered (${what}), and the other form will do`)
  return failed(
    `MCP clients find no metadata at ${urls.oidc} (${what}), nor at ${urls.oauth}`,
    'have the provider, or the proxy before it, serve one of them at the public address',
  )
}

function issuerIn(answer: Answer | NoAnswer): string | undefined {
  return isAnswer(answer) && answer.status === 200 ? textIn(answer, 'issuer') : undefined
}

const ENDPOINTS = [
  'jwks_uri',
  'authorization_endpoint',
  'token_endpoint',
  'introspection_endpoint',
  'revocation_endpoint',
  'registration_endpoint',
] as const

/** By the very code that the server itself discovers with. */
async function checkEndpoints(context: Examination): Promise<Verdict> {
  const { config, discovery } = context
  try {
    const needs = needsOf(config)
    if (needs.metadata) await discovery.issuer()
    if (needs.keys) await discovery.jwksUri()
    if (needs.tokenRequests) await discovery.forTokenRequests()
    if (needs.authorization) await discovery.forAuthorization()
    if (needs.introspection && (await discovery.forIntrospection()) === undefined) {
      return failed(
        'there is no introspection_endpoint, which introspection always needs',
        `give it by ${waysToGive('authorizationServer.introspectionEndpoint')}, or leave introspection out`,
      )
    }
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error
    const option = 'option' in error && typeof error.option === 'string' ? error.option : undefined
    return failed(
      context.secrets.quote(error.message),
      option === undefined
        ? 'have the provider name https addresses (Keycloak: KC_HOSTNAME with https), or give them by --jwks-uri, --token-endpoint and the like (authorizationServer)'
        : `give it by ${waysToGive(option)}, or switch it on at the provider`,
    )
  }
  if (!needsDocument(context)) return passed('configured by hand')
  const answer = await issuerDocument(context)
  const document = isAnswer(answer) ? jsonObject(answer) : undefined
  const there = ENDPOINTS.filter((name) => typeof document?.[name] === 'string')
  const missing = ENDPOINTS.filter((name) => typeof document?.[name] !== 'string')
  return passed(`${there.join(', ')}${missing.length === 0 ? '' : `; not there: ${missing.join(', ')}`}`)
}
