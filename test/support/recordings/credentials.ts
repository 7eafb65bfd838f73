import { createHash } from 'node:crypto'
import { livingRow } from '../nextcloud/oidc-rows.js'
import { grantCode } from '../nextcloud/oidc-app.js'
import { cookieOf, newSession } from '../nextcloud/sessions.js'
import { addToken, removeToken, type Session } from '../nextcloud/state.js'
import { CALLBACK, MCP_CALLBACK, NEW_PASSWORD, PASSWORD, secretOf, type Bed, type Sent } from './bed.js'
import type { Exchange } from './recorded.js'

const VERIFIER = 'a-code-verifier-of-the-recordings-that-is-long-enough'
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url')
const basic = (name: string, password: string) => Buffer.from(`${name}:${password}`).toString('base64')
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const SECOND = 1_000
const STATE_TOKEN = 'the-state-token'

interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

/** Makes what the placeholders of a request stand for, each when it is asked for. */
export function wallet(bed: Bed, { id, given, request }: Exchange) {
  const { nextcloud, clock, as, send } = bed
  const { state } = nextcloud
  const body = typeof request.body === 'object' ? (request.body ?? {}) : {}
  const post = (path: string, fields: Record<string, string>, headers = {}) =>
    send({ method: 'POST', path, headers: { ...FORM, ...headers }, body: new URLSearchParams(fields).toString() })

  // Tokens of the provider, which user_oidc takes.
  const exchanged = (user: string, claims: Record<string, unknown> = {}) =>
    as.mint({
      sub: `id of ${user}`,
      preferred_username: user,
      email: `${user}@example.com`,
      aud: 'nextcloud',
      ...claims,
    })

  // The app oidc.
  const OIDC = '/apps/oidc/token'
  const clientId = oidcClientOf(id)
  const client = { client_id: clientId, client_secret: secretOf(clientId) }
  const code = () => {
    const resource = 'https://mcp.example.com/mcp'
    const query = {
      client_id: clientId,
      scope: 'openid profile offline_access',
      nonce: 'n1',
      code_challenge: CHALLENGE,
      resource,
    }
    return grantCode(state, 'alice', new URLSearchParams(query)).code
  }
  const redemption = (given: string, fields = {}) => ({
    ...client,
    ...{ grant_type: 'authorization_code', code: given, code_verifier: VERIFIER, redirect_uri: CALLBACK },
    ...fields,
  })
  const redeem = async (given = code()) => JSON.parse((await post(OIDC, redemption(given))).text) as Tokens
  const refresh = (token: string, fields = {}) =>
    post(OIDC, { ...client, grant_type: 'refresh_token', refresh_token: token, ...fields })
  const wait = () => {
    const [, seconds] = /(?:^|[^\d,])(905|1,810) seconds/.exec(given) ?? [undefined, /-(905|1810)/.exec(id)?.[1]]
    const aged = seconds ?? (given === 'row aged in the database' ? '1810' : '0')
    clock.advance(Number(aged.replace(',', '')) * SECOND)
  }
  async function oidcCode(): Promise<string> {
    const made = code()
    if (given === 'code redeemed') await redeem(made)
    if (given.startsWith('code refused for the client'))
      await post(
        OIDC,
        redemption(made, {
          client_id: 'resource-server-client-id',
          client_secret: secretOf('resource-server-client-id'),
        }),
      )
    if (given.startsWith('code refused for its verifier'))
      await post(OIDC, redemption(made, { code_verifier: 'wrong' }))
    wait()
    return made
  }
  async function oidcRefreshToken(): Promise<string> {
    const made = code()
    const { access_token: access, refresh_token: token } = await redeem(made)
    if (given.startsWith('code redeemed, then sent again')) await post(OIDC, redemption(made))
    if (given.includes('refused for its client')) await refresh(token, { client_id: 'nobody' })
    wait()
    if (given.includes('presented to OCS')) livingRow(state, access)
    if (given.startsWith('refused as expired')) {
      clock.advance(1_810 * SECOND)
      await refresh(token)
    }
    return token
  }
  async function oidcAccessToken(): Promise<string> {
    const { access_token: token } = await redeem()
    wait()
    return token
  }

  // The core app oauth2.
  const OAUTH2 = '/index.php/apps/oauth2/api/v1/token'
  const own = { client_id: 'oauth2-client-id', client_secret: secretOf('oauth2-client-id') }
  const oauth2Code = () => nextcloud.oauth2.grantCode('alice', own.client_id)
  const oauth2Redeem = async (given: string) =>
    JSON.parse((await post(OAUTH2, { ...own, grant_type: 'authorization_code', code: given })).text) as Tokens
  async function oauth2Tokens(): Promise<Tokens> {
    const tokens = await oauth2Redeem(oauth2Code())
    const session = state.tokens.find(({ password }) => password === tokens.access_token)!
    if (/after DELETE|removed|session deleted/.test(given)) removeToken(state, session)
    if (given.includes('expired') || given.includes('aged')) session.endsAt = 0
    return tokens
  }

  // Login Flow v2.
  async function begin() {
    const answer = await send({ method: 'POST', path: '/index.php/login/v2', headers: { 'user-agent': 'Acme notes' } })
    const { poll, login } = JSON.parse(answer.text) as { poll: { token: string }; login: string }
    return { pollToken: poll.token, loginToken: login.split('/').at(-1)! }
  }
  const session = newSession(state, request.headers['cookie'] === '<session of alice>' ? 'alice' : undefined)
  if (given.startsWith('was signed in')) session.uid = undefined
  let begun: ReturnType<typeof begin> | undefined
  async function inFlow(by: Session = session) {
    const made = await (begun ??= begin())
    by.kept.set('login-token', made.loginToken)
    by.kept.set('state-token', STATE_TOKEN)
    if (!given.startsWith('granted')) return made
    const alice = newSession(state, 'alice')
    for (const [name, value] of by.kept) alice.kept.set(name, value)
    await post(
      '/login/v2/grant',
      { stateToken: STATE_TOKEN, requesttoken: alice.requestToken },
      { cookie: cookieOf(alice) },
    )
    by.kept.delete('state-token')
    if (given.includes('polled')) await post('/login/v2/poll', { token: made.pollToken })
    return made
  }
  async function pollToken(): Promise<string> {
    if (id === 'flow.poll.wrong-token') return 'made-up'
    const { pollToken: token } = await inFlow()
    const [, minutes = '0'] = /(\d+)-minutes/.exec(id) ?? []
    clock.advance(Number(minutes) * 60 * SECOND)
    return token
  }
  async function loginToken(): Promise<string> {
    if (id === 'flow.open.wrong-token') return 'made-up'
    const { loginToken: token } = await inFlow()
    if (id.endsWith('20-minutes')) clock.advance(20 * 60 * SECOND)
    return token
  }
  async function browser(): Promise<string> {
    if (id.startsWith('flow.') && !id.includes('.open.')) await inFlow()
    if (id.startsWith('flow.grant-page.agent')) session.kept.delete('state-token')
    return cookieOf(session)
  }

  // App passwords.
  function appPassword(uid: string): string {
    const token = addToken(state, { kind: 'app-password', uid, name: 'Acme notes' })
    if (given.includes('deleted')) removeToken(state, token)
    return basic(uid, token.password)
  }
  async function register() {
    const fields = { client_name: 'Recorded client', redirect_uris: [MCP_CALLBACK] }
    const json = { 'content-type': 'application/json' }
    await send({ method: 'POST', path: '/apps/oidc/register', headers: json, body: JSON.stringify(fields) })
    const made = state.oidcClients.at(-1)!
    if (given.includes('aged')) clock.advance(3_600 * SECOND)
    return made
  }
  let registered: ReturnType<typeof register> | undefined
  const registration = () => (registered ??= register())
  const isOidc = id.startsWith('oidc.')
  const isOAuth2 = id.startsWith('oauth2.')

  const makers: Readonly<Record<string, () => string | Promise<string>>> = {
    '<account password of alice>': () => basic('alice', PASSWORD),
    '<new account password of alice>': () => basic('alice', NEW_PASSWORD),
    '<wrong password of alice>': () => basic('alice', 'wrong'),
    '<an account that does not exist>': () => basic('nobody', 'wrong'),
    '<app password of alice>': () => appPassword('alice'),
    '<app password of another account>': () => appPassword('admin'),
    '<app password of the flow>': () => appPassword('alice'),
    '<exchanged token of alice, aud nextcloud>': () => exchanged('alice'),
    '<exchanged token of frank, aud nextcloud>': () => exchanged('frank'),
    '<exchanged token of a user whom Nextcloud does not know, aud nextcloud>': () => exchanged('bob'),
    '<exchanged token of alice, expired>': () => exchanged('alice', { exp: Math.floor(clock.now() / SECOND) - 61 }),
    '<token of alice for the MCP server, without aud nextcloud>': () => exchanged('alice', { aud: 'mcp-server' }),
    '<exchanged token with another signature>': async () =>
      (await exchanged('alice')).replace(/[^.]+$/, 'A'.repeat(86)),
    '<72 hex characters>': () => 'ab'.repeat(36),
    '<client id and secret>': () =>
      isOidc ? basic(client.client_id, client.client_secret) : basic(own.client_id, own.client_secret),
    '<client id and a wrong secret>': () => basic(isOidc ? clientId : own.client_id, 'wrong'),
    '<secret of the client>': () => secretOf(String(body['client_id'])),
    '<wrong secret>': () => 'wrong',
    '<code>': async () => {
      if (!isOAuth2) return oidcCode()
      const made = oauth2Code()
      if (given === 'code redeemed') await oauth2Redeem(made)
      return made
    },
    '<code_verifier>': () => VERIFIER,
    '<code_challenge>': () => CHALLENGE,
    '<refresh token>': async () => (isOAuth2 ? (await oauth2Tokens()).refresh_token : oidcRefreshToken()),
    '<refresh token, used>': async () => {
      const { refresh_token: used } = isOAuth2 ? await oauth2Tokens() : await redeem()
      await (isOAuth2 ? post(OAUTH2, { ...own, grant_type: 'refresh_token', refresh_token: used }) : refresh(used))
      return used
    },
    '<refresh_token, 7 characters>': () => 'made-up',
    '<access token of the client>': oidcAccessToken,
    '<access token of the MCP client>': oidcAccessToken,
    '<JWT of the MCP client>': oidcAccessToken,
    '<access token of the oidc app>': oidcAccessToken,
    '<JWT of the oidc app>': oidcAccessToken,
    '<opaque token of the oidc app>': oidcAccessToken,
    '<opaque token of the MCP client>': oidcAccessToken,
    '<access token of core oauth2>': async () => (await oauth2Tokens()).access_token,
    '<access token of core oauth2, expired>': async () => (await oauth2Tokens()).access_token,
    '<client_id>': async () => (await registration()).clientId,
    '<registration access token>': async () => (await registration()).registrationToken!,
    '<poll token, 128 characters>': pollToken,
    '<login token>': loginToken,
    '<session, not signed in>': browser,
    '<session of alice>': browser,
    '<state token>': () => STATE_TOKEN,
    '<requesttoken, 89 characters>': () => session.requestToken,
    '<etag>': () => {
      const file = bed.alice().files.children.get('rec')
      const node = file?.kind === 'folder' ? file.children.get('a.txt') : undefined
      return node?.kind === 'file' ? node.etag : ''
    },
  }
  /** Replaces the placeholders of a text. */
  return async function filled(text: string): Promise<string> {
    let result = text
    for (const [placeholder] of text.matchAll(/<[^<>?/:]+>/g)) {
      const maker = makers[placeholder]
      if (maker !== undefined) result = result.replaceAll(placeholder, await maker())
    }
    return result
  }
}

/** The client that a token of an exchange is of. */
function oidcClientOf(id: string): string {
  if (/public-jwt|foreign-jwt|resource-jwt|app-jwt|userinfo\.jwt/.test(id)) return 'mcp-client-id'
  if (/public-opaque|foreign-opaque|resource-opaque|opaque-other/.test(id)) return 'mcp-opaque-client-id'
  return 'mcp-server-client-id'
}

/** Bytes of bodies that the recordings leave out. */
const BODIES: Readonly<Record<string, Buffer>> = {
  'dav.chunk.put-1': Buffer.alloc(5_242_880, 'a'),
  'dav.quota.put': Buffer.alloc(4_096, 'q'),
  'dav.quota.chunk': Buffer.alloc(4_096, 'q'),
}

/** Returns the request of an exchange as it can be sent here. */
export async function requestOf(bed: Bed, exchange: Exchange): Promise<Sent> {
  const { id, given, request } = exchange
  const fill = wallet(bed, exchange)
  const headers: Record<string, string> = {}
  const sent: Exchange['request']['headers'] = { accept: '*/*', 'user-agent': 'node', ...request.headers }
  for (const [name, value] of Object.entries(sent)) if (value !== null) headers[name] = await fill(value)
  const fields = Object.entries(typeof request.body === 'object' ? (request.body ?? {}) : {})
  const isForm = headers['content-type']?.startsWith('application/x-www-form') === true
  const filledFields: [string, unknown][] = []
  for (const [name, value] of fields) filledFields.push([name, typeof value === 'string' ? await fill(value) : value])
  const body =
    BODIES[id] ??
    (typeof request.body === 'string'
      ? request.body
      : request.body == null
        ? undefined
        : isForm
          ? new URLSearchParams(filledFields as [string, string][]).toString()
          : JSON.stringify(Object.fromEntries(filledFields)))
  return {
    method: request.method,
    path: await fill(request.path),
    headers: { ...headers, ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }) },
    body,
    ...(given.includes('evil.example.net') && { host: 'evil.example.net' }),
  }
}
