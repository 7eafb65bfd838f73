import { variableOf } from '../config/declarations.js'
import { adviceForEntra } from './entra-issuers.js'

/** Returns the advice on an issuer that differs from all that are configured; undefined if nothing is known of it. */
export function adviceOnIssuer(found: unknown, configured: readonly string[]): string | undefined {
  const forEntra = adviceForEntra(found, configured)
  if (forEntra !== undefined || typeof found !== 'string') return forEntra
  return NEAR.find(
    ({ same, when }) => when?.(found) !== false && configured.some((issuer) => same(issuer) === same(found)),
  )?.advice
}

/** Two names of what seems to be one server, by what they have in common. */
const NEAR: readonly {
  readonly same: (issuer: string) => string
  readonly when?: (found: string) => boolean
  readonly advice: string
}[] = [
  {
    same: (issuer) => issuer.replace(/\/$/, ''),
    advice: `they differ by the slash at the end: write issuer (${variableOf('issuer')}) as iss has it`,
  },
  {
    same: (issuer) => issuer.replace(/^https?:/, ''),
    when: (found) => found.startsWith('https:'),
    advice: `they differ by http and https: write issuer (${variableOf('issuer')}) with https, as iss has it`,
  },
  {
    same: (issuer) => issuer.replace(/^https?:/, ''),
    advice:
      'they differ by http and https: tell the authorization server its public address (Keycloak: KC_HOSTNAME, and KC_PROXY_HEADERS behind a proxy), so that it writes https into its tokens; issuer is right as it is',
  },
  {
    same: (issuer) => (URL.canParse(issuer) ? new URL(issuer).pathname.replace(/^\/$/, issuer) : issuer),
    advice:
      'if both are names of one server, have it write its public one into all tokens, whoever asks (Keycloak: KC_HOSTNAME), and make issuer that name; discoveryUrl may be the internal address',
  },
]
