import { codeOf } from '../stores.js'
import { failed, leftOut, type Check, type Finding, type Verdict } from './check.js'
import { clientChecks } from './client.js'
import { mcpClientChecks } from './clients/client-checks.js'
import { nextcloudClock, providerClock } from './clocks.js'
import { connectChecks, connectPage } from './connect-pages.js'
import { discoveryChecks } from './discovery.js'
import type { Examination } from './examination.js'
import { exchangeChecks } from './exchange.js'
import { keyChecks } from './keys.js'
import { loginFlow } from './login-flow.js'
import { connectionChecks } from './network.js'
import { NEXTCLOUD, nextcloudStatus } from './nextcloud.js'
import { PROVIDER } from './provider.js'
import { challengeChecks, metadataChecks, THIS_SERVER } from './public.js'
import { storageChecks } from './storage.js'
import { tokenChecks } from './token.js'
import { userChecks } from './user-checks.js'

const providerChecks: readonly Check[] = [
  ...connectionChecks(PROVIDER),
  providerClock,
  ...discoveryChecks,
  ...keyChecks,
  ...clientChecks,
]

/** Checks of one issuer, which are made of each. */
export const ISSUER_CHECKS: readonly Check[] = [...providerChecks, ...connectChecks]

/** Every check of a configuration that can be read, in the order of the report. */
export const CHECKS: readonly Check[] = [
  // First, because it may be the provider too.
  ...connectionChecks(NEXTCLOUD),
  nextcloudClock,
  nextcloudStatus,
  ...providerChecks,
  ...tokenChecks,
  ...exchangeChecks,
  ...storageChecks,
  ...userChecks,
  loginFlow,
  ...connectChecks,
  ...connectionChecks(THIS_SERVER),
  connectPage,
  ...metadataChecks,
  ...challengeChecks,
  ...mcpClientChecks,
]

/** The ids of all checks, in the order of the report. */
export const CHECK_IDS: readonly string[] = ['config', ...CHECKS.map(({ id }) => id)]

/**
 * Runs every check once. A check that builds on a failed one is left out and says so.
 *
 * @param begun hears of each before it is made
 */
export async function runChecks(
  context: Examination,
  checks: readonly Check[],
  begun: (check: Check) => void,
): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  /** Check that failed, or was left out for a failure → the failure to mend. */
  const down = new Map<string, string>()
  for (const check of checks) {
    const cause = check
      .needs(context)
      .map((need) => down.get(need))
      .find((id) => id !== undefined)
    begun(check)
    const verdict = cause === undefined ? await run(check, context) : leftOut(`mend ${cause} first`)
    const broken = verdict.status === 'failed' ? check.id : cause
    if (broken !== undefined) down.set(check.id, broken)
    findings.push({ id: check.id, ...verdict })
  }
  return findings
}

async function run(check: Check, context: Examination): Promise<Verdict> {
  try {
    return await check.judge(context)
  } catch (error) {
    return failed(`the check itself failed (${codeOf(error)})`, 'report it as a defect of the doctor')
  }
}
