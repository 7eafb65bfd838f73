import type { KeyPage } from '../storage-adapter.js'

/** Collects keys in any order, some of them twice, and keeps no more than a page needs. */
export interface KeyCollector {
  readonly add: (key: string) => void
  /** The smallest keys, in ascending order. */
  readonly page: () => string[]
}

/** Keys that are kept beyond a page before they are sorted. */
const SLACK = 1_000

/** Collects the first `limit` keys behind `after`. */
export function collectKeys({ after, limit }: KeyPage): KeyCollector {
  let kept: string[] = []
  /** The last key of a full page. A key behind it is of a later one. */
  let last: string | undefined
  function cut(): void {
    kept = [...new Set(kept)].sort(byBytes).slice(0, limit)
    last = kept.length === limit ? kept.at(-1) : undefined
  }
  return {
    add(key) {
      if (after !== undefined && byBytes(key, after) <= 0) return
      if (last !== undefined && byBytes(key, last) >= 0) return
      kept.push(key)
      if (kept.length >= limit + SLACK) cut()
    },
    page() {
      cut()
      return kept
    },
  }
}

/** By UTF-8 bytes. JavaScript compares by UTF-16 units, which puts some characters beyond U+FFFF in another place. */
function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}
