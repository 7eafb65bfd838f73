import type { Config } from '../../config/config.js'
import { quirksOf } from '../../presets.js'
import { readArguments, readSetUp, runCommand, type SetUp, type Surroundings } from '../command-line.js'
import { createSecrets, type Secrets } from '../secrets.js'
import { lazyAdapter } from '../stores.js'
import { leftOut, type Check, type Finding } from './check.js'
import { CHECKS, runChecks } from './checks.js'
import { readWalk, walkChecks } from './clients/walk.js'
import { examineConfiguration } from './configuration.js'
import { createExamination } from './examination.js'
import { DOCTOR_HELP, DOCTOR_OPTIONS } from './options.js'
import { asJson, asLines } from './report.js'

/**
 * Checks a set-up and prints the findings.
 *
 * @returns the exit status: 0 all is well, 1 something is wrong, 2 misuse
 */
export async function doctor(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { print } = surroundings
  return runCommand('doctor', surroundings, async () => {
    const { values } = readArguments(args, DOCTOR_OPTIONS)
    if (values['help'] === true) {
      print(DOCTOR_HELP)
      return 0
    }
    const secrets = createSecrets()
    const walk = readWalk(values)
    const { setUp, more } =
      values['serve'] === true
        ? await (await import('./serve.js')).readServeSetUp(secrets, surroundings)
        : { setUp: await readSetUp(values, secrets, surroundings), more: [] }
    const checks = walk === undefined ? [...CHECKS, ...more] : walkChecks(walk)
    const found = await examine(setUp, secrets, { ...surroundings, checks })
    const findings = found.map((finding) => masked(finding, secrets))
    print(values['json'] === true ? asJson(findings) : asLines(findings))
    return findings.some(({ status }) => status === 'failed') ? 1 : 0
  })
}

async function examine(
  { options, token, subject, store }: SetUp,
  secrets: Secrets,
  { environment, clock, checks }: Surroundings & { readonly checks: readonly Check[] },
): Promise<readonly Finding[]> {
  const { config, finding } = examineConfiguration(
    store === undefined ? options : { ...options, storage: lazyAdapter(store) },
    environment,
  )
  if (config === undefined) {
    return [finding, ...checks.map(({ id }) => ({ id, ...leftOut('mend config first') }))]
  }
  for (const text of publicTexts(config)) secrets.show(text)
  const context = createExamination({ config, clock, secrets, token, subject, store })
  try {
    return [finding, ...(await runChecks(context, checks))]
  } finally {
    context.transport.close()
    await store?.close()
  }
}

/** What a report must show to be of use: names and addresses of the set-up. */
/** The id of a client of Nextcloud's app `oauth2` is none of them: it looks like the secret, and may be it. */
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
