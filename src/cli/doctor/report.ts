import { printable, printableJson } from '../../errors/rejection-details.js'
import type { Paint } from '../command-line.js'
import type { Finding } from './check.js'

const SIGNS: Readonly<Record<Finding['status'], string>> = { passed: '✓', failed: '✗', 'left-out': '–' }

const COLOURS = { passed: 'green', failed: 'red', 'left-out': 'yellow' } as const

const plain: Paint = (_colour, text) => text

/**
 * Returns one line per check, and one that counts them and says where to begin.
 *
 * @param isShown whether a check has a line of its own. Default: each has
 */
export function asLines(
  findings: readonly Finding[],
  paint = plain,
  isShown: (finding: Finding) => boolean = () => true,
): string {
  const lines = findings.filter(isShown).map((finding) => lineOf(finding, paint))
  return `${[...lines, ...(lines.length > 0 ? [''] : []), summaryOf(findings, paint)].join('\n')}\n`
}

/** Whether there is something to do: a check failed, or says how it need not be left out. */
export const asksForMore = ({ status, fix }: Finding): boolean =>
  status === 'failed' || (status === 'left-out' && fix !== undefined)

/** Returns the line of a check. */
export function lineOf({ status, found, fix, ...finding }: Finding, paint = plain): string {
  const advice = fix === undefined ? '' : ` → ${fix}`
  return `${paint(COLOURS[status], SIGNS[status])} ${oneLine(`${nameOf(finding)}: ${found}${advice}`)}`
}

function summaryOf(findings: readonly Finding[], paint: Paint): string {
  const count = (status: Finding['status']): string => {
    const { length } = findings.filter((finding) => finding.status === status)
    const text = `${length} ${SIGNS[status]}`
    return length === 0 ? text : paint(COLOURS[status], text)
  }
  const first = findings.find(({ status }) => status === 'failed')
  const nothing = findings.some(asksForMore) ? 'Nothing to mend in what was tried' : 'Nothing to mend'
  const next = first === undefined ? nothing : oneLine(`Begin with ${nameOf(first)}: ${first.fix ?? first.found}`)
  const checks = `${findings.length} ${findings.length === 1 ? 'check' : 'checks'}`
  return `${checks}: ${count('passed')}, ${count('failed')}, ${count('left-out')} left out. ${next}`
}

const nameOf = ({ id, issuer }: Pick<Finding, 'id' | 'issuer'>): string =>
  issuer === undefined ? id : `${id} (${issuer})`

/** Returns the findings as a JSON document, whose ids stay the same from version to version. */
export function asJson(findings: readonly Finding[]): string {
  const ok = findings.every(({ status }) => status !== 'failed')
  return `${printableJson({ ok, checks: findings }, 2)}\n`
}

/** Texts of other servers may hold sequences that a terminal obeys. */
const oneLine = (text: string): string => printable(text.replace(/[\r\n\t]+/g, ' '))
