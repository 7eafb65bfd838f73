import type { Account, NextcloudState } from './state.js'

/** The one row that the app `oidc` keeps for a grant: a refresh overwrites it. */
export interface OidcRow {
  readonly uid: string
  readonly clientId: string
  readonly scope: string
  readonly resource: string
  readonly nonce: string | undefined
  readonly challenge: string | undefined
  /** The code, and later the refresh token. */
  code: string
  accessToken: string | undefined
  /** The code that was redeemed. */
  spent: string | undefined
  /** Seconds. */
  refreshed: number
}

/** Seconds that tokens are stated to live for. */
export const STATED_LIFE = 900
/** Seconds that they do live for. */
export const REAL_LIFE = 1_800

const rowsOf = new WeakMap<NextcloudState, OidcRow[]>()

export function oidcRows(state: NextcloudState): OidcRow[] {
  const rows = rowsOf.get(state) ?? []
  rowsOf.set(state, rows)
  return rows
}

export function removeRow(state: NextcloudState, row: OidcRow): void {
  const rows = oidcRows(state)
  const at = rows.indexOf(row)
  if (at !== -1) rows.splice(at, 1)
}

export const seconds = ({ now }: NextcloudState): number => Math.floor(now() / 1_000)

export const isOld = (state: NextcloudState, row: OidcRow): boolean => seconds(state) > row.refreshed + REAL_LIFE

/** Returns the row of a living access token. Whoever presents one after its end loses the grant with it. */
export function livingRow(state: NextcloudState, accessToken: string): OidcRow | undefined {
  const row = oidcRows(state).find((each) => each.accessToken === accessToken)
  if (row === undefined || !isOld(state, row)) return row
  removeRow(state, row)
  return undefined
}

/** Returns the account of an access token of the app `oidc`, whatever resource it is for. */
export function oidcAppAccount(state: NextcloudState, bearer: string): Account | undefined {
  return state.accounts.get(livingRow(state, bearer)?.uid ?? '')
}
