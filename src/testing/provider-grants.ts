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

export function createGrants({ options, audience, sign, publicKey, user }: GrantsParts): Grants {
  const { issuer, clientId, resource } = options
  const codes = new Map<string, Code>()
  /** The `sub` of each refresh token that is good. */
  const refreshTokens = new Map<string, string>()
  let current = user

  async function issue(sub: string, scope: string | null, more: object = {}): Promise<Told> {
    const claims = { sub, aud: audience, client_id: clientId, ...(scope !== null && { scope }) }
    const token = await sign('at+jwt', claims, { lifetime: LIFETIME })
    const answer = { access_token: token, token_type: 'Bearer', expires_in: LIFETIME, ...claimed(scope), ...more }
    return json(200, answer)
  }

  /** RFC 8693: the same person, another audience. */
  async function exchange(form: URLSearchParams): Promise<Told> {
    if (form.get('subject_token_type') !== ACCESS_TOKEN) return refused('invalid_request')
    if (form.get('audience') !== audience) return refused('invalid_target')
    const wanted = { issuer, audience: [resource, clientId], requiredClaims: ['sub', 'exp'] }
    const token = await jwtVerify(form.get('subject_token') ?? '', publicKey, wanted).catch(() => undefined)
    // RFC 8693 §2.2.2: a subject token that is not valid is an invalid_request.
    if (token === undefined) return refused('invalid_request')
    return issue(token.payload.sub ?? '', form.get('scope'), { issued_token_type: ACCESS_TOKEN })
  }

  function nextRefreshToken(sub: string): { readonly refresh_token: string } {
    const token = fresh()
    refreshTokens.set(token, sub)
    return { refresh_token: token }
  }

  async function redeem(form: URLSearchParams): Promise<Told> {
    const given = form.get('code') ?? ''
    const code = codes.get(given)
    codes.delete(given)
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (code?.challenge !== challenge || code.redirectUri !== form.get('redirect_uri')) return refused('invalid_grant')
    const { sub, nonce } = code
    const idToken = await sign('JWT', { sub, aud: clientId, ...(nonce !== null && { nonce }) })
    return issue(sub, null, { id_token: idToken, ...nextRefreshToken(sub) })
  }

  /** A refresh token is good once. */
  async function refresh(form: URLSearchParams): Promise<Told> {
    const given = form.get('refresh_token') ?? ''
    const sub = refreshTokens.get(given)
    refreshTokens.delete(given)
    return sub === undefined ? refused('invalid_grant') : issue(sub, form.get('scope'), nextRefreshToken(sub))
  }

  return {
    authorize({ query }) {
      const redirectUri = query.get('redirect_uri') ?? ''
      const challenge = query.get('code_challenge') ?? ''
      if (query.get('client_id') !== clientId || !URL.canParse(redirectUri)) return refused('invalid_request')
      if (query.get('response_type') !== 'code' || query.get('code_challenge_method') !== 'S256' || challenge === '')
        return refused('invalid_request')
      const code = fresh()
      codes.set(code, { sub: current, redirectUri, challenge, nonce: query.get('nonce') })
      const location = new URL(redirectUri)
      for (const [name, value] of Object.entries({ code, iss: issuer, state: query.get('state') }))
        if (value !== null) location.searchParams.set(name, value)
      return seeOther(location.href)
    },
    async token(asked) {
      const form = fieldsOf(asked)
      if (!isClient(options, asked, form)) return refused('invalid_client', 401)
      const type = form.get('grant_type')
      if (type === EXCHANGE) return exchange(form)
      if (type === 'authorization_code') return redeem(form)
      return type === 'refresh_token' ? refresh(form) : refused('unsupported_grant_type')
    },
    signIn(sub) {
      current = sub
    },
    endSessions(sub) {
      for (const [token, owner] of refreshTokens) if (owner === sub) refreshTokens.delete(token)
    },
  }
}

const fresh = (): string => randomBytes(24).toString('base64url')

const claimed = (scope: string | null) => (scope === null ? {} : { scope })

const refused = (error: string, status = 400): Told => json(status, { error })

/** RFC 6749 §2.3.1: both parts of Basic are form-encoded. */
function isClient({ clientId, clientSecret }: FakeProviderParty, asked: Asked, form: URLSearchParams): boolean {
  const basic = basicOf(asked)
  if (basic === undefined) return form.get('client_id') === clientId && form.get('client_secret') === clientSecret
  const decoded = (part: string) => new URLSearchParams(`_=${part}`).get('_')
  return decoded(basic.name) === clientId && decoded(basic.password) === clientSecret
}
