import type { ClientConfig } from './config.js'
import { type LookUp, named, type OptionValues } from './declarations.js'
import { refuse } from './values.js'

/** This server's client at the authorization server. Undefined: it has none. */
export function readClient(
  { clientId, clientSecret, clientAuth }: Pick<OptionValues, 'clientId' | 'clientSecret' | 'clientAuth'>,
  given: LookUp,
): ClientConfig | undefined {
  if (clientId === undefined) {
    const useless = [given('clientSecret'), given('clientAuth')].find(({ value }) => value !== undefined)
    if (useless !== undefined) refuse(useless, `needs ${named('clientId')}`)
    return undefined
  }
  // A secret from the environment beside an explicit clientAuth is no contradiction: the option comes first.
  if (clientAuth !== undefined && clientSecret !== undefined && given('clientSecret').variable === undefined) {
    refuse(given('clientAuth'), 'contradicts clientSecret: give one of them')
  }
  return {
    id: clientId,
    secret: clientAuth === undefined ? clientSecret : undefined,
    auth: clientAuth,
    hasCredentials: clientAuth !== undefined || clientSecret !== undefined,
  }
}
