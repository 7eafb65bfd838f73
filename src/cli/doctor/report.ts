import { printable } from '../../errors/rejection-details.js'
import type { Finding } from './check.js'

const SIGNS: Readonly<Record<Finding['status'], string>> = { passed: '✓', failed: '✗', 'left-out': '–' }

/** Returns one line per check, and one that counts them. */
export function asLines(findings: readonly Finding[]): string {
  const count = (status: Finding['status']): number => findings.filter((finding) => finding.status === status).length
  const sum = `${count('passed')} ${SIGNS.passed}, ${count('failed')} ${SIGNS.failed}, ${count('left-out')} ${SIGNS['left-out']} left out`
  return `${[...findings.map(lineOf), '', sum].join('\n')}\n`
}

/** Returns the line of a check. */
export function lineOf({ id, issuer, status, found, fix }: Finding): string {
  const about = issuer === undefined ? '' : ` (${issuer})`
  const advice = fix === undefined ? '' : ` → ${fix}`
  return oneLine(`${SIGNS[status]} ${id}${about}: ${found}${advice}`)
}

/** Returns the findings as a JSON document, whose ids stay the same from version to version. */
export function asJson(findings: readonly Finding[]): string {
  const ok = findings.every(({ status }) => status !== 'failed')
  return `${JSON.stringify({ ok, checks: findings }, undefined, 2)}\n`
}

/** Texts of other servers may hold sequences that a terminal obeys. */
const oneLine = (text: string): string => printable(text.replace(/[\r\n\t]+/g, ' '))
