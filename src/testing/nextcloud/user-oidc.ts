import { createHash } from 'node:crypto'
import { createRemoteJWKSet, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose'
import { addAccount, type Account, type NextcloudState, type OidcProvider } from './state.js'

/** Seconds by which clocks may differ. */
const LEEWAY = 60

/** Keys by discovery document. */
const known = new WeakMap<OidcProvider, Promise<{ readonly issuer: string; readonly keys: JWTVerifyGetKey }>>()

/**
 * Returns the account of a token as the app `user_oidc` does: signed by a provider that has _check bearer_, issued by it, alive, and
 * with its client id in `aud`, where there is one. The scope is not looked at. Somebody unknown gets an account.
 */
export async function userOidcAccount(state: NextcloudState, bearer: string): Promise<Account | undefined> {
  for (const provider of state.providers.filter(({ checkBearer }) => checkBearer)) {
    const claims = await verified(state, provider, bearer)
    const value = claims?.[provider.mappingUid]
    if (claims !== undefined && typeof value === 'string') return accountFor(state, provider, value, claims)
  }
  return undefined
}

/** Returns the claims of a token of a provider that is good. */
async function verified(
  { now }: NextcloudState,
  provider: OidcProvider,
  bearer: string,
): Promise<JWTPayload | undefined> {
  try {
    const { issuer, keys } = await discovered(provider)
    const { payload } = await jwtVerify(bearer, keys, {
      issuer,
      currentDate: new Date(now()),
      clockTolerance: LEEWAY,
      requiredClaims: ['exp'],
    })
    const audience = payload.aud === undefined ? [provider.clientId] : [payload.aud].flat()
    return audience.includes(provider.clientId) ? payload : undefined
  } catch {
    return undefined
  }
}

function discovered(provider: OidcProvider) {
  const found = known.get(provider) ?? discover(provider)
  known.set(provider, found)
  found.catch(() => known.delete(provider))
  return found
}

async function discover({ discoveryUri }: OidcProvider) {
  const response = await fetch(discoveryUri)
  const { issuer, jwks_uri: keys } = (await response.json()) as { issuer: string; jwks_uri: string }
  // Without a cool-down a key that the provider has just begun to sign with is found at once.
  return { issuer, keys: createRemoteJWKSet(new URL(keys), { cooldownDuration: 0 }) }
}

function accountFor(
  state: NextcloudState,
  { id, uniqueUid, bearerProvisioning }: OidcProvider,
  value: string,
  claims: JWTPayload,
): Account | undefined {
  const uid = uniqueUid ? createHash('sha256').update(`${id}_0_${value}`).digest('hex') : value
  const account = state.accounts.get(uid)
  if (account === undefined && !state.settings.autoProvision) return undefined
  const made = account ?? addAccount(state, uid, { backend: 'user_oidc', displayName: value })
  const { email, name } = claims
  if (bearerProvisioning && made.backend === 'user_oidc') {
    if (typeof email === 'string') made.email = email
    if (typeof name === 'string') made.displayName = name
  }
  return made
}
