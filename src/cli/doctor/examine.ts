import type { Config } from '../../config/config.js'
import { quirksOf } from '../../presets.js'
import type { SetUp, Surroundings } from '../command-line.js'
import type { Secrets } from '../secrets.js'
import { lazyAdapter } from '../stores.js'
import { leftOut, type Check, type Finding } from './check.js'
import { runChecks } from './checks.js'
import { examineConfiguration } from './configuration.js'
import { createExamination } from './examination.js'

/** Runs checks of a set-up, that of its configuration first. No finding has a secret in it. */
export async function examine(
  setUp: SetUp,
  secrets: Secrets,
  { environment, clock }: Pick<Surroundings, 'environment' | 'clock'>,
  checks: readonly Check[],
): Promise<readonly Finding[]> {
  const { options, token, subject, store } = setUp
  const { config, finding } = examineConfiguration(
    store === undefined ? options : { ...options, storage: lazyAdapter(store) },
    environment,
  )
  if (config === undefined) {
    return [masked(finding, secrets), ...checks.map(({ id }) => ({ id, ...leftOut('mend config first') }))]
  }
  for (const text of publicTexts(config)) secrets.show(text)
  const context = createExamination({ config, clock, secrets, token, subject, store })
  try {
    return [finding, ...(await runChecks(context, checks))].map((found) => masked(found, secrets))
  } finally {
    context.transport.close()
    await store?.close()
  }
}

/**
 * What a report must show to be of use: names and addresses of the set-up. The id of a client of Nextcloud's app `oauth2` is none of them: it
 * looks like the secret, and may be it.
 */
function publicTexts(config: Config): readonly string[] {
  const { issuer, resource, client, audience, requiredScopes, nextcloud } = config
  const id = quirksOf(nextcloud?.preset).endpoints === undefined ? client?.id : undefined
  const ofNextcloud = nextcloud && [nextcloud.url.href, ...nextcloud.audience, ...nextcloud.fixedScopes]
  return [issuer ?? '', resource, id ?? '', ...audience, ...requiredScopes, ...(ofNextcloud ?? [])]
}

/** The last line of defence: a known secret is not printed, even if a check lets it through. */
function masked(finding: Finding, { mask }: Secrets): Finding {
  const { found, fix } = finding
  return { ...finding, found: mask(found), ...(fix !== undefined && { fix: mask(fix) }) }
}
