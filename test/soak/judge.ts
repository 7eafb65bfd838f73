/** Milliseconds after a fault in which an outage may still be told. */
const AFTERMATH = 20_000
/** Of one kind: more say nothing new. */
const MOST_SHOWN = 5

interface Fault {
  /** A group of processes, a user, or everybody. */
  readonly whom: string
  readonly from: number
  until: number
}

/** The rules of the soak: what was counted, which faults there were, and what must not have been. */
export interface Judge {
  readonly count: (what: string, by?: number) => void
  /** Notes a fault that begins now. Call what it returns at its end. */
  readonly fault: (whom: string, what: string, from?: number) => () => void
  /** Whether something that happened to one of these in this time may be due to a fault. */
  readonly excuses: (whom: readonly string[], from: number, until: number) => boolean
  readonly violation: (rule: string, detail: string) => void
  /** Whether nothing is to fail any more. */
  readonly calm: () => boolean
  readonly beCalm: () => void
  readonly violations: () => readonly string[]
  readonly report: () => string
}

export const EVERYBODY = 'everybody'

export function createJudge(): Judge {
  const counts = new Map<string, number>()
  const faults: Fault[] = []
  const broken = new Map<string, string[]>()
  let calm = false
  const count = (what: string, by = 1): void => void counts.set(what, (counts.get(what) ?? 0) + by)
  return {
    count,
    fault(whom, what, from = Date.now()) {
      count(what)
      const fault = { whom, from, until: Infinity }
      faults.push(fault)
      return () => (fault.until = Date.now())
    },
    excuses: (whom, from, until) =>
      faults.some(
        (fault) =>
          (whom.includes(fault.whom) || fault.whom === EVERYBODY) &&
          from <= fault.until + AFTERMATH &&
          until >= fault.from,
      ),
    violation(rule, detail) {
      broken.set(rule, [...(broken.get(rule) ?? []), detail])
    },
    calm: () => calm,
    beCalm: () => void (calm = true),
    violations: () =>
      [...broken].map(([rule, details]) => `${rule} (${details.length}): ${details.slice(0, MOST_SHOWN).join('; ')}`),
    report: () =>
      [...counts]
        .sort(([one], [other]) => one.localeCompare(other))
        .map(([what, number]) => `${String(number).padStart(8)}  ${what}`)
        .join('\n'),
  }
}
