import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createFaults, createQueue, type FaultResult } from '../support/faults.js'
import { createInstanceProcesses, type InstanceProcess } from '../support/instances.js'
import { pageWith, type FaultRow } from '../support/reliability-page.js'
import { createRealStores, storeKinds } from '../support/scene.js'
import type { StoreKind } from '../support/stores.js'

const PAGE = new URL('../../docs/reliability.md', import.meta.url).pathname

type Expected = Omit<FaultResult, 'ms'>

/** A fault, on every store where it can be had: all of them have to come to the same. */
interface Fault {
  readonly name: string
  readonly kinds: readonly StoreKind[]
  readonly run: (kind: StoreKind) => Promise<FaultResult>
  /** Seconds. */
  readonly within: number
  readonly expected: Expected
  /** Whether a process of its own takes part; or nothing but answers, so that it is over soon. */
  readonly of: 'process' | 'store' | 'answer'
}

const stores = createRealStores()
const processes = createInstanceProcesses()
/** Instances to which nothing happens share a process. */
let bystander: Promise<InstanceProcess> | undefined
const faults = createFaults(stores, processes, () => (bystander ??= processes.start()))

const present = storeKinds()
const every = present
const one = present.slice(0, 1)
const only = (...kinds: StoreKind[]): StoreKind[] => present.filter((kind) => kinds.includes(kind))

/** Milliseconds count from the fault, or from when the store is back. */
const SOON = 5
const AFTER_A_LEASE = 15

/** The bound itself is held to on a clock that stands still: test/broker/refresh-token.test.ts. */
const BUSY_MACHINE = 5_000

const A_TOKEN: Expected = {
  callers: 'a token',
  stored: 'active, the latest refresh token',
  presented: 1,
  reconnect: false,
}
const A_TOKEN_LATER: Expected = { ...A_TOKEN, callers: '503 ERR_STORAGE, then a token' }
const LOST: Expected = {
  callers: '403 ERR_NOT_PROVISIONED revoked',
  stored: 'needs-reconnect',
  presented: 2,
  reconnect: true,
}

const all: Fault[] = []
function fault(
  of: Fault['of'],
  name: string,
  kinds: readonly StoreKind[],
  within: number,
  expected: Expected,
  run: Fault['run'],
): void {
  if (kinds.length > 0) all.push({ of, name, kinds, run, within, expected })
}

fault(
  'process',
  'The instance that refreshes is killed after it took the lease',
  every,
  AFTER_A_LEASE,
  A_TOKEN,
  (kind) => faults.killed(kind, 'leased'),
)
fault('process', 'Killed after it marked the grant', every, AFTER_A_LEASE, A_TOKEN, (kind) =>
  faults.killed(kind, 'marked'),
)
fault(
  'process',
  'Killed while it asks, and the request is not processed',
  every,
  AFTER_A_LEASE,
  { ...A_TOKEN, presented: 2 },
  (kind) => faults.killedWhileAsking(kind, 'not processed'),
)
fault(
  'process',
  'Killed while it asks, after the server rotated; the server has a grace for the last used token',
  one,
  AFTER_A_LEASE,
  { ...A_TOKEN, presented: 2 },
  (kind) => faults.killedWhileAsking(kind, 'processed', { grace: true }),
)
fault('process', 'The same without grace: the answer is lost', every, AFTER_A_LEASE, LOST, (kind) =>
  faults.killedWhileAsking(kind, 'processed'),
)
fault(
  'process',
  'Killed after the answer came and before it is stored; the server has a grace',
  one,
  AFTER_A_LEASE,
  { ...A_TOKEN, presented: 2 },
  (kind) => faults.killed(kind, 'storing', { grace: true }),
)
fault('process', 'The same without grace: the answer is lost', every, AFTER_A_LEASE, LOST, (kind) =>
  faults.killed(kind, 'storing'),
)
fault(
  'process',
  'Killed after it stored the new token',
  every,
  SOON,
  { ...A_TOKEN, stored: `${A_TOKEN.stored}, and a lease` },
  (kind) => faults.killed(kind, 'stored'),
)

const UNAVAILABLE = '503 ERR_UPSTREAM_UNAVAILABLE'
fault(
  'answer',
  'The connection breaks before the server processes the request',
  every,
  SOON,
  { ...A_TOKEN, callers: `${UNAVAILABLE}, then a token`, presented: 2 },
  (kind) => faults.answerLost(kind, 'not processed'),
)
fault(
  'answer',
  'The connection breaks after the server rotated; the server has a grace',
  every,
  SOON,
  { ...A_TOKEN, callers: `${UNAVAILABLE}, then a token`, presented: 2 },
  (kind) => faults.answerLost(kind, 'processed', { grace: true }),
)
fault(
  'answer',
  'The same without grace: the answer is lost',
  every,
  SOON,
  { ...LOST, callers: `${UNAVAILABLE}, then ${LOST.callers}` },
  (kind) => faults.answerLost(kind, 'processed'),
)
// What a server turns away unread is sent again within the call, what it may have read only by the next one.
for (const [status, presented] of [
  [429, 4],
  [503, 4],
  [500, 2],
] as const) {
  fault(
    'answer',
    `The server answers ${status} for a while`,
    one,
    SOON,
    { ...A_TOKEN, callers: `${UNAVAILABLE}, then a token`, presented },
    (kind) => faults.answered(kind, { status }),
  )
}
fault(
  'answer',
  'The server answers `invalid_client` for a while',
  one,
  SOON,
  { ...A_TOKEN, callers: '502 ERR_TOKEN_REQUEST, then a token', presented: 2 },
  (kind) => faults.answered(kind, { status: 401, json: { error: 'invalid_client' } }),
)

fault(
  'process',
  'The process stands still before it sends, for longer than its lease',
  one,
  AFTER_A_LEASE,
  A_TOKEN,
  (kind) => faults.stalled(kind, 'marked', 10),
)
fault(
  'process',
  'It stands still in the moment of sending, for longer than its lease',
  one,
  AFTER_A_LEASE,
  A_TOKEN,
  (kind) => faults.stalled(kind, 'sending', 10),
)
fault('process', 'It stands still for less than its lease, while the answer comes', one, SOON, A_TOKEN, (kind) =>
  faults.stalledWhileAsking(kind, 1.5),
)
fault(
  'process',
  'It stands still for longer than its lease, while the answer comes; the server has a grace',
  one,
  AFTER_A_LEASE,
  { ...A_TOKEN, presented: 2 },
  (kind) => faults.stalledWhileAsking(kind, 10, { grace: true }),
)
fault('process', 'The same without grace: the answer is lost', one, AFTER_A_LEASE, LOST, (kind) =>
  faults.stalledWhileAsking(kind, 10),
)
fault(
  'process',
  'It stands still for longer than its lease, with the answer, before it is stored; the server has a grace',
  one,
  AFTER_A_LEASE,
  { ...A_TOKEN, presented: 2 },
  (kind) => faults.stalled(kind, 'storing', 10, { grace: true }),
)
fault('process', 'The same without grace: the answer is lost', one, AFTER_A_LEASE, LOST, (kind) =>
  faults.stalled(kind, 'storing', 10),
)

const STEPS = [
  ['before the grant is read', 'reading'],
  ['before the lease is taken', 'leasing'],
  ['before the grant is marked', 'marking'],
] as const
for (const [when, step] of STEPS) {
  // Its client keeps what it is asked for until it is connected again.
  fault('store', `Redis is away for 2 s, ${when}`, only('Redis'), SOON, A_TOKEN, (kind) =>
    faults.storeAway(kind, step, 2),
  )
  fault('store', `PostgreSQL is away for 2 s, ${when}`, only('PostgreSQL'), SOON, A_TOKEN_LATER, (kind) =>
    faults.storeAway(kind, step, 2),
  )
}
const servers = only('Redis', 'PostgreSQL')
fault('store', 'Redis or PostgreSQL is away for 1 s when the answer comes', servers, SOON, A_TOKEN, (kind) =>
  faults.storeAway(kind, 'storing', 1),
)
fault('store', 'Away for 7 s when the answer comes', servers, SOON, A_TOKEN_LATER, (kind) =>
  faults.storeAway(kind, 'storing', 7),
)
fault('store', 'Away for longer than the lease when the answer comes', servers, SOON, A_TOKEN_LATER, (kind) =>
  faults.storeAway(kind, 'storing', 14),
)
fault(
  'store',
  'The same, and the instance with the answer is back 2 s later than the others',
  servers,
  SOON,
  A_TOKEN_LATER,
  (kind) => faults.storeAway(kind, 'storing', 11, { longerForHolder: 2 }),
)
fault('store', 'Away for 2 s after the new token was stored', servers, SOON, A_TOKEN, (kind) =>
  faults.storeAway(kind, 'releasing', 2),
)
fault('store', 'Redis is restarted when the answer comes', only('Redis'), SOON, A_TOKEN, () =>
  faults.restarted('Redis', 'storing'),
)
fault('store', 'PostgreSQL is restarted when the answer comes', only('PostgreSQL'), SOON, A_TOKEN, () =>
  faults.restarted('PostgreSQL', 'storing'),
)
const file = only('SQLite')
fault('process', 'The SQLite file is locked for 7 s, before the lease is taken', file, SOON, A_TOKEN_LATER, () =>
  faults.fileLocked('leasing', 7),
)
fault('process', 'The SQLite file is locked for 2 s when the answer comes', file, SOON, A_TOKEN, () =>
  faults.fileLocked('storing', 2),
)
fault('process', 'Locked for longer than the lease when the answer comes', file, SOON, A_TOKEN_LATER, () =>
  faults.fileLocked('storing', 12),
)
fault('process', 'Locked for 7 s after the new token was stored', file, SOON, A_TOKEN, () =>
  faults.fileLocked('releasing', 7),
)

const BY_CHOICE = 'The user disconnects during a refresh'
fault(
  'answer',
  BY_CHOICE,
  every,
  SOON,
  { callers: '403 ERR_NOT_PROVISIONED revoked', stored: 'disconnected', presented: 1, reconnect: true },
  (kind) => faults.meanwhile(kind, ({ other }) => other.revoke()),
)
fault('answer', 'The user connects anew during a refresh', every, SOON, A_TOKEN, (kind) =>
  faults.meanwhile(kind, ({ scene }) => scene.connect()),
)
for (const minutes of [2, 8]) {
  fault('answer', `The clock of an instance is ${minutes} min ahead`, one, SOON, A_TOKEN, (kind) =>
    faults.clocksDiffer(kind, minutes),
  )
  fault('answer', `The clock of an instance is ${minutes} min behind`, one, SOON, A_TOKEN, (kind) =>
    faults.clocksDiffer(kind, -minutes),
  )
}

let outcomes: Promise<readonly FaultResult[]>[]
// All at once, since most of the time they wait; each is looked at below. Those that do not wait take turns.
beforeAll(async () => {
  await processes.prepare(all.reduce((sum, { of, kinds }) => sum + (of === 'process' ? kinds.length : 0), 1))
  const inTurn = createQueue(3)
  outcomes = all.map(({ of, kinds, run }) =>
    Promise.all(kinds.map((kind) => (of === 'answer' ? inTurn(() => run(kind)) : run(kind)))),
  )
  for (const outcome of outcomes) outcome.catch(() => undefined)
})
afterAll(async () => {
  await processes.end()
  stores.remove()
})

describe('what callers get, what is stored and whether the connection lives', () => {
  it.each(all.map(({ name }, index) => [index, name] as const))('%i. %s', async (index) => {
    const { kinds, expected, within } = all[index]!
    const results = await outcomes[index]!
    expect(results).toMatchObject(kinds.map(() => expected))
    for (const { ms } of results) expect(ms).toBeLessThanOrEqual(within * 1_000 + BUSY_MACHINE)
  })
})

it('no fault but an answer that is lost without grace asks the user to connect again', () => {
  const asking = all.filter(({ expected }) => expected.reconnect).map(({ name }) => name)
  expect(new Set(asking)).toEqual(new Set(['The same without grace: the answer is lost', BY_CHOICE]))
})

if (present.length === 3) {
  it('docs/reliability.md says so', async () => {
    const rows = await Promise.all(
      all.map(async ({ name, within }, index): Promise<FaultRow> => {
        const [result] = await outcomes[index]!
        return { fault: name, within, ...result! }
      }),
    )
    await expect(await pageWith(PAGE, rows)).toMatchFileSnapshot(PAGE)
  })
}
