import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { systemClock } from '../src/clock.js'
import { readConfig } from '../src/config/read-config.js'
import { createEvents } from '../src/events.js'
import { createGrants } from '../src/grants/open-grants.js'
import { startMariaDbServer } from '../test/support/mariadb-server.js'
import { startPostgresServer } from '../test/support/postgres-server.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { openStore, type StoreAddress } from '../test/support/stores.js'
import { percentile, type Form, type Measurement } from './figures.js'
import { resultOf, startProgram } from './processes.js'
import type { RenewalTimes, RenewingApp } from './renewing-app.js'
import { CLIENT, RESOURCE } from './tokens.js'

const PROCESSES = 4
const USERS_EACH = 10
const ENCRYPTION_KEY = randomBytes(32).toString('base64url')

/** A store, and how it is stopped; undefined where this machine cannot run it. */
interface RunningStore {
  readonly address: StoreAddress
  readonly stop: () => Promise<unknown>
}

const STORES: readonly (() => Promise<RunningStore>)[] = [
  async () => {
    const { url, stop } = await startRedisServer()
    return { address: { kind: 'Redis', url }, stop }
  },
  async () => {
    const { url, stop } = await startPostgresServer()
    return { address: { kind: 'PostgreSQL', url }, stop }
  },
  async () => {
    const { url, stop } = await startMariaDbServer()
    return { address: { kind: 'MariaDB', url }, stop }
  },
  async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'bench-'))
    return {
      address: { kind: 'SQLite', file: path.join(folder, 'grants.db') },
      stop: () => rm(folder, { recursive: true }),
    }
  },
]

/** The time of a renewal in refresh-token mode beyond that of its token request, on each store. */
export async function measureRenewals(form: Form): Promise<Measurement[]> {
  const measurements: Measurement[] = []
  for (const start of STORES) {
    const store = await start()
    try {
      measurements.push(...(await renewalsOn(store.address, form)))
    } finally {
      await store.stop()
    }
  }
  return measurements
}

async function renewalsOn(store: StoreAddress, { quick, repeats }: Form): Promise<Measurement[]> {
  const typical: number[] = []
  const slow: number[] = []
  for (let repeat = 0; repeat < (quick ? 1 : repeats); repeat += 1) {
    const as = await startProgram('authorization-server.ts', [])
    const issuer = String(as.said)
    const users = Array.from({ length: PROCESSES }, (_, app) =>
      Array.from({ length: USERS_EACH }, (_, user) => `user${repeat}x${app}x${user}`),
    )
    await connect(issuer, store, users.flat())
    const apps = users.map((subjects) => {
      const app: RenewingApp = { issuer, store, subjects, rounds: quick ? 4 : 10, encryptionKey: ENCRYPTION_KEY }
      return resultOf<RenewalTimes>('renewing-app.ts', [JSON.stringify(app)])
    })
    const times = await Promise.all(apps)
    as.stop()
    const bare = percentile(
      times.flatMap(({ bare }) => bare),
      50,
    )
    const added = times.flatMap(({ renewals }) => renewals).map((ms) => ms - bare)
    typical.push(percentile(added, 50))
    slow.push(percentile(added, 99))
  }
  const work = `a renewal on ${store.kind}, ${PROCESSES} processes`
  const id = `renewal-${store.kind}`
  return [
    { id, work, figure: 'ms over the bare token request, p50', values: typical, goal: { atMost: 3 }, absolute: true },
    { id: `${id}-p99`, work: 'the same', figure: 'p99', values: slow },
  ]
}

/** Stores a grant for each user, as the connect pages would. */
async function connect(issuer: string, store: StoreAddress, subjects: readonly string[]): Promise<void> {
  const { adapter, close } = await openStore(store)
  const config = readConfig(
    {
      issuer,
      resource: RESOURCE,
      ...CLIENT,
      storage: adapter,
      encryptionKey: ENCRYPTION_KEY,
      nextcloud: { url: 'https://cloud.example.com' },
    },
    {},
  )
  if (config.grants === undefined) throw new Error('That is no refresh-token mode')
  const grants = createGrants({
    config,
    grants: config.grants,
    storage: adapter,
    clock: systemClock,
    events: createEvents(undefined, systemClock),
  })
  for (const subject of subjects) {
    const refreshToken = `refresh-${subject}-0`
    const fingerprint = grants.fingerprint(refreshToken)
    await grants.store.connect({ issuer, subject }, { refreshToken, fingerprint, clientId: 'mcp-client', scopes: [] })
  }
  await close()
}
