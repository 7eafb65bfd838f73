/** Work that is to end before the process does. */
export interface UnderWay {
  /** Returns the same promise. */
  readonly track: <T>(work: Promise<T>) => Promise<T>
  /** Resolves when no work is under way any more: what begins meanwhile is waited for, too. */
  readonly quiet: () => Promise<void>
  /**
   * Waits for `settled`, for so many milliseconds at most, and keeps no process alive meanwhile. What must not be cut off begins no more
   * from half of that time on.
   */
  readonly close: (ms: number, settled: Promise<unknown>) => Promise<void>
  /** Whether nothing may begin that must not be cut off. */
  readonly isOver: () => boolean
}

export function createUnderWay(): UnderWay {
  const working = new Set<Promise<unknown>>()
  let isOver = false
  const end = (): void => void (isOver = true)
  return {
    track: (work) => {
      working.add(work)
      const ended = (): boolean => working.delete(work)
      work.then(ended, ended)
      return work
    },
    async quiet() {
      while (working.size > 0) await Promise.allSettled(working)
    },
    async close(ms, settled) {
      const half = setTimeout(end, ms / 2).unref()
      await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, ms).unref())])
      clearTimeout(half)
      end()
    },
    isOver: () => isOver,
  }
}
