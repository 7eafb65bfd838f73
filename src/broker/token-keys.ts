import type { NextcloudTokenOptions as Options } from '../auth-info.js'
import type { Config, NextcloudConfig } from '../config/config.js'
import type { Identity } from '../grants/grant.js'
import { essenceOf } from '../token-spelling.js'
import type { BrokerSession, Caller, Mode, Target } from './modes/mode.js'
import { cacheKey } from './token-cache.js'

/** Tells which token a call asks for, and the cache key of that. */
export type TokenKeys = ReturnType<typeof createTokenKeys>

export function audienceOf({ audience }: NextcloudConfig, options?: Options): readonly string[] {
  if (options?.audience === undefined) return audience
  return typeof options.audience === 'string' ? [options.audience] : options.audience
}

export function createTokenKeys(
  config: Config,
  nextcloud: NextcloudConfig,
  { boundToMcpToken }: Pick<Mode, 'boundToMcpToken'>,
) {
  const { mode, resource, fixedScopes } = nextcloud
  /** Stands for the token endpoint: known without discovery, and the same for every call. */
  const tokenEndpoint = String(config.endpoints.tokenEndpoint ?? config.discoveryUrl ?? config.issuer)
  const clientId = config.client?.id ?? ''
  const target = (session: Pick<BrokerSession, 'scopes'>, options?: Options): Target => ({
    audience: audienceOf(nextcloud, options),
    resource,
    scopes: options?.scopes ?? session.scopes(),
  })
  const keyOf = ({ identity, token }: Pick<Caller, 'identity' | 'token'>, wanted: Target): string =>
    cacheKey({
      ...identity,
      mode,
      tokenEndpoint,
      clientId,
      ...wanted,
      mcpToken: boundToMcpToken ? essenceOf(token) : '',
    })
  return {
    target,
    key: (session: BrokerSession, options?: Options): string => {
      if (options?.scopes !== undefined || options?.audience !== undefined)
        return keyOf(session.caller, target(session, options))
      return (session.defaultKey ??= keyOf(session.caller, target(session)))
    },
    /** Returns the key of the token that a grant serves all callers with. */
    keyOfGrant: (identity: Identity): string => keyOf({ identity, token: '' }, target({ scopes: () => fixedScopes })),
  }
}
