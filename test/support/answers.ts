import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'

/** Where the metadata of https://mcp.example.com/mcp is. */
export const METADATA_URL = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'

/** The parts of an answer that the contract speaks about. */
export interface Answer {
  readonly status: number | undefined
  readonly challenge: string | undefined
  readonly cacheControl: string | undefined
  readonly exposed: string | undefined
  readonly retryAfter: string | undefined
  readonly contentType: string | undefined
  readonly body: unknown
}

export interface SendOptions {
  readonly method?: string
  readonly path?: string
  /** A name may come twice. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
  readonly body?: string
}

/** Sends one request just as it is told, and gives the response with its whole text. */
export async function send(
  url: string,
  options: SendOptions = {},
): Promise<{ readonly response: IncomingMessage; readonly text: string }> {
  const { method = 'GET', path = '/', headers = [], body } = options
  const { host, hostname, port } = new URL(url)
  const framing: [string, string][] = body === undefined ? [] : [['Content-Length', String(Buffer.byteLength(body))]]
  const sent = request({
    hostname,
    port,
    method,
    path,
    agent: false,
    // A list is sent as it is, so that nothing is merged and nothing corrected.
    headers: [['Host', host], ['Connection', 'close'], ...framing, ...headers].flat(),
  }).end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  return { response, text: await text(response) }
}

/** The answer to a request. */
export async function ask(url: string, options: SendOptions = {}): Promise<Answer> {
  const { response, text: body } = await send(url, options)
  const { statusCode: status, headers } = response
  return {
    status,
    challenge: headers['www-authenticate'],
    cacheControl: headers['cache-control'],
    exposed: headers['access-control-expose-headers'],
    retryAfter: headers['retry-after'],
    contentType: headers['content-type'],
    body: body !== '' && isJson(headers['content-type']) ? JSON.parse(body) : body,
  }
}

/** The answer to a request with credentials. */
export function askWith(url: string, token: string, options: SendOptions = {}): Promise<Answer> {
  return ask(url, { ...options, headers: [...(options.headers ?? []), ['Authorization', `Bearer ${token}`]] })
}

/** What a request without credentials is to be answered with. */
export function unauthorized(scope = 'notes:read'): Answer {
  const challenge = `Bearer realm="mcp", resource_metadata="${METADATA_URL}"${scope && `, scope="${scope}"`}`
  return rejection(401, 'unauthorized', 'An access token is required', { challenge, exposed: 'WWW-Authenticate' })
}

/** What a token that cannot be used is to be answered with. */
export function invalidToken(description: string, scope?: string): Answer {
  return challenged(401, 'invalid_token', description, scope)
}

/** What credentials in another form than RFC 6750's are to be answered with. */
export function invalidRequest(scope?: string): Answer {
  return challenged(
    400,
    'invalid_request',
    'The Authorization header must hold one access token and nothing else',
    scope,
  )
}

/** What a token without a scope of the operation is to be answered with. */
export function insufficientScope(scope: string): Answer {
  return challenged(403, 'insufficient_scope', 'The access token lacks a scope that this operation needs', scope)
}

/** What a request is to be answered with while the authorization server cannot be asked. */
export function unavailable(retryAfter: string): Answer {
  return rejection(503, 'temporarily_unavailable', 'The authorization server is not available', { retryAfter })
}

/** What a request is to be answered with when an option is wrong. */
export function misconfigured(): Answer {
  return rejection(500, 'server_error', 'The server is not configured correctly')
}

function challenged(status: number, error: string, description: string, scope = 'notes:read'): Answer {
  const parameters = [
    'realm="mcp"',
    `error="${error}"`,
    `resource_metadata="${METADATA_URL}"`,
    ...(scope === '' ? [] : [`scope="${scope}"`]),
    `error_description="${description}"`,
  ]
  const challenge = `Bearer ${parameters.join(', ')}`
  return rejection(status, error, description, { challenge, exposed: 'WWW-Authenticate' })
}

export function rejection(
  status: number,
  error: string,
  description: string,
  headers: Partial<Pick<Answer, 'challenge' | 'exposed' | 'retryAfter'>> = {},
): Answer {
  return {
    status,
    challenge: undefined,
    cacheControl: 'no-store',
    exposed: undefined,
    retryAfter: undefined,
    contentType: 'application/json',
    body: { error, error_description: description },
    ...headers,
  }
}

function isJson(contentType: string | undefined): boolean {
  return /^application\/json\b/.test(contentType ?? '')
}
