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

/** Seconds: longer than `http.timeout`, 2 s there, and than the lease, 5 s more, with the grace that others give, 3 s. */
const BEYOND_LEASE_AND_GRACE = 14
const BEYOND_THE_TIMEOUT = 2.7

/** Seconds from the fault, or from when the store is back. */
const SOON = 5
const AFTER_A_LEASE = 15

/** The bound itself is held to on a clock that stands still: test/broker/refresh-token.test.ts. */
const BUSY_MACHINE = 30_000

const A_TOKEN: Expected = {
  callers: 'a token',
  stored: 'active, the latest refresh token',
  presented: 1,
  reconnect: false,
}
/** The refresh token was sent again, by another instance or in another call. */
const A_TOKEN_BY_TWO: Expected = { ...A_TOKEN, presented: 2 }
const A_TOKEN_LATER: Expected = { ...A_TOKEN, callers: '503 ERR_STORAGE, then a token' }
const LOST: Expected = {
  callers: '403 ERR_NOT_PROVISIONED revoked',
  stored: 'needs-reconnect',
  presented: 2,
  reconnect: true,
}

const all: Fault[] = []
function fault(name: string, kinds: readonly StoreKind[], within: number, expected: Expected, run: Fault['run']): void {
  if (kinds.length > 0) all.push({ name, kinds, run, within, expected })
}

fault('The instance that refreshes is killed after it took the lease', every, AFTER_A_LEASE, A_TOKEN, (kind) =>
  faults.killed(kind, 'leased'),
)
fault('Killed after it marked the grant', every, AFTER_A_LEASE, A_TOKEN, (kind) => faults.killed(kind, 'marked'))
fault('Killed while it asks, and the request is not processed', every, AFTER_A_LEASE, A_TOKEN_BY_TWO, (kind) =>
  faults.killedWhileAsking(kind, 'not processed'),
)
fault(
  'Killed while it asks, after the server rotated; the server has a grace for the last used token',
  one,
  AFTER_A_LEASE,
  A_TOKEN_BY_TWO,
  (kind) => faults.killedWhileAsking(kind, 'processed', { grace: true }),
)
fault('The same without grace: the answer is lost', every, AFTER_A_LEASE, LOST, (kind) =>
  faults.killedWhileAsking(kind, 'processed'),
)
fault(
  'Killed after the answer came and before it is stored; the server has a grace',
  one,
  AFTER_A_LEASE,
  A_TOKEN_BY_TWO,
  (kind) => faults.killed(kind, 'storing', { grace: true }),
)
fault('The same without grace: the answer is lost', every, AFTER_A_LEASE, LOST, (kind) =>
  faults.killed(kind, 'storing'),
)
fault(
  'Killed after it stored the new token',
  every,
  SOON,
  { ...A_TOKEN, stored: `${A_TOKEN.stored}, and a lease` },
  (kind) => faults.killed(kind, 'stored'),
)

const UNAVAILABLE = '503 ERR_UPSTREAM_UNAVAILABLE'
const A_TOKEN_NEXT: Expected = { ...A_TOKEN_BY_TWO, callers: `${UNAVAILABLE}, then a token` }
const LOST_NEXT: Expected = { ...LOST, callers: `${UNAVAILABLE}, then ${LOST.callers}` }
fault('The connection breaks before the server processes the request', every, SOON, A_TOKEN_NEXT, (kind) =>
  faults.answerLost(kind, 'not processed'),
)
fault('The connection breaks after the server rotated; the server has a grace', every, SOON, A_TOKEN_NEXT, (kind) =>
  faults.answerLost(kind, 'processed', { grace: true }),
)
fault('The same without grace: the answer is lost', every, SOON, LOST_NEXT, (kind) =>
  faults.answerLost(kind, 'processed'),
)
// What a server turns away unread is sent again within the call, what it may have read only by the next one.
for (const status of [429, 503, 500]) {
  const presented = status === 500 ? 2 : 4
  fault(`The server answers ${status} for a while`, one, SOON, { ...A_TOKEN_NEXT, presented }, (kind) =>
    faults.answered(kind, { status }),
  )
}
fault(
  'The server answers `invalid_client` for a while',
  one,
  SOON,
  { ...A_TOKEN, callers: '502 ERR_TOKEN_REQUEST, then a token', presented: 2 },
  (kind) => faults.answered(kind, { status: 401, json: { error: 'invalid_client' } }),
)

fault('The process stands still before it sends, for longer than its lease', one, AFTER_A_LEASE, A_TOKEN, (kind) =>
  faults.stalled(kind, 'marked', BEYOND_LEASE_AND_GRACE),
)
fault('It stands still in the moment of sending, for longer than its lease', one, AFTER_A_LEASE, A_TOKEN, (kind) =>
  faults.stalled(kind, 'sending', BEYOND_LEASE_AND_GRACE),
)
fault('It stands still for less than its lease, while the answer comes', one, SOON, A_TOKEN, (kind) =>
  faults.stalledWhileAsking(kind, BEYOND_THE_TIMEOUT),
)
fault(
  'It stands still for longer than its lease, while the answer comes; the server has a grace',
  one,
  AFTER_A_LEASE,
  A_TOKEN_BY_TWO,
  (kind) => faults.stalledWhileAsking(kind, BEYOND_LEASE_AND_GRACE, { grace: true }),
)
fault('The same without grace: the answer is lost', one, AFTER_A_LEASE, LOST, (kind) =>
  faults.stalledWhileAsking(kind, BEYOND_LEASE_AND_GRACE),
)
fault(
  'It stands still for longer than its lease, with the answer, before it is stored; the server has a grace',
  one,
  AFTER_A_LEASE,
  A_TOKEN_BY_TWO,
  (kind) => faults.stalled(kind, 'storing', BEYOND_LEASE_AND_GRACE, { grace: true }),
)
fault('The same without grace: the answer is lost', one, AFTER_A_LEASE, LOST, (kind) =>
  faults.stalled(kind, 'storing', BEYOND_LEASE_AND_GRACE),
)

const databases = only('PostgreSQL', 'MariaDB')
const STEPS = [
  ['before the grant is read', 'reading'],
  ['before the lease is taken', 'leasing'],
  ['before the grant is marked', 'marking'],
] as const
for (const [when, step] of STEPS) {
  // Its client keeps what it is asked for until it is connected again.
  fault(`Redis is away for 2 s, ${when}`, only('Redis'), SOON, A_TOKEN, (kind) => faults.storeAway(kind, step, 2))
  fault(`PostgreSQL or MariaDB is away for 2 s, ${when}`, databases, SOON, A_TOKEN_LATER, (kind) =>
    faults.storeAway(kind, step, 2),
  )
}
const servers = only('Redis', 'PostgreSQL', 'MariaDB')
fault('Redis, PostgreSQL or MariaDB is away for 1 s when the answer comes', servers, SOON, A_TOKEN, (kind) =>
  faults.storeAway(kind, 'storing', 1),
)
fault('Away for 7 s when the answer comes', servers, SOON, A_TOKEN_LATER, (kind) =>
  faults.storeAway(kind, 'storing', 7),
)
fault('Away for longer than the lease when the answer comes', servers, SOON, A_TOKEN_LATER, (kind) =>
  faults.storeAway(kind, 'storing', 14),
)
fault(
  'The same, and the instance with the answer is back 2 s later than the others',
  servers,
  SOON,
  A_TOKEN_LATER,
  (kind) => faults.storeAway(kind, 'storing', 11, { longerForHolder: 2 }),
)
fault('Away for 2 s after the new token was stored', servers, SOON, A_TOKEN, (kind) =>
  faults.storeAway(kind, 'releasing', 2),
)
fault('Redis is restarted when the answer comes', only('Redis'), SOON, A_TOKEN, () =>
  faults.restarted('Redis', 'storing'),
)
for (const kind of ['PostgreSQL', 'MariaDB'] as const) {
  fault(`${kind} is restarted when the answer comes`, only(kind), SOON, A_TOKEN, () =>
    faults.restarted(kind, 'storing'),
  )
}
const FORGOTTEN = 'Redis is killed, and the replica that takes over had not got the new token'
fault(FORGOTTEN, only('Redis'), SOON, { ...LOST, callers: `a token, then ${LOST.callers}` }, () => faults.failedOver())
fault(
  'The same with `min-replicas-to-write 1`: a token that no replica would get is not taken',
  only('Redis'),
  SOON,
  A_TOKEN,
  () => faults.failedOver(['--min-replicas-to-write', '1']),
)
const file = only('SQLite')
fault('The SQLite file is locked for 7 s, before the lease is taken', file, SOON, A_TOKEN_LATER, () =>
  faults.fileLocked('leasing', 7),
)
fault('The SQLite file is locked for 2 s when the answer comes', file, SOON, A_TOKEN, () =>
  faults.fileLocked('storing', 2),
)
fault('Locked for longer than the lease when the answer comes', file, SOON, A_TOKEN_LATER, () =>
  faults.fileLocked('storing', 12),
)
fault('Locked for 7 s after the new token was stored', file, SOON, A_TOKEN, () => faults.fileLocked('releasing', 7))

const BY_CHOICE = 'The user disconnects during a refresh'
fault(
  BY_CHOICE,
  every,
  SOON,
  { callers: '403 ERR_NOT_PROVISIONED revoked', stored: 'disconnected', presented: 1, reconnect: true },
  (kind) => faults.meanwhile(kind, ({ other }) => other.revoke()),
)
fault('The user connects anew during a refresh', every, SOON, A_TOKEN, (kind) =>
  faults.meanwhile(kind, ({ scene }) => scene.connect()),
)
for (const minutes of [2, 8]) {
  fault(`The clock of an instance is ${minutes} min ahead`, one, SOON, A_TOKEN, (kind) =>
    faults.clocksDiffer(kind, minutes),
  )
  fault(`The clock of an instance is ${minutes} min behind`, one, SOON, A_TOKEN, (kind) =>
    faults.clocksDiffer(kind, -minutes),
  )
}

/** Faults at one time: most of the time they wait, but a hundred processes at once only wait for each other. */
const AT_ONCE = 10
let outcomes: Promise<readonly FaultResult[]>[]
// Begun in their order, and looked at below in the same.
beforeAll(() => {
  const inTurn = createQueue(AT_ONCE)
  outcomes = all.map(({ kinds, run }) => Promise.all(kinds.map((kind) => inTurn(() => run(kind)))))
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

it('no fault but an answer that is lost without grace, or forgotten by the store, asks the user to connect again', () => {
  const asking = all.filter(({ expected }) => expected.reconnect).map(({ name }) => name)
  expect(new Set(asking)).toEqual(new Set(['The same without grace: the answer is lost', FORGOTTEN, BY_CHOICE]))
})

if (present.length === 4) {
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
