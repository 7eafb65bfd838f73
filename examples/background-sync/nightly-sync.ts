import { NotProvisionedError, StorageError, UpstreamUnavailableError, type McpAuth } from 'mcp-nextcloud-auth'

/** A row of the app's own table. Grants are not listed by this package: who has which, only the app knows. */
export interface User {
  readonly issuer: string
  readonly subject: string
  /** Whether this user wants the nightly sync. A user who does not may still use tools by day. */
  readonly wantsSync: boolean
  /** Milliseconds since the epoch at which the app last used this user's grant; the job keeps it up to date. */
  lastUsed: number
}

export interface NightlySyncOptions {
  readonly auth: Pick<McpAuth, 'nextcloudFetch' | 'rotate'>
  readonly users: readonly User[]
  /** The request that is sent as each user. */
  readonly path: string
  /** Gets the answer for one user. */
  readonly store: (user: User, answer: Response) => Promise<void>
  /** Users at a time. Default 4: each is a request to Nextcloud and, where no access token is at hand, one to the provider. */
  readonly concurrency?: number
  /** Milliseconds that a grant may lie unused before it is renewed. Default 14 days, which is well within the limits of providers. */
  readonly longUnused?: number
  readonly now?: () => number
}

/** The outcome of each user, by subject. */
export interface NightlySyncReport {
  readonly synced: readonly string[]
  readonly rotated: readonly string[]
  /** They have not connected Nextcloud, or no longer: to be asked when they are here, not at night. */
  readonly notConnected: readonly string[]
  /** A failure of this one user's. */
  readonly failed: readonly string[]
  /** Seconds until the next run, which takes the remaining users. Set when something that all users need is unavailable. */
  readonly tryAgainIn: number | undefined
}

const DAY = 86_400_000

/** Syncs every user who wants it, then renews the grants that nothing has used for long, so that they do not run out. */
export async function runNightlySync(options: NightlySyncOptions): Promise<NightlySyncReport> {
  const { auth, users, path, store, concurrency = 4, longUnused = 14 * DAY, now = Date.now } = options
  const synced: string[] = []
  const rotated: string[] = []
  const notConnected: string[] = []
  const failed: string[] = []
  let tryAgainIn: number | undefined

  await forAll(
    users.filter(({ wantsSync }) => wantsSync),
    async (user) => {
      const { issuer, subject } = user
      const answer = await auth.nextcloudFetch({ issuer, subject }, path)
      user.lastUsed = now()
      if (!answer.ok) throw new Error(`Nextcloud answered ${answer.status}`)
      await store(user, answer)
      synced.push(subject)
    },
  )
  await forAll(
    users.filter(({ lastUsed }) => now() - lastUsed > longUnused),
    async (user) => {
      const { issuer, subject } = user
      // Those who were refused a moment ago have nothing to renew.
      if (notConnected.includes(subject)) return
      await auth.rotate({ issuer, subject })
      user.lastUsed = now()
      rotated.push(subject)
    },
  )
  return { synced, rotated, notConnected, failed, tryAgainIn }

  /** Some at a time; none is begun any more when it would only meet the same outage. */
  async function forAll(some: readonly User[], work: (user: User) => Promise<void>): Promise<void> {
    const queue = some.values()
    const worker = async (): Promise<void> => {
      for (const user of queue) {
        if (tryAgainIn !== undefined) return
        await work(user).catch((error: unknown) => note(user, error))
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
  }

  function note({ subject }: User, error: unknown): void {
    if (error instanceof NotProvisionedError) notConnected.push(subject)
    else if (error instanceof UpstreamUnavailableError || error instanceof StorageError) tryAgainIn = error.retryAfter
    else failed.push(subject)
  }
}
