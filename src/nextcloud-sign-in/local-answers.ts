import type { LocalAnswers } from '../local-options.js'
import type { ReadKeyRing } from './key-ring.js'
import { PATHS } from './paths.js'

/**
 * Returns the metadata and the public keys of this authorization server, for the resource server in the same process: the public name
 * may not lead back here from inside a container or behind a router.
 */
export function localAnswers(issuer: string, readKeys: ReadKeyRing): LocalAnswers {
  const metadata = { issuer, jwks_uri: issuer + PATHS.jwks, authorization_endpoint: issuer + PATHS.authorization }
  const answers = new Map<string, () => Promise<object>>([
    [`${issuer}/.well-known/openid-configuration`, () => Promise.resolve(metadata)],
    [`${issuer}/.well-known/oauth-authorization-server`, () => Promise.resolve(metadata)],
    [issuer + PATHS.jwks, async () => ({ keys: (await readKeys()).keys.map((key) => ({ ...key, d: undefined })) })],
  ])
  return (url) =>
    answers
      .get(url)?.()
      .then((body) => Response.json(body))
}
