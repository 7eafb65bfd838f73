import { connectionChecks } from './network.js'
import { fetched, issuerDocument, needsDocument, type Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { waysToGive } from './options.js'
import { describeAnswer, isAnswer, isHtml, jsonObject, textIn, type Answer, type NoAnswer } from './probe.js'

const askDocument = (context: Examination): Promise<Answer | NoAnswer> =>
  fetched(context, context.config.resourceMetadataUrl)

/** What an MCP client sees of this server, from its public address: the way there may be changed by any proxy. */
export const publicChecks: readonly Check<Examination>[] = [
  ...connectionChecks({
    reachable: 'public.reachable',
    tls: 'public.tls',
    name: 'this MCP server',
    configured: waysToGive('resource'),
    ask: askDocument,
  }),
]

export const metadataChecks: readonly Check<Examination>[] = [
  { id: 'metadata.document', needs: ['public.reachable', 'public.tls'], run: checkDocument },
  { id: 'metadata.resource', needs: ['metadata.document'], run: checkResource },
  { id: 'metadata.issuer', needs: ['metadata.document', 'discovery.issuer'], run: checkIssuer },
  { id: 'metadata.cors', needs: ['metadata.document'], run: checkCors },
  { id: 'metadata.root', needs: ['metadata.document'], run: checkRoot },
  { id: 'challenge.status', needs: ['public.reachable', 'public.tls'], run: checkStatus },
  { id: 'challenge.header', needs: ['challenge.status'], run: checkHeader },
]

const ROUTES =
  'let app.use(auth.routes()) stand before other routes of the app, and the proxy pass on /.well-known/oauth-protected-resource and what is below it, as it is'

async function checkDocument(context: Examination): Promise<Verdict> {
  const answer = await askDocument(context)
  if (!isAnswer(answer)) return leftOut('no answer')
  if (answer.status === 200 && jsonObject(answer) !== undefined) return passed(answer.url)
  const found = `${answer.url} answers ${describeAnswer(answer, context.secrets.quote)}, and not the metadata (RFC 9728)`
  if (isHtml(answer) || (answer.status >= 300 && answer.status < 400) || [401, 403].includes(answer.status)) {
    return failed(
      found,
      `take the path out of the sign-in, redirect or start page of the proxy: anybody may read it; ${ROUTES}`,
    )
  }
  if (answer.status >= 500) return failed(found, `look into the log of the app and of the proxy; ${ROUTES}`)
  return failed(found, ROUTES)
}

const documentOf = async (context: Examination): Promise<Readonly<Record<string, unknown>>> => {
  const answer = await askDocument(context)
  return (isAnswer(answer) ? jsonObject(answer) : undefined) ?? {}
}

async function checkResource(context: Examination): Promise<Verdict> {
  const { resource } = await documentOf(context)
  const { config, secrets } = context
  if (resource === config.resource) return passed(config.resource)
  return failed(
    `resource is ${secrets.quote(resource ?? 'not there')}, and not ${config.resource}, character for character`,
    `MCP clients refuse that (RFC 9728 section 3.3): give the app and the doctor the same public URL, as clients have it, by ${waysToGive('resource')}; or the proxy leads to another app`,
  )
}

async function checkIssuer(context: Examination): Promise<Verdict> {
  const { config, secrets } = context
  const { authorization_servers: servers } = await documentOf(context)
  const list = Array.isArray(servers) ? servers.map(String) : []
  const own = needsDocument(context) ? await issuerDocument(context) : undefined
  const issuer = config.issuer ?? textIn(own, 'issuer')
  if (issuer === undefined) return leftOut('the issuer is not known')
  if (list.includes(issuer)) return passed(`authorization_servers holds ${secrets.quote(issuer)}`)
  return failed(
    `authorization_servers is ${secrets.quote(list.join(', ') || 'not there')}, which lacks ${secrets.quote(issuer)}`,
    `give the app and the doctor the same issuer, by ${waysToGive('issuer')}`,
  )
}

async function checkCors(context: Examination): Promise<Verdict> {
  const answer = await askDocument(context)
  const origin = isAnswer(answer) ? answer.headers.get('access-control-allow-origin') : null
  if (origin === '*') return passed('Access-Control-Allow-Origin: *')
  return failed(
    `Access-Control-Allow-Origin is ${origin === null ? 'not there' : context.secrets.quote(origin)}`,
    'clients in browsers cannot read the document: let the proxy leave that header alone, and no CORS handler of the app come before auth.routes()',
  )
}

async function checkRoot(context: Examination): Promise<Verdict> {
  const { config, secrets } = context
  if (!config.rootMetadata) return leftOut('rootMetadata is switched off')
  const url = `${new URL(config.resource).origin}/.well-known/oauth-protected-resource`
  if (url === config.resourceMetadataUrl) return leftOut('resource has no path, so both forms are one')
  const answer = await fetched(context, url)
  if (isAnswer(answer) && answer.status === 200 && jsonObject(answer)?.['resource'] === config.resource)
    return passed(url)
  const what = isAnswer(answer) ? describeAnswer(answer, secrets.quote) : answer.code
  return leftOut(
    `${url} is not this server's (${what})`,
    'clients that look only there do not find it; several MCP servers on one host cannot all have it (rootMetadata: false)',
  )
}

/** A request of the smallest kind, which even a server that lets it through does nothing for. */
const PING = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })

function askMcp(context: Examination): Promise<Answer | NoAnswer> {
  const { config, answers, probe } = context
  const name = `POST ${config.resource}`
  const answer =
    answers.get(name) ??
    probe(config.resource, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: PING,
    })
  answers.set(name, answer)
  return answer
}

async function checkStatus(context: Examination): Promise<Verdict> {
  const answer = await askMcp(context)
  const { resource } = context.config
  if (!isAnswer(answer)) {
    return failed(`no answer from ${resource} (${answer.code})`, 'let the proxy pass POST on to the app')
  }
  if (answer.status === 401) return passed(`${resource} answers 401 without a token`)
  const found = `${resource} answers ${describeAnswer(answer, context.secrets.quote)} without a token, and not 401`
  if (answer.status === 200 && !isHtml(answer)) {
    return failed(found, 'anybody gets in: put auth before the handler, app.post(path, auth, handler)')
  }
  if (answer.status === 404 || answer.status === 405) {
    return failed(
      found,
      `let the path of ${waysToGive('resource')} be the one of the handler, and the proxy pass POST on to it`,
    )
  }
  return failed(
    found,
    'take the path out of the sign-in, redirect or filter of the proxy: MCP clients need the 401 of the app',
  )
}

async function checkHeader(context: Examination): Promise<Verdict> {
  const { config, secrets } = context
  const answer = await askMcp(context)
  if (!isAnswer(answer)) return leftOut('no answer')
  const challenge = answer.headers.get('www-authenticate')
  const url = /\bresource_metadata="([^"]*)"/.exec(challenge ?? '')?.[1]
  if (challenge === null || url === undefined) {
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
  const exposed = answer.headers.get('access-control-expose-headers') ?? ''
  return /\bwww-authenticate\b/i.test(exposed)
    ? passed(`resource_metadata is ${url}`)
    : passed(
        `resource_metadata is ${url}`,
        'clients in browsers cannot read it without Access-Control-Expose-Headers: WWW-Authenticate, which something on the way has taken off',
      )
}
