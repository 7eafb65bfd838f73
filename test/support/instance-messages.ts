import type { NextcloudMode } from '../../src/modes.js'
import type { StoreAddress } from './stores.js'

/** Where a refresh is stopped, counted from the order to do so: the n-th call of the adapter, or of fetch on the token endpoint. */
export interface Point {
  readonly when: 'before' | 'after'
  readonly what: 'get' | 'put' | 'delete' | 'request'
  readonly nth: number
}

/** How an instance is opened in a child process. */
export interface InstanceOptions {
  readonly issuer: string
  readonly store: StoreAddress
  /** `http.timeout`, in milliseconds. */
  readonly timeout?: number
  /** `nextcloud.mode`. Default: refresh-token. */
  readonly mode?: NextcloudMode
  /** Milliseconds by which its wall clock is wrong. */
  readonly wrongBy?: number
}

/** What became of one call. */
export interface Outcome {
  readonly token?: string
  /** `503 ERR_STORAGE`, with the reason of a missing connection behind it. */
  readonly failure?: string
  /** Milliseconds that the caller waited. */
  readonly ms: number
}

/** What became of the calls of one user, each kind of outcome once. */
export interface UserOutcome {
  readonly tokens: readonly string[]
  readonly failures: readonly string[]
  /** Milliseconds that the slowest caller waited. */
  readonly ms: number
}

export type Order =
  | { readonly do: 'open'; readonly options: InstanceOptions }
  | { readonly do: 'call'; readonly subject: string; readonly count: number }
  | { readonly do: 'exchange'; readonly mcpTokens: readonly string[]; readonly count: number; readonly force: boolean }
  | { readonly do: 'revoke'; readonly subject: string }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'pause'; readonly at: Point }
  /** Resolves when the pause is reached. */
  | { readonly do: 'reach' }
  | { readonly do: 'go' }
  /** Begins to wait for a token from the authorization server or the store. */
  | { readonly do: 'await-renewal' }
  /** Resolves when there has been one. */
  | { readonly do: 'renewal' }
  | { readonly do: 'close' }

export interface ToChild {
  readonly id: number
  readonly instance: number
  readonly order: Order
}

export interface FromChild {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}
