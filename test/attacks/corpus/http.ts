import { get, raw, type Attack, type Refused } from './attack.js'
import type { Forge } from './forge.js'

/** Requests: what a client, or a proxy on the way, may send in place of one header with one token. */

type Row = readonly [name: string, rule: string, request: (forge: Forge) => string, refused: Refused, answers?: number]

const ONE_HEADER = 'RFC 6750 §2, RFC 9110 §5.3 (one Authorization header)'
const ONE_TOKEN = 'RFC 6750 §2.1 (one token and nothing else)'
const ELSEWHERE = 'MCP authorization, RFC 9700 §4.3.2 (tokens in the header alone)'
const SCHEME = 'RFC 9110 §11.4 (scheme)'
const PREFLIGHT = 'Fetch standard, CORS preflight (no body)'
const SMUGGLED = 'CWE-444 (request smuggling)'
const SPLIT = 'CWE-113 (header splitting)'
const good = ({ jwt }: Forge): string => `Authorization: Bearer ${jwt()}`

const http: readonly Row[] = [
  [
    'two headers, the good one first',
    ONE_HEADER,
    (forge) => get(good(forge), 'Authorization: Bearer evil'),
    'bad request',
  ],
  [
    'two headers, the good one last',
    ONE_HEADER,
    (forge) => get('Authorization: Bearer evil', good(forge)),
    'bad request',
  ],
  ['the good header twice', ONE_HEADER, (forge) => get(good(forge), good(forge)), 'bad request'],
  ['two headers in other cases', ONE_HEADER, (forge) => get(good(forge), good(forge).replace('A', 'a')), 'bad request'],
  ['a good header, and Basic', ONE_HEADER, (forge) => get(good(forge), 'Authorization: Basic YTpi'), 'bad request'],
  ['Basic, and a good header', ONE_HEADER, (forge) => get('Authorization: Basic YTpi', good(forge)), 'bad request'],
  ['a good header, and an empty one', ONE_HEADER, (forge) => get(good(forge), 'Authorization:'), 'bad request'],
  ['two tokens joined by a comma', ONE_HEADER, (forge) => get(`${good(forge)}, Bearer ${forge.jwt()}`), 'bad request'],
  ['a comma behind the token', ONE_HEADER, (forge) => get(`${good(forge)},`), 'bad request'],
  ['a comma before the token', ONE_HEADER, ({ jwt }) => get(`Authorization: Bearer ,${jwt()}`), 'bad request'],
  ['a word behind the token', ONE_TOKEN, (forge) => get(`${good(forge)} evil`), 'bad request'],
  ['a tab and a word behind the token', ONE_TOKEN, (forge) => get(`${good(forge)}\tevil`), 'bad request'],
  ['two tokens', ONE_TOKEN, (forge) => get(`${good(forge)} ${forge.jwt()}`), 'bad request'],
  ['the scheme twice', ONE_TOKEN, ({ jwt }) => get(`Authorization: Bearer Bearer ${jwt()}`), 'bad request'],
  ['no scheme', SCHEME, ({ jwt }) => get(`Authorization: ${jwt()}`), 'no token'],
  ['a tab behind the scheme', SCHEME, ({ jwt }) => get(`Authorization: Bearer\t${jwt()}`), 'no token'],
  ['a no-break space behind the scheme', SCHEME, ({ jwt }) => get(`Authorization: Bearer\xA0${jwt()}`), 'no token'],
  ['a no-break space before the scheme', SCHEME, ({ jwt }) => get(`Authorization: \xA0Bearer ${jwt()}`), 'no token'],
  ['a colon behind the scheme', SCHEME, ({ jwt }) => get(`Authorization: Bearer: ${jwt()}`), 'no token'],
  ['an equals sign behind the scheme', SCHEME, ({ jwt }) => get(`Authorization: Bearer=${jwt()}`), 'no token'],
  ['the scheme Token', SCHEME, ({ jwt }) => get(`Authorization: Token ${jwt()}`), 'no token'],
  ['the scheme DPoP', 'RFC 9449 §7.1', ({ jwt }) => get(`Authorization: DPoP ${jwt()}`), 'no token'],
  [
    'Basic with the token as its password',
    SCHEME,
    ({ jwt }) => get(`Authorization: Basic ${Buffer.from(`x:${jwt()}`).toString('base64')}`),
    'no token',
  ],
  ['the scheme without a token', SCHEME, () => get('Authorization: Bearer'), 'no token'],
  ['an empty header', SCHEME, () => get('Authorization:'), 'no token'],
  ['no header', 'RFC 6750 §3', () => get(), 'no token'],
  ['a token in the query', ELSEWHERE, ({ jwt }) => raw(`GET /mcp?access_token=${jwt()}`), 'no token'],
  [
    'a token in the query as a bearer_token',
    ELSEWHERE,
    ({ jwt }) => raw(`GET /mcp?bearer_token=${jwt()}&token=${jwt()}`),
    'no token',
  ],
  [
    'a token in a form',
    ELSEWHERE,
    ({ jwt }) => body('application/x-www-form-urlencoded', `access_token=${jwt()}`),
    'no token',
  ],
  [
    'a token in JSON',
    ELSEWHERE,
    ({ jwt }) => body('application/json', JSON.stringify({ access_token: jwt() })),
    'no token',
  ],
  [
    'a token in a cookie',
    ELSEWHERE,
    ({ jwt }) => get(`Cookie: access_token=${jwt()}; Authorization=Bearer ${jwt()}`),
    'no token',
  ],
  [
    'a token in X-Forwarded-Authorization',
    ELSEWHERE,
    ({ jwt }) => get(`X-Forwarded-Authorization: Bearer ${jwt()}`, `X-Forwarded-Access-Token: ${jwt()}`),
    'no token',
  ],
  ['a token in Proxy-Authorization', ELSEWHERE, ({ jwt }) => get(`Proxy-Authorization: Bearer ${jwt()}`), 'no token'],
  ['a token in X-Access-Token', ELSEWHERE, ({ jwt }) => get(`X-Access-Token: ${jwt()}`, `Token: ${jwt()}`), 'no token'],
  [
    'a token in a trailer',
    'RFC 9110 §6.5.1 (trailers)',
    ({ jwt }) =>
      `${raw('POST /mcp', 'Transfer-Encoding: chunked', 'Trailer: Authorization')}0\r\nAuthorization: Bearer ${jwt()}\r\n\r\n`,
    'no token',
  ],
  [
    'a user that a proxy is said to have seen',
    'CWE-290 (headers of a proxy)',
    () => get('X-Forwarded-User: alice', 'X-Remote-User: alice', 'Remote-User: alice'),
    'no token',
  ],
  [
    'X-HTTP-Method-Override: OPTIONS',
    PREFLIGHT,
    () =>
      raw('POST /mcp', 'X-HTTP-Method-Override: OPTIONS', 'Access-Control-Request-Method: POST', 'Content-Length: 0'),
    'no token',
  ],
  ['OPTIONS that asks for no method', PREFLIGHT, () => raw('OPTIONS /mcp', 'Origin: https://evil.example'), 'no token'],
  [
    'a preflight with a body',
    PREFLIGHT,
    () => `${raw('OPTIONS /mcp', 'Access-Control-Request-Method: POST', 'Content-Length: 2')}{}`,
    'no token',
  ],
  [
    'a preflight with a body in chunks',
    PREFLIGHT,
    () =>
      `${raw('OPTIONS /mcp', 'Access-Control-Request-Method: POST', 'Transfer-Encoding: chunked')}2\r\n{}\r\n0\r\n\r\n`,
    'no token',
  ],
  [
    'a preflight by GET',
    PREFLIGHT,
    () => get('Access-Control-Request-Method: POST', 'Origin: https://evil.example'),
    'no token',
  ],
  ['HEAD', 'RFC 9110 §9.3.2 (HEAD)', () => raw('HEAD /mcp'), 'no token'],
  ['TRACE', 'RFC 9110 §9.3.8 (TRACE)', () => raw('TRACE /mcp', 'X-Evil: evil.example'), 'no token'],
  ['PROPFIND', 'CWE-650 (methods)', () => raw('PROPFIND /mcp'), 'no token'],
  [
    'a method in lower case',
    'RFC 9110 §9.1',
    () => raw('options /mcp', 'Access-Control-Request-Method: POST'),
    { byNode: 400 },
  ],
  ['a method that nobody knows', 'RFC 9110 §9.1', () => raw('EVIL /mcp'), { byNode: 400 }],
  ['a target in absolute form', 'RFC 9112 §3.2.2', () => raw('GET https://mcp.example.com/mcp'), 'no token'],
  ['a target of another host', 'RFC 9112 §3.2.2', () => raw('GET https://evil.example/mcp'), 'no token'],
  [
    'another Host',
    'CWE-348 (Host header), RFC 9728 §3.3',
    () => get().replace('Host: mcp.example.com', 'Host: evil.example'),
    'no token',
  ],
  [
    'X-Forwarded-Host',
    'CWE-348 (Host header), RFC 9728 §3.3',
    () => get('X-Forwarded-Host: evil.example', 'Forwarded: host=evil.example'),
    'no token',
  ],
  [
    'X-Original-URL to the metadata',
    'CWE-436 (X-Original-URL)',
    () =>
      get(
        'X-Original-URL: /.well-known/oauth-protected-resource',
        'X-Rewrite-URL: /.well-known/oauth-protected-resource',
      ),
    'no token',
  ],
  [
    'a second request without a token on the connection of a good one',
    'RFC 9110 §3.3 (each request by itself)',
    (forge) => get(good(forge)).replace('Connection: close\r\n', '') + get(),
    'no token',
    2,
  ],
  [
    'an upgrade to WebSocket',
    'CWE-306 (WebSocket)',
    () =>
      get(
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      ).replace('Connection: close\r\n', ''),
    'no token',
  ],
  [
    'an upgrade to HTTP/2',
    'CWE-444 (h2c smuggling)',
    () =>
      get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__').replace(
        'Connection: close\r\n',
        '',
      ),
    'no token',
  ],
  ['HTTP/1.0 without a Host', 'RFC 9112 §3.2', () => 'GET /mcp HTTP/1.0\r\n\r\n', 'no token'],
  ['two Hosts', 'RFC 9112 §3.2', () => get('Host: evil.example'), 'no token'],
  ['an escaped space behind the scheme', SCHEME, ({ jwt }) => get(`Authorization: Bearer%20${jwt()}`), 'no token'],
  [
    'a token in the user of an absolute target',
    ELSEWHERE,
    ({ jwt }) => raw(`GET http://x:${jwt()}@mcp.example.com/mcp`),
    'no token',
  ],
  ['a body that never comes', 'CWE-400 (slow bodies)', () => raw('POST /mcp', 'Content-Length: 1000000'), 'no token'],
  [
    'a header behind a line feed alone',
    SPLIT,
    ({ jwt }) => get(`X-A: b\nAuthorization: Bearer ${jwt()}`),
    { byNode: 400 },
  ],
  [
    'a header behind a carriage return alone',
    SPLIT,
    ({ jwt }) => get(`X-A: b\rAuthorization: Bearer ${jwt()}`),
    { byNode: 400 },
  ],
  [
    'a header with a space before its colon',
    SMUGGLED,
    ({ jwt }) => get(`Authorization : Bearer ${jwt()}`),
    { byNode: 400 },
  ],
  [
    'a folded header',
    'RFC 9112 §5.2 (obs-fold)',
    ({ jwt }) => get('Authorization: Bearer', ` ${jwt()}`),
    { byNode: 400 },
  ],
  ['a null byte in the header', SPLIT, (forge) => get(`${good(forge)}\0`), { byNode: 400 }],
  [
    'a length and chunks',
    SMUGGLED,
    () => `${raw('POST /mcp', 'Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    { byNode: 400 },
  ],
  ['two lengths', SMUGGLED, () => `${raw('POST /mcp', 'Content-Length: 4', 'Content-Length: 5')}evil`, { byNode: 400 }],
  ['chunks in another word', SMUGGLED, () => `${raw('POST /mcp', 'Transfer-Encoding: xchunked')}0\r\n\r\n`, 'no token'],
  ['a header of 100 KB', 'CWE-400 (size)', () => get(`Authorization: Bearer ${'a'.repeat(100_000)}`), { byNode: 431 }],
]

/** A request with a body. */
const body = (type: string, text: string): string =>
  raw('POST /mcp', `Content-Type: ${type}`, `Content-Length: ${text.length}`) + text

const ROUTE = '/.well-known/oauth-protected-resource'
const AROUND = 'CWE-288, CWE-436 (a way around the check)'
const target =
  (path: string): ((forge: Forge) => string) =>
  () =>
    raw(`GET ${path}`)

const routes: readonly Row[] = [
  ['dots behind the metadata', AROUND, target(`${ROUTE}/mcp/../../../mcp`), 'no token'],
  ['dots in escapes behind the metadata', AROUND, target(`${ROUTE}/%2e%2e/%2e%2e/mcp`), 'no token'],
  ['an escaped slash behind the metadata', AROUND, target(`${ROUTE}%2F..%2F..%2Fmcp`), 'no token'],
  ['two slashes before the endpoint', AROUND, target('//mcp'), 'no token'],
  ['two slashes before the metadata', AROUND, target(`/${ROUTE}`), 'no token'],
  ['two slashes behind the metadata', AROUND, target(`${ROUTE}//`), 'no token'],
  ['a parameter of the path', AROUND, target(`/mcp;${ROUTE}`), 'no token'],
  ['the metadata in the query', AROUND, target(`/mcp?${ROUTE}`), 'no token'],
  ['the metadata in a fragment', AROUND, target(`/mcp#${ROUTE}`), 'no token'],
  ['the metadata as the host of an absolute target', AROUND, target(`http:/${ROUTE}/mcp`), 'no token'],
  ['another path below the metadata', AROUND, target(`${ROUTE}/other`), 'no token'],
  ['the metadata in capitals', AROUND, target(ROUTE.toUpperCase()), 'no token'],
  ['a null byte behind the metadata', AROUND, target(`${ROUTE}%00`), 'no token'],
  ['the metadata of a path of a prototype', 'CWE-1321 (prototype)', target('/__proto__'), 'no token'],
  ['POST to the metadata', 'CWE-650 (methods)', () => raw(`POST ${ROUTE}`, 'Content-Length: 0'), 'no token'],
  [
    'another Host at the metadata',
    'CWE-348 (Host header), RFC 9728 §3.3',
    () => raw(`GET ${ROUTE}`).replace('Host: mcp.example.com', 'Host: evil.example'),
    'metadata',
  ],
  [
    'an absolute target of another host at the metadata',
    'CWE-348 (Host header), RFC 9728 §3.3',
    () => raw(`GET http://evil.example${ROUTE}`),
    'metadata',
  ],
  [
    'a bad token at the metadata',
    'RFC 9728 §3 (public)',
    () => raw(`GET ${ROUTE}`, 'Authorization: Bearer evil'),
    'opaque',
  ],
]

const attacksOf = (group: 'http' | 'routes', rows: readonly Row[]): Attack[] =>
  rows.map(([name, rule, request, refused, answers]) => ({
    name,
    group,
    rule,
    request,
    refused,
    ...(answers !== undefined && { answers }),
  }))

export const httpAttacks: readonly Attack[] = [...attacksOf('http', http), ...attacksOf('routes', routes)]
