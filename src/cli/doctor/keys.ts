import { createLocalJWKSet, type JWK } from 'jose'
import { McpAuthError } from '../../errors/errors.js'
import { fetched, issuerDocument, type Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { describeAnswer, isAnswer, listIn } from './probe.js'
import { waysToGive } from './options.js'

/** Whether there are keys by which the provider's tokens can be verified. */
export const keyChecks: readonly Check<Examination>[] = [
  { id: 'jwks.document', needs: ['discovery.endpoints'], run: checkDocument },
  { id: 'jwks.keys', needs: ['jwks.document'], run: checkKeys },
]

async function checkDocument(context: Examination): Promise<Verdict> {
  if (context.config.introspection === 'always') return leftOut('every token is introspected')
  const uri = await uriOf(context)
  if (uri === undefined) return leftOut('no jwks_uri')
  const answer = await fetched(context, uri)
  const from = `jwks_uri, which ${waysToGive('authorizationServer.jwksUri')} replaces`
  if (!isAnswer(answer)) {
    return failed(
      `the keys at ${uri} cannot be fetched (${answer.code})`,
      `make that address reachable from here; it comes from ${from}`,
    )
  }
  const keys = listIn(answer, 'keys') ?? []
  if (answer.status === 200 && keys.length > 0) {
    return passed(`${keys.length} ${keys.length === 1 ? 'key' : 'keys'} at ${uri}`)
  }
  const what = answer.status === 200 ? 'no key set with keys in it' : describeAnswer(answer, context.secrets.quote)
  return failed(
    `${uri} answers with ${what}`,
    `have the provider publish its signing keys there; it comes from ${from}`,
  )
}

async function uriOf({ discovery }: Examination): Promise<string | undefined> {
  try {
    return await discovery.jwksUri()
  } catch (error) {
    if (error instanceof McpAuthError) return undefined
    throw error
  }
}

async function checkKeys(context: Examination): Promise<Verdict> {
  const { config, secrets } = context
  const uri = await uriOf(context)
  if (config.introspection === 'always' || uri === undefined) return leftOut('every token is introspected')
  const answer = await fetched(context, uri)
  const keys = (listIn(answer, 'keys') ?? []).filter((key): key is JWK => typeof key === 'object' && key !== null)
  if (keys.some((key) => 'd' in key)) {
    return failed(
      'the key set publishes a private key',
      'replace that key at the provider at once: anybody can sign tokens with it',
    )
  }
  const usable = new Set<string>()
  for (const key of keys) for (const algorithm of await algorithmsOf(key, config.algorithms)) usable.add(algorithm)
  const signs = await announced(context)
  const both = signs === undefined ? usable : new Set([...usable].filter((algorithm) => signs.includes(algorithm)))
  if (both.size > 0) {
    return passed(`usable for ${[...usable].join(', ')}`)
  }
  const kinds = keys.map((key) => secrets.quote([key.kty, key.alg, key.use].filter(Boolean).join(' '))).join('; ')
  if (usable.size > 0) {
    return failed(
      `the provider says that it signs with ${signs?.map(secrets.quote).join(', ') ?? ''} only`,
      `let it sign with an asymmetric algorithm such as RS256 or ES256 (a setting of the realm or of the client): HS256 keys are no use to anybody but the client itself`,
    )
  }
  return failed(
    `no key is usable with the accepted algorithms (${config.algorithms.join(', ')}); there are: ${kinds}`,
    `let the provider sign with an asymmetric algorithm such as RS256 or ES256 and publish that key; or widen ${waysToGive('algorithms')}`,
  )
}

/** What the key can verify of what is accepted here, as jose judges it. */
async function algorithmsOf(key: JWK, accepted: readonly string[]): Promise<readonly string[]> {
  const fitting: string[] = []
  for (const alg of accepted) {
    try {
      await createLocalJWKSet({ keys: [key] })({ alg }, { payload: '', signature: '' })
      fitting.push(alg)
    } catch {
      // Another algorithm's, or no key at all.
    }
  }
  return fitting
}

/** Algorithms that the metadata says ID tokens are signed with; access tokens go the same way nearly everywhere. */
async function announced(context: Examination): Promise<readonly string[] | undefined> {
  const answer = await issuerDocument(context)
  const list = listIn(answer, 'id_token_signing_alg_values_supported') ?? []
  return list.length > 0 ? list.map(String) : undefined
}
