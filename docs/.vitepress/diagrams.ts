import type { GrantState } from '../../src/grants/grant.js'

/** Who takes part, and what happens in order. */
export interface Sequence {
  readonly title: string
  readonly parties: readonly string[]
  readonly steps: readonly Step[]
}

/** A message, what a party does by itself, or a heading over the steps that follow. */
export type Step =
  | { readonly from: string; readonly to: string; readonly says: string }
  | { readonly at: string; readonly does: string }
  | { readonly heading: string }

/** The states of a thing, and what leads from one to another. */
export interface States {
  readonly title: string
  readonly states: Readonly<Record<GrantState, string>>
  readonly changes: readonly Change[]
}

export interface Change {
  readonly from: GrantState | 'start'
  readonly to: GrantState | 'end'
  readonly when: string
}

const CLIENT = 'MCP client'
const SERVER = 'your server'
const PROVIDER = 'provider'
const NEXTCLOUD = 'Nextcloud'
const BROWSER = 'browser'

export const SEQUENCES: Readonly<Record<string, Sequence>> = {
  'token-exchange': {
    title: 'Token exchange: the first tool call of a user, and the next one',
    parties: [CLIENT, SERVER, PROVIDER, NEXTCLOUD],
    steps: [
      { heading: 'The user signs in' },
      { from: CLIENT, to: SERVER, says: 'a request without a token' },
      { from: SERVER, to: CLIENT, says: '401: where to sign in' },
      { from: CLIENT, to: PROVIDER, says: 'the user signs in' },
      { from: PROVIDER, to: CLIENT, says: 'the MCP token, for your server alone' },
      { heading: 'The first tool call' },
      { from: CLIENT, to: SERVER, says: 'a tool call with the MCP token' },
      { at: SERVER, does: 'verifies signature, issuer, audience and expiry' },
      { from: SERVER, to: PROVIDER, says: 'the MCP token, to exchange it (RFC 8693)' },
      { from: PROVIDER, to: SERVER, says: 'a Nextcloud token of the same user' },
      { at: SERVER, does: 'keeps it in memory' },
      { from: SERVER, to: NEXTCLOUD, says: 'a request with the Nextcloud token' },
      { from: NEXTCLOUD, to: SERVER, says: 'the answer' },
      { from: SERVER, to: CLIENT, says: 'the result of the tool' },
      { heading: 'The next one, without the provider' },
      { from: CLIENT, to: SERVER, says: 'a tool call with the MCP token' },
      { from: SERVER, to: NEXTCLOUD, says: 'a request with the Nextcloud token it has' },
    ],
  },
  'refresh-token': {
    title: 'Refresh-token mode: the user connects Nextcloud once',
    parties: [CLIENT, BROWSER, SERVER, PROVIDER, NEXTCLOUD],
    steps: [
      { heading: 'A tool needs Nextcloud, and the user has not connected it' },
      { from: CLIENT, to: SERVER, says: 'a tool call with the MCP token' },
      { from: SERVER, to: CLIENT, says: 'a link that works once' },
      { from: CLIENT, to: BROWSER, says: 'the user opens the link' },
      { from: BROWSER, to: SERVER, says: 'consent: "Yes, connect"' },
      { from: SERVER, to: BROWSER, says: 'on to the provider' },
      { from: BROWSER, to: PROVIDER, says: 'the user signs in' },
      { from: PROVIDER, to: BROWSER, says: 'a code, for the redirect URI' },
      { from: BROWSER, to: SERVER, says: 'the code' },
      { from: SERVER, to: PROVIDER, says: 'the code' },
      { from: PROVIDER, to: SERVER, says: 'ID token, access token, refresh token' },
      { at: SERVER, does: 'checks that it is the person for whom the link was made' },
      { at: SERVER, does: 'stores the refresh token, sealed' },
      { heading: 'From then on' },
      { from: CLIENT, to: SERVER, says: 'a tool call with the MCP token' },
      { from: SERVER, to: NEXTCLOUD, says: 'a request with the access token' },
      { from: SERVER, to: PROVIDER, says: 'near its end: the refresh token' },
      { from: PROVIDER, to: SERVER, says: 'new tokens' },
    ],
  },
  renewal: {
    title: 'A renewal among several instances: one of them sends the refresh token',
    parties: ['instance A', 'store', 'instance B', PROVIDER],
    steps: [
      { heading: 'Two instances need a new access token of one user' },
      { from: 'instance A', to: 'store', says: 'takes the lease' },
      { from: 'instance B', to: 'store', says: 'wants the lease, which is taken' },
      { from: 'instance A', to: 'store', says: 'marks the grant: presented' },
      { from: 'instance A', to: PROVIDER, says: 'the refresh token, if A still has the lease' },
      { from: PROVIDER, to: 'instance A', says: 'an access token, and the next refresh token' },
      { from: 'instance A', to: 'store', says: 'stores both: active' },
      { at: 'instance A', does: 'only now hands out the access token' },
      { from: 'instance A', to: 'store', says: 'gives back the lease' },
      { from: 'instance B', to: 'store', says: 'looks again' },
      { from: 'store', to: 'instance B', says: 'the access token of A' },
      { heading: 'If A dies after it has marked the grant' },
      { at: 'instance B', does: 'waits until the lease has run out, and a little longer for the answer of A' },
      { from: 'instance B', to: 'store', says: 'takes the lease, marks the grant' },
      { from: 'instance B', to: PROVIDER, says: 'the same refresh token' },
    ],
  },
}

export const GRANT_STATES: States = {
  title: 'The states of a stored grant',
  states: {
    active: 'good, as far as is known',
    presented: 'sent, and perhaps spent',
    'needs-reconnect': 'refused, or ended',
    disconnected: 'ended on purpose',
  },
  changes: [
    { from: 'start', to: 'active', when: 'the user connects' },
    { from: 'active', to: 'presented', when: 'the refresh token is about to be sent' },
    { from: 'presented', to: 'active', when: 'the answer is stored, or the request was certainly not processed' },
    { from: 'presented', to: 'presented', when: 'no answer came: it is sent again' },
    { from: 'presented', to: 'needs-reconnect', when: 'the provider refuses it' },
    {
      from: 'active',
      to: 'needs-reconnect',
      when: 'its stated end is long past, or Nextcloud refuses the app password',
    },
    { from: 'needs-reconnect', to: 'active', when: 'the user connects again, or the app password is accepted again' },
    { from: 'active', to: 'disconnected', when: 'the user or the app disconnects (from any state)' },
    { from: 'disconnected', to: 'active', when: 'the user connects again' },
    { from: 'needs-reconnect', to: 'end', when: 'deleted after 30 days' },
    { from: 'disconnected', to: 'end', when: 'deleted after 30 days' },
  ],
}
