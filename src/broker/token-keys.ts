import type { NextcloudTokenOptions } from '../auth-info.js'
import type { Config, NextcloudConfig } from '../config/config.js'
import type { Identity } from '../grants/grant.js'
import type { BrokerSession, Caller, Mode, Target } from './modes/mode.js'
import { cacheKey } from './token-cache.js'

/** Which token a call asks for, and the cache key that it goes by. */
export interface TokenKeys {
  readonly target: (session: Pick<BrokerSession, 'scopes'>, options?: NextcloudTokenOptions) => Target
  readonly key: (session: BrokerSession, options?: NextcloudTokenOptions) => string
  /** Of the token that a grant serves everybody with. */
  readonly keyOfGrant: (identity: Identity) => string
}

export function audienceOf({ audience }: NextcloudConfig, options?: NextcloudTokenOptions): readonly string[] {
  if (options?.audience === undefined) return audience
  return typeof options.audience === 'string' ? [options.audience] : options.audience
}

export function createTokenKeys(
  config: Config,
  nextcloud: NextcloudConfig,
  { boundToMcpToken }: Pick<Mode, 'boundToMcpToken'>,
): TokenKeys {
  /** Stands for the token endpoint: known without discovery, and the same for every call. */
  const tokenEndpoint = (config.endpoints.tokenEndpoint ?? config.discoveryUrl ?? config.issuer ?? '').toString()
  const clientId = config.client?.id ?? ''

  const target: TokenKeys['target'] = (session, options) => ({
    audience: audienceOf(nextcloud, options),
    resource: nextcloud.resource,
    scopes: options?.scopes ?? session.scopes(),
  })

  function keyOf({ issuer, subject, token }: Pick<Caller, 'issuer' | 'subject' | 'token'>, wanted: Target): string {
    const mcpToken = boundToMcpToken ? token : ''
    return cacheKey({ issuer, subject, mode: nextcloud.mode, tokenEndpoint, clientId, ...wanted, mcpToken })
  }

  return {
    target,
    key(session, options) {
      if (options?.scopes !== undefined || options?.audience !== undefined)
        return keyOf(session.caller, target(session, options))
      return (session.defaultKey ??= keyOf(session.caller, target(session)))
    },
    keyOfGrant: (identity) => keyOf({ ...identity, token: '' }, target({ scopes: () => nextcloud.fixedScopes })),
  }
}
