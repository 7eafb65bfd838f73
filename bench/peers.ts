import { OURS, sum, type Results } from './attacks-page.js'
import { median, type Measurement } from './figures.js'

/** What `results.json` holds. */
export interface BenchResults {
  readonly versions: Readonly<Record<string, string>>
  readonly results: readonly (Measurement & { readonly at: string })[]
}

/** What was read in the code of the packages: which serve the document of RFC 9728. Look again when a version changes. */
export const LOOKED_AT = {
  at: '2026-11-29',
  versions: {
    'express-oauth2-jwt-bearer': '1.10.0',
    'express-jwt': '8.5.1',
    'jwks-rsa': '4.1.0',
    '@modelcontextprotocol/express': '2.0.2',
    'mcp-auth': '0.2.0',
  },
  servesMetadata: [OURS, '@modelcontextprotocol/express + jose', 'mcp-auth'],
} as const

const NAMES = [
  OURS,
  '@modelcontextprotocol/express + jose',
  'mcp-auth',
  'express-oauth2-jwt-bearer',
  'express-jwt + jwks-rsa',
]

/** Returns the table of packages, in Markdown, with a line that says versions and dates. */
export function peersTable(bench: BenchResults, attacks: Results): string {
  const rows = NAMES.map((name) => [
    name
      .split(' + ')
      .map((each) => `\`${each}\` ${bench.versions[each] ?? ''}`)
      .join(' + '),
    (LOOKED_AT.servesMetadata as readonly string[]).includes(name) ? 'yes' : 'no',
    heldBy(name, attacks),
    throughputOf(name, bench).toFixed(2),
  ])
  const head = ['package', 'serves RFC 9728 metadata', 'attacks held', 'throughput']
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  return [...lines, '', datesOf(bench, attacks)].join('\n')
}

function heldBy(name: string, results: Results): string {
  if (!(name in results.failures)) return 'not sent'
  const { held, of } = sum(results, name)
  const strict = `${name}, strict`
  return `${held} of ${of}${strict in results.failures ? ` (strict: ${sum(results, strict).held})` : ''}`
}

function throughputOf(name: string, { results }: BenchResults): number {
  const id = name === OURS ? 'throughput' : `throughput-${name}`
  return median(results.find((each) => each.id === id)?.values ?? [])
}

function datesOf({ results }: BenchResults, attacks: Results): string {
  const measured = results.find(({ id }) => id === 'throughput')?.at.slice(0, 10) ?? ''
  return `Code read on ${LOOKED_AT.at}, attacks sent on ${attacks.at.slice(0, 10)}, throughput measured on ${measured}.`
}
