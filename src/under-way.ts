/** Work that is to end before the process does. */
export interface UnderWay {
  /** Returns the same promise. */
  readonly track: <T>(work: Promise<T>) => Promise<T>
  /** Resolves when no work is under way any more: what begins meanwhile is waited for, too. */
  readonly quiet: () => Promise<void>
  /** From now on nobody waits for work: what would be lost if its end were missed must not begin. */
  readonly end: () => void
  readonly isOver: () => boolean
}

export function createUnderWay(): UnderWay {
  const working = new Set<Promise<unknown>>()
  let isOver = false
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
    end: () => void (isOver = true),
    isOver: () => isOver,
  }
}

/** Waits for work, for so many milliseconds at most, and keeps no process alive meanwhile. */
export async function waitAtMost(ms: number, work: Promise<unknown>): Promise<void> {
  await Promise.race([work, new Promise((resolve) => setTimeout(resolve, ms).unref())])
}
