import { find } from '../../../src/testing/nextcloud/files.js'
import { addToken, removeToken } from '../nextcloud/state.js'
import { NEW_PASSWORD, PASSWORD, type Bed, type Sent } from './bed.js'
import { flowCredentials } from './flow-credentials.js'
import { basic, makingFor, SECOND, type Makers, type Making } from './makers.js'
import { oauth2Credentials } from './oauth2-credentials.js'
import { oidcCredentials } from './oidc-credentials.js'
import type { Exchange } from './recorded.js'

/** Credentials of accounts, and tokens of the provider whose tokens `user_oidc` takes. */
function accountCredentials({ given, nextcloud: { state }, as, clock, alice }: Making): Makers {
  const exchanged = (user: string, claims: Record<string, unknown> = {}) =>
    as.mint({
      sub: `id of ${user}`,
      preferred_username: user,
      email: `${user}@example.com`,
      aud: 'nextcloud',
      ...claims,
    })
  function appPassword(uid: string): string {
    const token = addToken(state, { kind: 'app-password', uid, name: 'Acme notes' })
    if (given.includes('deleted')) removeToken(state, token)
    return basic(uid, token.password)
  }
  return {
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
    '<wrong secret>': () => 'wrong',
    '<refresh_token, 7 characters>': () => 'made-up',
    '<etag>': () => {
      const file = find(alice().files, ['rec', 'a.txt'])
      return file?.kind === 'file' ? file.etag : ''
    },
  }
}

/** Returns what replaces the placeholders of a text. */
function filling(bed: Bed, exchange: Exchange): (text: string) => Promise<string> {
  const making = makingFor(bed, exchange)
  const isSignedIn = exchange.request.headers['cookie'] === '<session of alice>'
  const makers: Makers = {
    ...accountCredentials(making),
    ...oauth2Credentials(making),
    ...(!exchange.id.startsWith('oauth2.') && oidcCredentials(making)),
    ...flowCredentials(making, isSignedIn),
  }
  return async (text) => {
    let result = text
    for (const [placeholder] of text.matchAll(/<[^<>?/:]+>/g)) {
      const maker = makers[placeholder]
      if (maker !== undefined) result = result.replaceAll(placeholder, await maker())
    }
    return result
  }
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
  const fill = filling(bed, exchange)
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
