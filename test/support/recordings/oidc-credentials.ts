import { createHash } from 'node:crypto'
import { grantCode } from '../nextcloud/oidc-app.js'
import { livingRow } from '../nextcloud/oidc-rows.js'
import { CALLBACK, MCP_CALLBACK, secretOf } from './bed.js'
import { basic, clientFields, SECOND, type Makers, type Making, type Tokens } from './makers.js'

const VERIFIER = 'a-code-verifier-of-the-recordings-that-is-long-enough'
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url')
const TOKEN = '/apps/oidc/token'
/** Seconds by which rows were aged that no longer live. */
const OLD = 1_810

/** Credentials of the app `oidc`. */
export function oidcCredentials(making: Making): Makers {
  const { id, fields } = making
  const clientId = clientOf(id)
  const accessToken = async () => {
    const { access_token: token } = await redeem(making, code(making))
    age(making)
    return token
  }
  return {
    '<client id and secret>': () => basic(clientId, secretOf(clientId)),
    '<client id and a wrong secret>': () => basic(clientId, 'wrong'),
    '<secret of the client>': () => secretOf(String(fields['client_id'])),
    '<code>': () => codeIn(making),
    '<code_verifier>': () => VERIFIER,
    '<code_challenge>': () => CHALLENGE,
    '<refresh token>': () => refreshTokenIn(making),
    '<refresh token, used>': async () => {
      const { refresh_token: used } = await redeem(making, code(making))
      await refresh(making, used)
      return used
    },
    '<access token of the client>': accessToken,
    '<access token of the MCP client>': accessToken,
    '<JWT of the MCP client>': accessToken,
    '<access token of the oidc app>': accessToken,
    '<JWT of the oidc app>': accessToken,
    '<opaque token of the oidc app>': accessToken,
    '<opaque token of the MCP client>': accessToken,
    ...registeredClient(making),
  }
}

/** The client that a token of an exchange is of. */
function clientOf(id: string): string {
  if (/public-jwt|foreign-jwt|resource-jwt|app-jwt|userinfo\.jwt/.test(id)) return 'mcp-client-id'
  if (/public-opaque|foreign-opaque|resource-opaque|opaque-other/.test(id)) return 'mcp-opaque-client-id'
  return 'mcp-server-client-id'
}

function code({ id, nextcloud }: Making): string {
  const resource = 'https://mcp.example.com/mcp'
  const scope = 'openid profile offline_access'
  const query = { client_id: clientOf(id), scope, nonce: 'n1', code_challenge: CHALLENGE, resource }
  return grantCode(nextcloud.state, 'alice', new URLSearchParams(query)).code
}

const redemption = ({ id }: Making, made: string) => ({
  ...clientFields(clientOf(id)),
  ...{ grant_type: 'authorization_code', code: made, code_verifier: VERIFIER, redirect_uri: CALLBACK },
})

const redeem = async (making: Making, made: string) =>
  JSON.parse((await making.post(TOKEN, redemption(making, made))).text) as Tokens

const refresh = (making: Making, token: string, more = {}) =>
  making.post(TOKEN, {
    ...clientFields(clientOf(making.id)),
    grant_type: 'refresh_token',
    refresh_token: token,
    ...more,
  })

/** Lets pass what rows were aged by in the database. */
function age({ id, given, clock }: Making): void {
  const [, stated] = /(?:^|[^\d,])(905|1,810) seconds/.exec(given) ?? [undefined, /-(905|1810)/.exec(id)?.[1]]
  const seconds = stated ?? (given === 'row aged in the database' ? String(OLD) : '0')
  clock.advance(Number(seconds.replace(',', '')) * SECOND)
}

async function codeIn(making: Making): Promise<string> {
  const { given, post } = making
  const made = code(making)
  if (given === 'code redeemed') await redeem(making, made)
  if (given.startsWith('code refused for the client'))
    await post(TOKEN, { ...redemption(making, made), ...clientFields('resource-server-client-id') })
  if (given.startsWith('code refused for its verifier'))
    await post(TOKEN, { ...redemption(making, made), code_verifier: 'wrong' })
  age(making)
  return made
}

async function refreshTokenIn(making: Making): Promise<string> {
  const { given, post, nextcloud, clock } = making
  const made = code(making)
  const { access_token: access, refresh_token: token } = await redeem(making, made)
  if (given.startsWith('code redeemed, then sent again')) await post(TOKEN, redemption(making, made))
  if (given.includes('refused for its client')) await refresh(making, token, { client_id: 'nobody' })
  age(making)
  if (given.includes('presented to OCS')) livingRow(nextcloud.state, access)
  if (given.startsWith('refused as expired')) {
    clock.advance(OLD * SECOND)
    await refresh(making, token)
  }
  return token
}

/** A client that has registered itself. */
function registeredClient({ given, nextcloud: { state }, send, clock }: Making): Makers {
  async function register() {
    const fields = { client_name: 'Recorded client', redirect_uris: [MCP_CALLBACK] }
    const headers = { 'content-type': 'application/json' }
    await send({ method: 'POST', path: '/apps/oidc/register', headers, body: JSON.stringify(fields) })
    const made = state.oidcClients.at(-1)!
    if (given.includes('aged')) clock.advance(3_600 * SECOND)
    return made
  }
  let registered: ReturnType<typeof register> | undefined
  const registration = () => (registered ??= register())
  return {
    '<client_id>': async () => (await registration()).clientId,
    '<registration access token>': async () => (await registration()).registrationToken!,
  }
}
