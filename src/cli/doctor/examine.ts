import type { Config } from '../../config/config.js'
import { quirksOf } from '../../presets.js'
import type { SetUp, Surroundings } from '../command-line.js'
import type { Secrets } from '../secrets.js'
import { lazyAdapter } from '../stores.js'
import { leftOut, type Check, type Finding } from './check.js'
import { ISSUER_CHECKS, runChecks } from './checks.js'
import { examineConfiguration } from './configuration.js'
import { createExaminations, type Examination } from './examination.js'
import { WITH_AN_APP, worded } from './words.js'

/** Runs checks of a set-up, that of its configuration first. No finding has a secret in it. */
export async function examine(
  setUp: SetUp,
  secrets: Secrets,
  { environment, clock, progress }: Pick<Surroundings, 'environment' | 'clock' | 'progress'>,
  checks: readonly Check[],
): Promise<readonly Finding[]> {
  const { options, token, subject, store, reader = WITH_AN_APP } = setUp
  const told = (found: Finding): Finding => masked(worded(found, reader), secrets)
  const { config, finding } = examineConfiguration(
    store === undefined ? options : { ...options, storage: lazyAdapter(store) },
    environment,
  )
  if (config === undefined) {
    return [told(finding), ...checks.map(({ id }) => ({ id, ...leftOut('mend config first') }))]
  }
  for (const text of [config, ...config.others].flatMap(publicTexts)) secrets.show(text)
  const [first, ...others] = createExaminations({ config, clock, secrets, token, subject, store })
  const ofIssuer = checks.filter((check) => ISSUER_CHECKS.includes(check))
  const all = checks.length + others.length * ofIssuer.length
  let count = 0
  const begun = ({ id }: Check): void => progress(`${(count += 1)} of ${all}: ${id}`)
  try {
    const findings = [finding, ...(await runIn(first, checks, begun))]
    for (const other of others) findings.push(...(await runIn(other, ofIssuer, begun)))
    return findings.map(told)
  } finally {
    progress()
    first.transport.close()
    await store?.close()
  }
}

/** Runs checks, and names the issuer in the findings about one of several. */
async function runIn(
  context: Examination,
  checks: readonly Check[],
  begun: (check: Check) => void,
): Promise<readonly Finding[]> {
  const { issuer } = context.config
  const findings = await runChecks(context, checks, begun)
  if (context.issuers.length === 1 || issuer === undefined) return findings
  return findings.map((finding) =>
    ISSUER_CHECKS.some(({ id }) => id === finding.id) ? { ...finding, issuer } : finding,
  )
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
