/** Every check there is, in the order in which they are run; the names are stable. */
export const CHECK_IDS = [
  'config',
  'issuer.reachable',
  'issuer.tls',
  'clock.issuer',
  'discovery.document',
  'discovery.issuer',
  'discovery.oidc',
  'discovery.oauth',
  'discovery.endpoints',
  'jwks.document',
  'jwks.keys',
  'client.credentials',
  'grant.offered',
  'token.form',
  'token.accepted',
  'token.scopes',
  'pass-through.audience',
  'exchange.live',
  'exchange.audience',
  'exchange.issuer',
  'exchange.scopes',
  'exchange.life',
  'nextcloud.reachable',
  'nextcloud.tls',
  'clock.nextcloud',
  'nextcloud.status',
  'storage.access',
  'storage.seal',
  'storage.records',
  'nextcloud.bearer',
  'nextcloud.cors',
  'connect.redirect-uri',
  'connect.offline-access',
  'public.reachable',
  'public.tls',
  'connect.page',
  'metadata.document',
  'metadata.resource',
  'metadata.issuer',
  'metadata.cors',
  'metadata.root',
  'challenge.status',
  'challenge.header',
] as const

export type CheckId = (typeof CHECK_IDS)[number]

/** What a check comes to. */
export interface Verdict {
  readonly status: 'passed' | 'failed' | 'left-out'
  /** What was found; why, where the check was left out. */
  readonly found: string
  /** What to change, and where. On a check that passed: what to think about. */
  readonly fix?: string | undefined
  /** The reason of `token.rejected` events, where a token would be refused. */
  readonly reason?: string | undefined
}

export interface Finding extends Verdict {
  readonly id: CheckId
}

/** One question about the set-up. */
export interface Check<Context> {
  readonly id: CheckId
  /** Checks that must not have failed, since this one would only find the same thing again. */
  readonly needs?: readonly CheckId[]
  readonly run: (context: Context) => Verdict | Promise<Verdict>
}

export const passed = (found: string, fix?: string): Verdict => ({ status: 'passed', found, fix })
export const failed = (found: string, fix: string): Verdict => ({ status: 'failed', found, fix })
export const leftOut = (found: string, fix?: string): Verdict => ({ status: 'left-out', found, fix })
