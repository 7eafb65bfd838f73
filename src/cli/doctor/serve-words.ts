import type { Reader } from './words.js'

/** Option of `mcpAuth()` → the variable of `serve` that gives it. */
export const WAYS: Readonly<Record<string, string>> = {
  resource: 'NEXTCLOUD_MCP_SERVER_URL',
  issuer: 'NEXTCLOUD_MCP_SERVER_URL',
  'nextcloud.url': 'NEXTCLOUD_HOST',
  'nextcloud.publicUrl': 'NEXTCLOUD_PUBLIC_URL',
  clientId: 'NEXTCLOUD_OIDC_CLIENT_ID',
  clientSecret: 'NEXTCLOUD_OIDC_CLIENT_SECRET',
  encryptionKey: 'TOKEN_ENCRYPTION_KEY',
  storage: 'MCP_DATA',
}

/** The names of them that are no words of English. */
const NAMED = new Map(Object.entries(WAYS).filter(([option]) => /[.A-Z]/.test(option)))

/** `serve` is its own authorization server: what is wrong between it and its public name is never the provider's. */
const OWN_NAME =
  'let mcp-nextcloud-auth serve run, and the proxy give it the whole name of NEXTCLOUD_MCP_SERVER_URL: every path, with headers, cookies and methods as they are, and no sign-in or start page of its own before it'
const VARIABLES = 'compare the variables with those of mcp-nextcloud-auth serve --help'

/** The first that an id begins with counts. */
const FIXES: readonly (readonly [ids: RegExp, fix: string])[] = [
  [/^(?:discovery|jwks|metadata|challenge)\.|^connect\.page$|^clients?\.(?!credentials)/, OWN_NAME],
  [/^connect\./, 'let the client in Nextcloud be of this server: Administration settings, Security, OAuth 2.0 clients'],
]

/** Whoever runs `serve`, which has variables and no code, no options and no flags. */
export const WITH_SERVE: Reader = {
  ways: (option) => WAYS[option],
  fix({ id, fix, status }, speaks) {
    if (fix === undefined) return undefined
    const own = FIXES.find(([ids]) => ids.test(id))?.[1]
    if (own === OWN_NAME) return status === 'passed' && speaks ? fix : own
    return speaks ? fix : (own ?? VARIABLES)
  },
  named: (message) => message.replace(/\b(?:nextcloud\.)?[a-zA-Z]+\b/g, (word) => NAMED.get(word) ?? word),
  found: (id) =>
    id.startsWith('storage.')
      ? 'there is no database yet, which the first start makes'
      : 'doctor --serve has no user to try it with',
  hasApp: false,
}
