import { GROUPS, type Group } from '../test/attacks/corpus/attack.js'
import { ELSEWHERE } from '../test/attacks/elsewhere.js'

export const OURS = 'mcp-nextcloud-auth'

export type Outcome = 'held' | 'let in' | 'server error' | 'no answer' | 'asked the attacker' | 'repeated what was sent'

/** The outcome of a run, as `attacks.json` has it. */
export interface Results {
  /** ISO 8601. */
  readonly at: string
  readonly node: string
  readonly versions: Readonly<Record<string, string>>
  /** Group → package → attacks that it holds; null where it has nothing that they could be sent to. */
  readonly groups: Record<string, Record<string, { readonly held: number; readonly of: number } | null>>
  /** Package → attacks that it does not hold. */
  readonly failures: Record<string, { readonly group: string; readonly name: string; readonly outcome: Outcome }[]>
  /** Package → good requests that it refuses. */
  readonly refused: Record<string, string[]>
}

const BEGIN = '<!-- Written by npm run attacks -->'
const END = '<!-- End of what npm run attacks writes -->'

/** Returns the page with the outcome of a run. */
export function attacksPage(page: string, results: Results): string {
  const [before, after] = [page.split(BEGIN)[0], page.split(END)[1]]
  if (before === undefined || after === undefined) throw new Error('docs/attacks.md has no place for the table')
  return `${before}${BEGIN}\n\n${outcomeOf(results)}\n\n${END}${after}`
}

function outcomeOf(results: Results): string {
  const names = Object.keys(results.failures)
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const groups = Object.entries(results.groups).map(([group, held]) =>
    row([GROUPS[group as Group], ...names.map((name) => cell(held[name] ?? null))]),
  )
  const versions = Object.entries(results.versions).map(([name, version]) => `${name} ${version}`)
  return [
    `${results.at.slice(0, 10)}, Node ${results.node.slice(1)}; ${versions.join(', ')}.`,
    [
      row(['Attacks', ...names.map((name) => `\`${name}\``)]),
      row(['---', ...names.map(() => '---')]),
      ...groups,
      row(['**All**', ...names.map((name) => `**${cell(sum(results, name))}**`)]),
    ].join('\n'),
    ...names.flatMap((name) => notHeld(results, name)),
    '## Of more than one request',
    ...Object.entries(ELSEWHERE).flatMap(([group, attacks]) => [
      `<details><summary>${group}: ${attacks.length}</summary>`,
      attacks.map(({ attack, rule }) => `- ${attack}: ${rule}`).join('\n'),
      '</details>',
    ]),
  ].join('\n\n')
}

const cell = (count: { readonly held: number; readonly of: number } | null): string =>
  count === null ? 'not applicable' : `${count.held} / ${count.of}`

/** Returns how many of all attacks a package holds. */
export function sum({ groups }: Results, name: string): { readonly held: number; readonly of: number } {
  const counts = Object.values(groups).flatMap((group) => group[name] ?? [])
  return { held: counts.reduce((all, { held }) => all + held, 0), of: counts.reduce((all, { of }) => all + of, 0) }
}

function notHeld({ failures, refused }: Results, name: string): string[] {
  const good = refused[name] ?? []
  const lines = new Map<string, string[]>()
  for (const { outcome, group, name: attack } of failures[name] ?? []) {
    const kind = `${outcome}, ${GROUPS[group as Group].toLowerCase()}`
    lines.set(kind, [...(lines.get(kind) ?? []), attack])
  }
  if (lines.size === 0 && good.length === 0) return []
  return [
    `<details><summary>What ${name} does not hold</summary>`,
    [
      ...[...lines].map(([kind, attacks]) => `- ${kind}: ${attacks.join('; ')}`),
      ...(good.length === 0 ? [] : [`- good, and refused: ${good.join('; ')}`]),
    ].join('\n'),
    '</details>',
  ]
}
