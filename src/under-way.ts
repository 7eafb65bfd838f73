/** Work that is to end before the process does. */
export interface UnderWay {
  /** Returns the same promise. */
  readonly track: <T>(work: Promise<T>) => Promise<T>
  /** Resolves when no work is under way any more: what begins meanwhile is waited for, too. */
  readonly quiet: () => Promise<void>
  /** Resolves behind `settled`, or after so many milliseconds. Keeps no process alive. From half of that time on, the process is ending. */
  readonly close: (ms: number, settled: Promise<unknown>) => Promise<void>
  /** Whether the process is about to end: work that must not be cut off must not begin. */
  readonly isEnding: () => boolean
}

export function createUnderWay(): UnderWay {
  const working = new Set<Promise<unknown>>()
  /** Milliseconds by `performance.now()`: no timer, which would come late behind a call that stops the process. */
  let endingAt = Infinity
  const quiet = async (): Promise<void> => {
    while (working.size > 0) await Promise.allSettled(working)
  }
  const end = (): void => void (endingAt = -Infinity)
  return {
    track: (work) => {
      working.add(work)
      const ended = (): boolean => working.delete(work)
      work.then(ended, ended)
      return work
    },
    quiet,
    async close(ms, settled) {
      endingAt = Math.min(endingAt, performance.now() + ms / 2)
      const waited = new Promise((resolve) => setTimeout(resolve, ms).unref())
      // What began behind the last look must end, too, and nothing follows it.
      await Promise.race([settled.finally(end).then(quiet), waited])
    },
    isEnding: () => performance.now() >= endingAt,
  }
}
