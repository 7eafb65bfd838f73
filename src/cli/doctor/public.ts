import { forApp, waysToGive } from './words.js'
import { answered, check, failed, leftOut, passed, type Check, type Verdict } from './check.js'
import { askedOnce, fetched, type Examination } from './examination.js'
import { reached, type Server } from './network.js'
import { describe, isAnswer, isHtml, isRedirect, objectIn, type Answer, type NoAnswer } from './probe.js'
import { knownIssuer } from './provider.js'

/** This server as an MCP client sees it from its public address: any proxy on the way may change it. */
export const THIS_SERVER: Server = {
  id: 'public',
  name: 'this MCP server',
  configured: waysToGive('resource'),
  ask: (context) => fetched(context, context.config.resourceMetadataUrl),
}

const metadata = answered(THIS_SERVER.ask)

export const metadataChecks: readonly Check[] = [
  check({ id: 'metadata.document', needs: reached(THIS_SERVER), about: metadata, run: checkDocument }),
  check({ id: 'metadata.resource', needs: ['metadata.document'], about: metadata, run: checkResource }),
  check({ id: 'metadata.issuer', needs: ['metadata.document', 'discovery.issuer'], about: metadata, run: checkIssuer }),
  check({ id: 'metadata.cors', needs: ['metadata.document'], about: metadata, run: checkCors }),
  check({ id: 'metadata.root', needs: ['metadata.document'], run: checkRoot }),
]

const asked = (context: Examination): Promise<Answer | NoAnswer> => askMcp(context, context.config.resource)

export const challengeChecks: readonly Check[] = [
  check({ id: 'challenge.status', needs: reached(THIS_SERVER), about: asked, run: checkStatus }),
  check({ id: 'challenge.header', needs: ['challenge.status'], about: answered(asked), run: checkHeader }),
]

/** The remedy where the metadata of this server is not to be had. */
export const ROUTES = `let ${forApp('app.use(auth.routes())')} stand before other routes of the app, and the proxy pass on /.well-known/oauth-protected-resource and what is below it, as it is`

function checkDocument({ secrets }: Examination, answer: Answer): Verdict {
  if (answer.status === 200 && objectIn(answer) !== undefined) return passed(answer.url)
  const found = `${answer.url} answers ${describe(answer, secrets.quote)}, and not the metadata (RFC 9728)`
  if (isHtml(answer) || isRedirect(answer) || [401, 403].includes(answer.status)) {
    return failed(
      found,
      `take the path out of the sign-in, redirect or start page of the proxy: everyone may read it; ${ROUTES}`,
    )
  }
  return failed(found, answer.status >= 500 ? `look into the log of the app and of the proxy; ${ROUTES}` : ROUTES)
}

function checkResource({ config, secrets }: Examination, answer: Answer): Verdict {
  const resource = objectIn(answer)?.['resource']
  if (resource === config.resource) return passed(config.resource)
  return failed(
    `resource is ${secrets.quote(resource ?? 'not there')}, and not ${config.resource}, character for character`,
    `MCP clients refuse that (RFC 9728 section 3.3): give the app and the doctor the same public URL, as clients have it, by ${waysToGive('resource')}; or the proxy leads to another app`,
  )
}

async function checkIssuer(context: Examination, answer: Answer): Promise<Verdict> {
  const { quote } = context.secrets
  const known = await knownIssuer(context)
  if ('missing' in known) return leftOut(known.missing)
  const { config, issuers } = context
  const wanted = config.authorizationServers?.slice(0, 1) ?? issuers.map((issuer) => issuer ?? known.issuer)
  const listed = objectIn(answer)?.['authorization_servers']
  const servers = Array.isArray(listed) ? listed.map(String) : []
  const lacking = wanted.filter((issuer) => !servers.includes(issuer))
  if (lacking.length === 0) return passed(`authorization_servers holds ${wanted.map(quote).join(', ')}`)
  return failed(
    `authorization_servers is ${quote(servers.join(', ') || 'not there')}, which lacks ${lacking.map(quote).join(', ')}`,
    `give the app and the doctor the same issuer, by ${waysToGive('issuer')}; several by ${waysToGive('issuers')}`,
  )
}

function checkCors({ secrets }: Examination, { headers }: Answer): Verdict {
  const origin = headers.get('access-control-allow-origin')
  if (origin === '*') return passed('Access-Control-Allow-Origin: *')
  return failed(
    `Access-Control-Allow-Origin is ${origin === null ? 'not there' : secrets.quote(origin)}`,
    `clients in browsers cannot read the document: let the proxy leave that header alone, and no CORS handler of the app come before ${forApp('auth.routes()')}`,
  )
}

async function checkRoot(context: Examination): Promise<Verdict> {
  const { config, secrets } = context
  if (!config.rootMetadata) return leftOut('rootMetadata is switched off')
  const url = `${new URL(config.resource).origin}/.well-known/oauth-protected-resource`
  if (url === config.resourceMetadataUrl) return leftOut('resource has no path, so both forms are one')
  const answer = await fetched(context, url)
  const isOurs = isAnswer(answer) && answer.status === 200 && objectIn(answer)?.['resource'] === config.resource
  if (isOurs) return passed(url)
  return leftOut(
    `${url} is not this server's (${describe(answer, secrets.quote)})`,
    'clients that look only there do not find it; several MCP servers on one host cannot all have it (rootMetadata: false)',
  )
}

/** A request of the smallest kind, for which a server that lets it through does nothing. */
const PING = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })

/** Makes a request of an MCP client without a token. */
export function askMcp(context: Examination, address: string): Promise<Answer | NoAnswer> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  return askedOnce(context, `POST ${address}`, () => context.probe(address, { method: 'POST', headers, body: PING }))
}

function checkStatus({ secrets }: Examination, answer: Answer | NoAnswer): Verdict {
  const { url } = answer
  if (!isAnswer(answer))
    return failed(`no answer from ${url} (${answer.code})`, 'let the proxy pass POST on to the app')
  if (answer.status === 401) return passed(`${url} answers 401 without a token`)
  const found = `${url} answers ${describe(answer, secrets.quote)} without a token, and not 401`
  if (answer.status === 200 && !isHtml(answer)) {
    return failed(found, `everyone gets in: put auth before the handler, ${forApp('app.all(path, auth, handler)')}`)
  }
  if ([404, 405].includes(answer.status)) {
    const way = `let the path of ${waysToGive('resource')} be the one of the handler`
    return failed(found, `${way}, and the proxy pass POST on to it`)
  }
  return failed(
    found,
    'take the path out of the sign-in, redirect or filter of the proxy: MCP clients need the 401 of the app',
  )
}

function checkHeader({ config, secrets }: Examination, { headers }: Answer): Verdict {
  const challenge = headers.get('www-authenticate')
  const url = /\bresource_metadata="([^"]*)"/.exec(challenge ?? '')?.[1]
  if (url === undefined) {
    return failed(
      challenge === null
        ? 'the 401 has no WWW-Authenticate'
        : `the challenge has no resource_metadata: ${secrets.quote(challenge)}`,
      'MCP clients cannot find the provider then: let the proxy pass the WWW-Authenticate of the app on unchanged, and answer no 401 itself',
    )
  }
  if (url !== config.resourceMetadataUrl) {
    return failed(
      `resource_metadata is ${secrets.quote(url)}, and not ${config.resourceMetadataUrl}`,
      `give the app and the doctor the same public URL by ${waysToGive('resource')}`,
    )
  }
  const exposed = /\bwww-authenticate\b/i.test(headers.get('access-control-expose-headers') ?? '')
  return passed(
    `resource_metadata is ${url}`,
    exposed
      ? undefined
      : 'clients in browsers cannot read it without Access-Control-Expose-Headers: WWW-Authenticate, which is taken off on the way',
  )
}
