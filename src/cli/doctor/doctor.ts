import { readArguments, readSetUp, runCommand, type Surroundings } from '../command-line.js'
import { createSecrets } from '../secrets.js'
import { CHECKS } from './checks.js'
import { readWalk, walkChecks } from './clients/walk.js'
import { examine } from './examine.js'
import { DOCTOR_HELP, DOCTOR_OPTIONS } from './options.js'
import { asJson, asLines, asksForMore } from './report.js'

/**
 * Checks a set-up and prints the findings.
 *
 * @returns the exit status: 0 all is well, 1 something is wrong, 2 misuse
 */
export async function doctor(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { print, paint } = surroundings
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
    const findings = await examine(setUp, secrets, surroundings, checks)
    // Most checks are of no interest to whoever runs `serve`. A walk is read as a whole.
    const isShown = values['serve'] === true && walk === undefined ? asksForMore : undefined
    print(values['json'] === true ? asJson(findings) : asLines(findings, paint, isShown))
    return findings.some(({ status }) => status === 'failed') ? 1 : 0
  })
}
