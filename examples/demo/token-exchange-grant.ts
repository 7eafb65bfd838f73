import type Provider from 'oidc-provider'
import { InvalidRequest, InvalidScope, InvalidTarget } from 'oidc-provider/lib/helpers/errors.js'

export const tokenExchangeGrantType = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'

interface TokenExchangeParameters {
  readonly subject_token?: string
  readonly subject_token_type?: string
  readonly requested_token_type?: string
  readonly actor_token?: string
  readonly audience?: string
}

interface SubjectToken {
  readonly subject: string
  readonly audience: readonly string[]
  readonly scopes: readonly string[]
}

export interface TokenExchangePolicy {
  /** The audiences that this provider exchanges tokens for. */
  readonly audiences: readonly string[]
  /** Reads a subject token; rejects when it is not a living access token of this provider. */
  readSubjectToken(token: string): Promise<SubjectToken>
  /** Whether a token with this audience was meant for this client, which may then exchange it. */
  isMeantFor(audience: readonly string[], clientId: string): boolean
  issue(token: {
    readonly subject: string
    readonly audience: string
    readonly clientId: string
    readonly scope: string
  }): Promise<{ readonly accessToken: string; readonly expiresIn: number }>
}

/**
 * Teaches the provider OAuth 2.0 Token Exchange (RFC 8693), impersonation only: the new token carries the same subject
 * and another audience. The provider has authenticated the client before the handler is called.
 */
export function registerTokenExchange(provider: Provider, policy: TokenExchangePolicy): void {
  const parameters = new Set([
    'subject_token',
    'subject_token_type',
    'requested_token_type',
    'actor_token',
    'audience',
    'resource',
    'scope',
  ])
  provider.registerGrantType<TokenExchangeParameters>(
    tokenExchangeGrantType,
    async (ctx) => {
      const { client, params } = ctx.oidc
      if (params.subject_token === undefined) throw new InvalidRequest('subject_token is missing')
      if (params.subject_token_type !== accessTokenType) {
        throw new InvalidRequest('subject_token_type must be that of an access token')
      }
      if ((params.requested_token_type ?? accessTokenType) !== accessTokenType) {
        throw new InvalidRequest('only access tokens are issued')
      }
      if (params.actor_token !== undefined) throw new InvalidRequest('delegation is not offered')
      if (params.resource !== undefined) throw new InvalidTarget('name the target by audience')
      const { audience } = params
      if (audience === undefined || !policy.audiences.includes(audience)) throw new InvalidTarget('unknown audience')

      // RFC 8693 §2.2.2: a subject token that is invalid, or that policy does not accept, is an invalid_request.
      const subjectToken = await policy.readSubjectToken(params.subject_token).catch(() => {
        throw new InvalidRequest('the subject token is not valid')
      })
      if (!policy.isMeantFor(subjectToken.audience, client.clientId)) {
        throw new InvalidRequest('the subject token is not meant for this client')
      }
      const scopes = params.scope?.split(' ') ?? subjectToken.scopes
      if (!scopes.every((scope) => subjectToken.scopes.includes(scope))) {
        throw new InvalidScope('an exchange does not widen the scope', scopes.join(' '))
      }

      const scope = scopes.join(' ')
      const { subject } = subjectToken
      const { accessToken, expiresIn } = await policy.issue({ subject, audience, clientId: client.clientId, scope })
      ctx.body = {
        access_token: accessToken,
        issued_token_type: accessTokenType,
        token_type: 'Bearer',
        expires_in: expiresIn,
        scope,
      }
    },
    parameters,
  )
}
