import { nextcloudClock, providerClock } from './clocks.js'
import { clientChecks } from './client.js'
import { connectChecks, connectPage } from './connect-pages.js'
import { discoveryChecks } from './discovery.js'
import { exchangeChecks } from './exchange.js'
import type { Examination } from './examination.js'
import { CHECK_IDS, type Check, type CheckId, type Finding, type Verdict } from './finding.js'
import { keyChecks } from './keys.js'
import { bearerChecks, nextcloudChecks, nextcloudStatus } from './nextcloud.js'
import { metadataChecks, publicChecks } from './public.js'
import { storageChecks } from './storage.js'
import { tokenChecks } from './token.js'

const CHECKS: ReadonlyMap<CheckId, Check<Examination>> = new Map(
  [
    providerClock,
    nextcloudClock,
    nextcloudStatus,
    connectPage,
    ...discoveryChecks,
    ...keyChecks,
    ...clientChecks,
    ...tokenChecks,
    ...exchangeChecks,
    ...nextcloudChecks,
    ...bearerChecks,
    ...storageChecks,
    ...connectChecks,
    ...publicChecks,
    ...metadataChecks,
  ].map((check) => [check.id, check]),
)

/** Runs every check, each once, in the order of `CHECK_IDS`; what builds on a failure is left out and says so. */
export async function runChecks(context: Examination): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  /** What failed, and what was left out for that. */
  const down = new Map<CheckId, CheckId>()
  for (const id of CHECK_IDS) {
    const check = CHECKS.get(id)
    if (check === undefined) continue
    const cause = check.needs?.map((need) => down.get(need)).find((found) => found !== undefined)
    const verdict: Verdict =
      cause === undefined ? await run(check, context) : { status: 'left-out', found: `mend ${cause} first` }
    if (verdict.status === 'failed') down.set(id, id)
    else if (cause !== undefined) down.set(id, cause)
    findings.push({ id, ...verdict })
  }
  return findings
}

async function run(check: Check<Examination>, context: Examination): Promise<Verdict> {
  try {
    return await check.run(context)
  } catch (error) {
    // Not its message, which may hold anything.
    const name = error instanceof Error && /^\w{1,40}$/.test(error.name) ? error.name : 'unknown failure'
    return { status: 'failed', found: `the check itself failed (${name})`, fix: 'report it as a defect of the doctor' }
  }
}
