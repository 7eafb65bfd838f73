import { createHash } from 'node:crypto'
import { exportJWK, generateKeyPair, SignJWT, type JWTPayload } from 'jose'
import {
  basicOf,
  bearerOf,
  empty,
  fieldsOf,
  forbidden,
  fresh,
  json,
  notFound,
  page,
  seeOther,
  signedIn,
} from '../../../src/testing/nextcloud/exchange.js'
import type { Asked, Told } from '../../../src/testing/nextcloud/exchange.js'
import { isOld, livingRow, oidcRows, REAL_LIFE, removeRow, seconds, STATED_LIFE, type OidcRow } from './oidc-rows.js'
import { registrations } from './oidc-registration.js'
import { clearSession, loginPage, sessionOf } from './sessions.js'
import type { NextcloudState, OAuthClient } from './state.js'

const APP = '/apps/oidc'
const OPEN = (methods: string) => ({ 'access-control-allow-origin': '*', 'access-control-allow-methods': methods })
const KID = 'stand-in'

/** One key pair for all stand-ins: making one takes its time. */
let keyPair: ReturnType<typeof generateKeyPair> | undefined
export const signingKeys = () => (keyPair ??= generateKeyPair('RS256', { extractable: true }))

/** Nextcloud as an authorization server, by the app `oidc` (H2CK). Every error of a client is 400 at its token endpoint. */
export async function oidcApp(state: NextcloudState, asked: Asked): Promise<Told | undefined> {
  const { method, path } = asked
  if (!state.settings.apps.has('oidc')) return undefined
  if (path.endsWith('/.well-known/openid-configuration')) {
    if (method !== 'GET') return empty(405)
    return json(200, metadata(state, asked), { ...OPEN('GET'), 'x-nextcloud-well-known': '1' })
  }
  if (!path.startsWith(`${APP}/`)) return undefined
  const route = path.slice(APP.length)
  if (route === '/openid-configuration') return json(200, metadata(state, asked), OPEN('GET'))
  if (route === '/jwks') {
    const jwk = await exportJWK((await signingKeys()).publicKey)
    const key = { kty: jwk.kty, use: 'sig', key_ops: ['verify'], alg: 'RS256', kid: KID, n: jwk.n, e: jwk.e }
    return json(200, { keys: [key] }, OPEN('GET'))
  }
  if (route === '/authorize') return authorize(state, asked)
  // A script, which goes on to `/authorize`.
  if (route === '/redirect') return page(200, '<p>Redirect</p>')
  if (route === '/token') return method === 'POST' ? token(state, asked) : empty(405)
  if (route === '/introspect') return introspect(state, asked)
  if (route === '/userinfo') return userinfo(state, asked)
  if (route.startsWith('/register')) return registrations(state, asked, route.slice('/register'.length))
  return notFound()
}

function metadata({ settings }: NextcloudState, { base }: Asked) {
  const app = base + APP
  const clientAuthentication = ['client_secret_post', 'client_secret_basic']
  return {
    issuer: base,
    authorization_endpoint: `${app}/authorize`,
    token_endpoint: `${app}/token`,
    userinfo_endpoint: `${app}/userinfo`,
    jwks_uri: `${app}/jwks`,
    scopes_supported: ['openid', 'profile', 'email', 'roles', 'groups', 'offline_access'],
    response_types_supported: ['code', 'code id_token', 'id_token'],
    response_modes_supported: ['query', 'fragment', 'form_post'],
    grant_types_supported: ['authorization_code', 'implicit', 'refresh_token'],
    acr_values_supported: ['0'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256', 'HS256'],
    token_endpoint_auth_methods_supported: clientAuthentication,
    display_values_supported: ['page'],
    claim_types_supported: ['normal'],
    claims_supported:
      'iss sub aud exp auth_time iat acr azp preferred_username scope nbf jti roles groups name given_name family_name middle_name updated_at website email email_verified website phone_number address picture quota'.split(
        ' ',
      ),
    claims_parameter_supported: true,
    request_parameter_supported: false,
    request_uri_parameter_supported: false,
    end_session_endpoint: `${app}/logout`,
    ...(settings.dynamicRegistration && { registration_endpoint: `${app}/register` }),
    introspection_endpoint: `${app}/introspect`,
    introspection_endpoint_auth_methods_supported: clientAuthentication,
    code_challenge_methods_supported: ['S256', 'plain'],
  }
}

function authorize(state: NextcloudState, asked: Asked): Told {
  const { query } = asked
  const session = sessionOf(state, asked)
  const prompt = query.get('prompt')
  if (session?.uid !== undefined && prompt === 'login') clearSession(session)
  const uid = session?.uid
  if (uid === undefined) {
    if (prompt !== 'none') return loginPage(asked, returnPath(query))
    const redirect = query.get('redirect_uri') ?? ''
    const error = 'error=login_required&error_description=User%20is%20not%20logged%20in.'
    return seeOther(`${redirect}?${error}&state=${query.get('state') ?? ''}`)
  }
  const client = livingClient(state, query.get('client_id'))
  const words = 'Please inform the administrator of your client.'
  const refuse = (problem: string) => ({ ...forbidden(`${problem} ${words}`, signedIn(uid)), status: 200 })
  if (client === undefined) return refuse('Your client is not authorized to connect.')
  const redirect = query.get('redirect_uri') ?? ''
  if (!client.redirectUris.includes(redirect)) return refuse('The received redirect URI is not accepted to connect.')
  const row = grantCode(state, uid, query)
  return seeOther(`${redirect}?state=${query.get('state') ?? ''}&code=${row.code}`, signedIn(uid))
}

/** Returns the address that a sign-in leads to, written as the app writes it. */
function returnPath(query: URLSearchParams): string {
  const names = 'client_id state response_type redirect_uri scope nonce code_challenge code_challenge_method resource'
  const fields = names.split(' ').flatMap((name) => (query.has(name) ? [[name, query.get(name) ?? ''] as const] : []))
  if (query.get('prompt') === 'login') fields.push(['prompt', 'login'])
  const text = fields.map(
    ([name, value]) => `${name}=${encodeURIComponent(value).replaceAll('%3A', ':').replaceAll('%2F', '/')}`,
  )
  return `${APP}/redirect?${text.join('&')}`
}

/** Makes a row with a code in it, as when somebody has agreed. */
export function grantCode(state: NextcloudState, uid: string, query: URLSearchParams): OidcRow {
  const row: OidcRow = {
    uid,
    clientId: query.get('client_id') ?? '',
    scope: query.get('scope') ?? '',
    resource: query.get('resource') ?? '',
    nonce: query.get('nonce') ?? undefined,
    challenge: query.get('code_challenge') ?? undefined,
    code: fresh(128),
    accessToken: undefined,
    spent: undefined,
    refreshed: seconds(state),
  }
  oidcRows(state).push(row)
  return row
}

function livingClient({ oidcClients, now }: NextcloudState, id: string | null): OAuthClient | undefined {
  return oidcClients.find(({ clientId, endsAt = Infinity }) => clientId === id && now() < endsAt)
}

const refusal = (error: string, description: string, status = 400): Told =>
  json(status, { error, error_description: description })

/** Reads the client of a request: Basic counts only where the body names none. */
function presented(asked: Asked): { readonly id: string | undefined; readonly secret: string | undefined } {
  const form = fieldsOf(asked)
  const basic = basicOf(asked)
  if (form.has('client_id') || basic === undefined)
    return { id: form.get('client_id') ?? undefined, secret: form.get('client_secret') ?? undefined }
  return { id: decodeURIComponent(basic.name), secret: decodeURIComponent(basic.password) }
}

/** The refusals of the token endpoint in their order: the grant is looked up before the client. */
function problemOf(state: NextcloudState, asked: Asked, row: OidcRow): Told | undefined {
  const { id, secret } = presented(asked)
  if (id === undefined) return refusal('invalid_client', 'Missing client_id.')
  const client = livingClient(state, id)
  if (client === undefined) return refusal('invalid_client', 'Client not found.')
  if (client.isPublic !== true && client.secret !== secret)
    return refusal('invalid_client', 'Client authentication failed.')
  if (id !== row.clientId) return refusal('invalid_grant', 'Grant is not valid for this client.')
  return undefined
}

/** The refusals by which the row is lost. */
function endOf(state: NextcloudState, form: URLSearchParams, row: OidcRow): Told | undefined {
  const isRefresh = form.get('grant_type') === 'refresh_token'
  if (row.spent !== undefined && row.spent === form.get('code'))
    return refusal('invalid_grant', 'Authorization code has already been used.')
  if (isOld(state, row))
    return refusal('invalid_grant', isRefresh ? 'Refresh token is expired.' : 'Access token already expired.')
  if (isRefresh || row.challenge === undefined) return undefined
  const expected = createHash('sha256')
    .update(form.get('code_verifier') ?? '')
    .digest('base64url')
  return row.challenge === expected ? undefined : refusal('invalid_grant', 'Invalid code_verifier.')
}

async function token(state: NextcloudState, asked: Asked): Promise<Told> {
  const form = fieldsOf(asked)
  const grantType = form.get('grant_type') ?? ''
  if (!['authorization_code', 'refresh_token'].includes(grantType)) {
    const words = 'Invalid grant_type provided. Must be authorization_code or refresh_token.'
    return refusal('invalid_grant', words)
  }
  const code = form.get(grantType === 'refresh_token' ? 'refresh_token' : 'code')
  if (code === null || code === '') return refusal('invalid_request', 'Missing code or refresh_token.')
  const row = oidcRows(state).find(
    (each) => each.code === code || (grantType !== 'refresh_token' && each.spent === code),
  )
  if (row === undefined) return refusal('invalid_grant', 'Could not find access token for code or refresh_token.')
  const problem = problemOf(state, asked, row)
  if (problem !== undefined) return problem
  const end = endOf(state, form, row)
  if (end !== undefined) {
    removeRow(state, row)
    return end
  }
  // Nothing is locked: whoever else has read the row by now goes on with it too.
  await new Promise(setImmediate)
  return json(200, await renewed(state, asked, row, grantType), OPEN('GET, POST'))
}

async function renewed(state: NextcloudState, { base }: Asked, row: OidcRow, grantType: string) {
  if (grantType === 'authorization_code') row.spent = row.code
  row.code = fresh(128)
  row.refreshed = seconds(state)
  row.accessToken = await accessTokenFor(state, base, row)
  return {
    access_token: row.accessToken,
    token_type: 'Bearer',
    expires_in: STATED_LIFE,
    id_token: await idTokenFor(state, base, row),
    refresh_token: row.code,
    refresh_expires_in: STATED_LIFE,
  }
}

/** An access token is opaque unless its client has another type (RFC 9068). */
export async function accessTokenFor(state: NextcloudState, issuer: string, row: OidcRow): Promise<string> {
  const client = state.oidcClients.find(({ clientId }) => clientId === row.clientId)
  if (client?.jwt !== true) return fresh(72)
  const { uid, clientId, scope, resource } = row
  const claims = { sub: uid, aud: resource === '' ? clientId : resource, client_id: clientId, scope, jti: fresh(32) }
  return sign(state, issuer, claims, 'at+jwt')
}

function idTokenFor(state: NextcloudState, issuer: string, { uid, clientId, nonce, scope }: OidcRow): Promise<string> {
  const claims = { sub: uid, aud: clientId, azp: clientId, acr: '0', scope, preferred_username: uid, nonce }
  return sign(state, issuer, { ...claims, auth_time: seconds(state) }, 'JWT')
}

async function sign(state: NextcloudState, issuer: string, claims: JWTPayload, typ: string): Promise<string> {
  const now = seconds(state)
  return new SignJWT({ iss: issuer, iat: now, nbf: now, exp: now + STATED_LIFE, ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: KID, typ })
    .sign((await signingKeys()).privateKey)
}

/** RFC 7662. `aud` is the client that has the token, whatever it is for. */
function introspect(state: NextcloudState, asked: Asked): Told {
  const { id, secret } = presented(asked)
  const client = livingClient(state, id ?? null)
  if (client === undefined || client.secret !== secret)
    return refusal('invalid_client', 'Client authentication failed.', 401)
  const given = fieldsOf(asked).get('token') ?? ''
  if (given === '') return refusal('invalid_request', 'Token parameter is required.')
  const row = livingRow(state, given)
  const isOurs = row !== undefined && (row.clientId === id || row.resource === client.resourceUrl)
  if (!isOurs) return json(200, { active: false })
  const { uid, clientId, scope, refreshed } = row
  return json(
    200,
    {
      active: true,
      scope,
      client_id: clientId,
      username: uid,
      token_type: 'Bearer',
      exp: refreshed + REAL_LIFE,
      iat: refreshed,
      sub: uid,
      aud: clientId,
    },
    OPEN('POST'),
  )
}

function userinfo(state: NextcloudState, asked: Asked): Told {
  const bearer = bearerOf(asked)
  if (bearer === undefined) return refusal('invalid_request', 'No bearer token found in request.')
  const row = livingRow(state, bearer)
  const account = state.accounts.get(row?.uid ?? '')
  if (row === undefined || account === undefined)
    return refusal('invalid_request', 'Could not find provided bearer token.')
  const [given = '', family] = account.displayName.split(' ')
  return json(
    200,
    {
      sub: account.uid,
      preferred_username: account.uid,
      scope: row.scope,
      updated_at: seconds(state),
      name: account.displayName,
      ...(family !== undefined && { family_name: family }),
      given_name: given,
      picture: `${asked.base}/avatar/${account.uid}/64`,
    },
    OPEN('GET, POST'),
  )
}
