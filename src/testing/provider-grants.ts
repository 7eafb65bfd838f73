import { createHash, randomBytes } from 'node:crypto'
import { jwtVerify, type CryptoKey } from 'jose'
import { basicOf, fieldsOf, json, seeOther, type Asked, type Told } from './nextcloud/exchange.js'
import type { FakeProviderParty, Sign } from './provider-tokens.js'

/** The endpoints of a provider that give something out. */
export interface Grants {
  readonly authorize: (asked: Asked) => Told
  readonly token: (asked: Asked) => Promise<Told>
  readonly signIn: (sub: string) => void
  readonly endSessions: (sub: string) => void
}

interface GrantsParts {
  readonly options: FakeProviderParty
  readonly audience: string
  readonly sign: Sign
  readonly publicKey: CryptoKey
  readonly user: string
}

/** What a code stands for until it is spent. */
interface Code {
  readonly sub: string
  readonly redirectUri: string
  readonly challenge: string
  readonly nonce: string | null
}

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
/** Seconds. */
const LIFETIME = 300

export function createGrants(parts: GrantsParts): Grants {
  const { issuer, clientId } = parts.options
  const codes = new Map<string, Code>()
  /** The `sub` of each refresh token that is good. */
  const refreshTokens = new Map<string, string>()
  let current = parts.user

  const nextRefreshToken = (sub: string): { readonly refresh_token: string } => {
    const token = fresh()
    refreshTokens.set(token, sub)
    return { refresh_token: token }
  }

  async function redeem(form: URLSearchParams): Promise<Told> {
    const code = spend(codes, fieldOf(form, 'code'))
    if (code === undefined || !isOfCode(code, form)) return refused('invalid_grant')
    const { sub, nonce } = code
    const idToken = await parts.sign('JWT', { sub, aud: clientId, ...(nonce !== null && { nonce }) })
    return issue(parts, { sub }, { id_token: idToken, ...nextRefreshToken(sub) })
  }

  async function refresh(form: URLSearchParams): Promise<Told> {
    const sub = spend(refreshTokens, fieldOf(form, 'refresh_token'))
    return sub === undefined ? refused('invalid_grant') : issue(parts, { sub, ...scopeOf(form) }, nextRefreshToken(sub))
  }

  const grants = new Map<string, (form: URLSearchParams) => Promise<Told>>([
    ['authorization_code', redeem],
    ['refresh_token', refresh],
    [EXCHANGE, (form) => exchange(parts, form)],
  ])
  return {
    authorize({ query }) {
      if (!isAuthorization(parts.options, query)) return refused('invalid_request')
      const redirectUri = fieldOf(query, 'redirect_uri')
      const code = fresh()
      const challenge = fieldOf(query, 'code_challenge')
      codes.set(code, { sub: current, redirectUri, challenge, nonce: query.get('nonce') })
      const location = new URL(redirectUri)
      for (const [name, value] of Object.entries({ code, iss: issuer, state: query.get('state') }))
        if (value !== null) location.searchParams.set(name, value)
      return seeOther(location.href)
    },
    async token(asked) {
      const form = fieldsOf(asked)
      if (!isClient(parts.options, asked, form)) return refused('invalid_client', 401)
      return grants.get(fieldOf(form, 'grant_type'))?.(form) ?? refused('unsupported_grant_type')
    },
    signIn(sub) {
      current = sub
    },
    endSessions(sub) {
      for (const [token, owner] of refreshTokens) if (owner === sub) refreshTokens.delete(token)
    },
  }
}

/** Answers with an access token for the audience. */
async function issue(
  { options, audience, sign }: GrantsParts,
  granted: { readonly sub: string; readonly scope?: string },
  more: object,
): Promise<Told> {
  const { sub, ...scope } = granted
  const claims = { sub, aud: audience, client_id: options.clientId, ...scope }
  const token = await sign('at+jwt', claims, { lifetime: LIFETIME })
  return json(200, { access_token: token, token_type: 'Bearer', expires_in: LIFETIME, ...scope, ...more })
}

/** RFC 8693: the same person, another audience. */
async function exchange(parts: GrantsParts, form: URLSearchParams): Promise<Told> {
  const { issuer, clientId, resource } = parts.options
  if (form.get('subject_token_type') !== ACCESS_TOKEN) return refused('invalid_request')
  if (form.get('audience') !== parts.audience) return refused('invalid_target')
  const wanted = { issuer, audience: [resource, clientId], requiredClaims: ['exp'] }
  const token = await jwtVerify(fieldOf(form, 'subject_token'), parts.publicKey, wanted).catch(() => undefined)
  const sub = token?.payload.sub
  // RFC 8693 §2.2.2: a subject token that is not valid is an invalid_request.
  if (sub === undefined) return refused('invalid_request')
  return issue(parts, { sub, ...scopeOf(form) }, { issued_token_type: ACCESS_TOKEN })
}

/** RFC 6749 §4.1.1 and RFC 7636 §4.3. */
const isAuthorization = ({ clientId }: FakeProviderParty, query: URLSearchParams): boolean =>
  query.get('client_id') === clientId &&
  URL.canParse(fieldOf(query, 'redirect_uri')) &&
  query.get('response_type') === 'code' &&
  query.get('code_challenge_method') === 'S256' &&
  fieldOf(query, 'code_challenge') !== ''

/** RFC 6749 §4.1.3 and RFC 7636 §4.6. */
const isOfCode = ({ challenge, redirectUri }: Code, form: URLSearchParams): boolean =>
  createHash('sha256').update(fieldOf(form, 'code_verifier')).digest('base64url') === challenge &&
  form.get('redirect_uri') === redirectUri

/** Returns what a code or a refresh token stands for: both are good once. */
function spend<T>(good: Map<string, T>, given: string): T | undefined {
  const found = good.get(given)
  good.delete(given)
  return found
}

const fieldOf = (form: URLSearchParams, name: string): string => form.get(name) ?? ''

function scopeOf(form: URLSearchParams): { readonly scope?: string } {
  const scope = form.get('scope')
  return scope === null ? {} : { scope }
}

const fresh = (): string => randomBytes(24).toString('base64url')

const refused = (error: string, status = 400): Told => json(status, { error })

/** RFC 6749 §2.3.1: both parts of Basic are form-encoded. */
function isClient({ clientId, clientSecret }: FakeProviderParty, asked: Asked, form: URLSearchParams): boolean {
  const basic = basicOf(asked)
  if (basic === undefined) return form.get('client_id') === clientId && form.get('client_secret') === clientSecret
  const decoded = (part: string) => new URLSearchParams(`_=${part}`).get('_')
  return decoded(basic.name) === clientId && decoded(basic.password) === clientSecret
}
