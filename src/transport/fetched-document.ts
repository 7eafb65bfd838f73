import type { Clock } from '../clock.js'
import { createCoolDown, type CoolDown } from './cool-down.js'

/** A document of the authorization server that is fetched when it is first needed, and kept. */
export interface FetchedDocument<T> {
  readonly known: () => { readonly value: T; readonly fetchedAt: number } | undefined
  /** Fetches it again; concurrent calls share one fetch, and a failure starts the cool-down. */
  readonly refresh: () => Promise<T>
  readonly refreshing: () => boolean
  /** Drops the document, and whatever a fetch under way brings. */
  readonly forget: () => void
  readonly coolDown: Pick<CoolDown, 'active' | 'check' | 'failing'>
}

/** Seconds. A document that every request needs is asked for again after that, whatever the server says. */
const LONGEST_RETRY_AFTER = 60

/** @param begun called with each cool-down that begins */
export function createFetchedDocument<T>(
  fetchDocument: () => Promise<T>,
  clock: Clock,
  begun?: () => void,
): FetchedDocument<T> {
  const coolDown = createCoolDown(clock, LONGEST_RETRY_AFTER, begun)
  let known: { readonly value: T; readonly fetchedAt: number } | undefined
  let pending: Promise<T> | undefined
  const fetchOnce = (): Promise<T> => {
    // It is as old as that, also where the process stood still before it was read.
    const fetchedAt = clock.monotonic()
    const fetching = fetchDocument()
      .then((value) => {
        if (pending === fetching) known = { value, fetchedAt }
        coolDown.succeeded()
        return value
      })
      .catch((error: unknown) => coolDown.failed(error))
      .finally(() => {
        if (pending === fetching) pending = undefined
      })
    return fetching
  }
  return {
    known: () => known,
    refresh: () => (pending ??= fetchOnce()),
    refreshing: () => pending !== undefined,
    forget: () => {
      known = undefined
      pending = undefined
    },
    coolDown,
  }
}
