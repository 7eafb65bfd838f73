/** One line of the table: the figures of all repeats, and the goal. */
export interface Measurement {
  /** Stable, for `results.json`. */
  readonly id: string
  readonly work: string
  readonly figure: string
  /** One for each repeat. */
  readonly values: readonly number[]
  /** None: the figure is only printed. */
  readonly goal?: Goal
  /** Whether it depends on the machine and not only on the code (a time, and not a ratio). If so, it fails no short form. */
  readonly absolute?: boolean
  /** Share by which the short form may miss the goal. Default 0.25. */
  readonly tolerance?: number
  /** Decimal places. Default 2. */
  readonly places?: number
}

export type Goal = { readonly atLeast: number } | { readonly atMost: number }

/** How long to measure. */
export interface Form {
  readonly quick: boolean
  /** Interleaved repeats. */
  readonly repeats: number
}

/** How far a figure may miss its goal before the short form fails: a busy machine is no defect. */
const NOISE = 0.25

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** By the nearest rank. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? NaN
}

export function meetsGoal({ values, goal }: Measurement): boolean {
  return goal === undefined || reaches(goal, median(values))
}

/** Whether each repeat is so far from the goal that noise does not explain it: a busy machine spoils some, a slow program all of them. */
export function missesByFar({ values, goal, absolute, tolerance = NOISE }: Measurement): boolean {
  return absolute !== true && goal !== undefined && !values.some((value) => reaches(goal, value, tolerance))
}

function reaches(goal: Goal, value: number, tolerance = 0): boolean {
  return 'atLeast' in goal ? value >= goal.atLeast * (1 - tolerance) : value <= goal.atMost * (1 + tolerance)
}

function goalText(goal: Goal | undefined, places: number): string {
  if (goal === undefined) return ''
  return 'atLeast' in goal ? `≥ ${format(goal.atLeast, places)}` : `≤ ${format(goal.atMost, places)}`
}

function format(value: number, places: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: places })
}

/** The table, in Markdown, so that a page can show it as it was printed. */
export function table(measurements: readonly Measurement[]): string {
  const rows = measurements.map((measurement) => {
    const { work, figure, values, goal, places = 2 } = measurement
    const spread =
      values.length > 1 ? `${format(Math.min(...values), places)} to ${format(Math.max(...values), places)}` : ''
    const verdict = goal === undefined ? '' : meetsGoal(measurement) ? '✓' : '✗'
    return [work, figure, format(median(values), places), spread, goalText(goal, places), verdict]
  })
  const all = [['work', 'figure', 'median', 'spread', 'goal', ''], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`
  return [line(all[0] ?? []), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join(
    '\n',
  )
}
