/** How this server gets a token for Nextcloud. */
export type NextcloudMode = 'token-exchange' | 'refresh-token' | 'app-password' | 'jwt-bearer' | 'pass-through'

/** What a mode is. Every room asks this table, and none compares names, so that another mode is one more row. */
export interface ModeTraits {
  /** What is kept of a user in the store; undefined: nothing. */
  readonly keeps: 'refresh-token' | 'app-password' | undefined
  /** Whether the authorization server gives the token, so that it has to know this server. */
  readonly asksAuthorizationServer: boolean
  /** The scheme of the Authorization header that Nextcloud gets. */
  readonly scheme: 'Bearer' | 'Basic'
  /** Options of `nextcloud` without any effect; given all the same, they are refused. */
  readonly ignores: readonly ('audience' | 'resource' | 'scopes' | 'parameters')[]
  /** What a single call may choose, and what the caller is told where it may not. */
  readonly refusesScopes?: string
  readonly refusesAudience?: string
}

const FIXED_BY_THE_GRANT = 'a grant has those that it was given with'

export const MODES: Readonly<Record<NextcloudMode, ModeTraits>> = {
  'token-exchange': { keeps: undefined, asksAuthorizationServer: true, scheme: 'Bearer', ignores: [] },
  'refresh-token': {
    keeps: 'refresh-token',
    asksAuthorizationServer: true,
    scheme: 'Bearer',
    ignores: [],
    refusesScopes: FIXED_BY_THE_GRANT,
    refusesAudience: FIXED_BY_THE_GRANT,
  },
  'app-password': {
    keeps: 'app-password',
    asksAuthorizationServer: false,
    scheme: 'Basic',
    ignores: ['audience', 'resource', 'scopes', 'parameters'],
    refusesScopes: FIXED_BY_THE_GRANT,
    refusesAudience: FIXED_BY_THE_GRANT,
  },
  'jwt-bearer': {
    keeps: undefined,
    asksAuthorizationServer: true,
    scheme: 'Bearer',
    ignores: [],
    refusesAudience: 'use scopes',
  },
  'pass-through': {
    keeps: undefined,
    asksAuthorizationServer: false,
    scheme: 'Bearer',
    ignores: ['resource', 'scopes', 'parameters'],
    refusesScopes: 'the MCP token has those that it has',
  },
}
