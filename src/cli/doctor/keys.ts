import { createLocalJWKSet, type JWK } from 'jose'
import { MOST_KEYS } from '../../verify/key-set.js'
import { waysToGive } from './words.js'
import { check, failed, missing, passed, type Check, type Subject, type Verdict } from './check.js'
import { fetched, type Examination } from './examination.js'
import { describe, isAnswer, listIn, type Answer, type NoAnswer } from './probe.js'
import { providerMetadata } from './provider.js'

const keySet: Subject<Answer | NoAnswer> = async (context) =>
  context.needs.keys ? fetched(context, await context.discovery.jwksUri()) : missing('every token is introspected')

/** Checks of the keys by which the provider's tokens are verified. */
export const keyChecks: readonly Check[] = [
  check({ id: 'jwks.document', needs: ['discovery.endpoints'], about: keySet, run: checkDocument }),
  check({ id: 'jwks.keys', needs: ['jwks.document'], about: keySet, run: checkKeys }),
]

const FROM = `it comes from jwks_uri, which ${waysToGive('authorizationServer.jwksUri')} replaces`

function checkDocument({ secrets }: Examination, answer: Answer | NoAnswer): Verdict {
  const { url } = answer
  if (!isAnswer(answer)) {
    return failed(`the keys at ${url} cannot be fetched (${answer.code})`, `make it reachable from here; ${FROM}`)
  }
  const { length } = listIn(answer, 'keys') ?? []
  if (answer.status === 200 && length > 0 && length <= MOST_KEYS)
    return passed(`${length} ${length === 1 ? 'key' : 'keys'} at ${url}`)
  const keysFound = length > 0 ? `${length} keys, and no more than ${MOST_KEYS} are read` : 'no key set with keys in it'
  const what = answer.status === 200 ? keysFound : describe(answer, secrets.quote)
  return failed(`${url} answers with ${what}`, `have the provider publish its signing keys there; ${FROM}`)
}

async function checkKeys(context: Examination, answer: Answer | NoAnswer): Promise<Verdict> {
  const { config, secrets } = context
  const keys = (listIn(answer, 'keys') ?? []).filter((key): key is JWK => typeof key === 'object' && key !== null)
  if (keys.some((key) => 'd' in key)) {
    return failed(
      'the key set publishes a private key',
      'replace that key at the provider at once: everyone can sign tokens with it',
    )
  }
  const usable = [...new Set((await Promise.all(keys.map((key) => algorithmsOf(key, config.algorithms)))).flat())]
  if (usable.length === 0) {
    const kinds = keys.map((key) => secrets.quote([key.kty, key.alg, key.use].filter(Boolean).join(' '))).join('; ')
    return failed(
      `no key is usable with the accepted algorithms (${config.algorithms.join(', ')}); there are: ${kinds}`,
      `let the provider sign with an asymmetric algorithm such as RS256 or ES256 and publish that key; or widen ${waysToGive('algorithms')}`,
    )
  }
  const metadata = await providerMetadata(context)
  // Announced for ID tokens: nearly every provider signs access tokens in the same way.
  const list = 'missing' in metadata ? [] : listIn(metadata, 'id_token_signing_alg_values_supported')
  const signs = (list ?? []).map(String)
  if (signs.length === 0 || usable.some((algorithm) => signs.includes(algorithm))) {
    return passed(`usable for ${usable.join(', ')}`)
  }
  return failed(
    `the provider says that it signs with ${signs.map(secrets.quote).join(', ')} only`,
    'let it sign with an asymmetric algorithm such as RS256 or ES256 (a setting of the realm or of the client): HS256 keys are of use to the client alone',
  )
}

/** Returns the accepted algorithms that the key can verify, as jose judges it. */
async function algorithmsOf(key: JWK, accepted: readonly string[]): Promise<readonly string[]> {
  const set = createLocalJWKSet({ keys: [key] })
  const fits = (alg: string): Promise<string[]> =>
    set({ alg }, { payload: '', signature: '' }).then(
      () => [alg],
      () => [],
    )
  return (await Promise.all(accepted.map(fits))).flat()
}
