import { readFile } from 'node:fs/promises'
import { format, resolveConfig } from 'prettier'
import type { FaultResult } from './faults.js'

/** A row of the table in docs/reliability.md. */
export interface FaultRow extends FaultResult {
  readonly fault: string
  /** Seconds. */
  readonly within: number
}

const BEGIN = '<!-- The table is written by the tests: npm run docs:reliability -->'
const END = '<!-- End of the table -->'
const HEAD = [
  'What happens',
  'What callers get',
  'Within',
  'What is stored then',
  'Refresh token sent',
  'Connect again?',
]

const STORED: Readonly<Record<string, string>> = {
  'active, the latest refresh token': 'the latest refresh token',
  'needs-reconnect': 'that the connection has ended',
  disconnected: 'that the user disconnected',
  'active, the latest refresh token, and a lease': 'the latest refresh token; for 10 s, the lease',
}

/** The page, with the table as the tests have found it. */
export async function pageWith(path: string, rows: readonly FaultRow[]): Promise<string> {
  const page = await readFile(path, 'utf8')
  const [before, after] = [page.split(BEGIN)[0], page.split(END)[1]]
  if (before === undefined || after === undefined) throw new Error(`${path} has no place for the table`)
  const table = [HEAD, HEAD.map(() => '---'), ...rows.map(cells)].map((row) => `| ${row.join(' | ')} |`).join('\n')
  const options = { ...(await resolveConfig(path)), parser: 'markdown' }
  return format(`${before}${BEGIN}\n\n${table}\n\n${END}${after}`, options)
}

function cells({ fault, callers, within, stored, presented, reconnect }: FaultRow): string[] {
  return [
    fault,
    callers.replace(' revoked', '').replace(/ERR_\w+/g, '`$&`'),
    `≤ ${within} s`,
    STORED[stored] ?? stored,
    presented === 1 ? 'once' : presented === 2 ? 'twice' : `${presented} times`,
    reconnect ? '**yes**' : 'no',
  ]
}
