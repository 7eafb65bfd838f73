/** Values that say something about work. None is of a user, and none is secret. */
export type Attributes = Readonly<Record<string, string | number | boolean>>

/** A piece of work that takes time: a call out, or the verification of a token. */
export interface Work<T> {
  readonly name:
    | 'mcp.auth.verify'
    | 'mcp.auth.introspect'
    | 'mcp.auth.token_exchange'
    | 'mcp.auth.token_refresh'
    | 'mcp.auth.connect'
    | 'mcp.auth.storage'
    | 'nextcloud.request'
  /** The URL that is asked, of which host and port are told and no more. Absent: the work is done here, or by an adapter. */
  readonly at?: string | undefined
  readonly attributes?: Attributes
  /** Returns what there is to say of its result. */
  readonly told?: (result: T) => Attributes
}

/** Takes part in what one middleware does. `E`: its events. */
export interface Watcher<E> {
  readonly event: (event: E) => void
  /** Runs the work, and returns what it returns. */
  readonly during: <T>(work: Work<T>, run: () => Promise<T>) => Promise<T>
}

export interface Watchers<E> {
  readonly any: () => boolean
  readonly tell: (event: E) => void
  /** Does work in the presence of the watchers. Without any, it is `run()`. */
  readonly during: <T>(work: Work<T>, run: () => Promise<T>) => Promise<T>
  /** Returns the function that ends it. */
  readonly watch: (watcher: Watcher<E>) => () => void
}

export function createWatchers<E>(): Watchers<E> {
  const watchers = new Set<Watcher<E>>()
  return {
    any: () => watchers.size > 0,
    tell: (event) => {
      for (const watcher of watchers) watcher.event(event)
    },
    during: (work, run) => {
      let step = run
      for (const watcher of watchers) {
        const inner = step
        step = () => watcher.during(work, inner)
      }
      return step()
    },
    watch: (watcher) => {
      watchers.add(watcher)
      return () => void watchers.delete(watcher)
    },
  }
}
