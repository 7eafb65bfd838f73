import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../../src/clock.js'
import { createEvents } from '../../src/events.js'
import { createGrantStore } from '../../src/grants/grant-store.js'
import { createRecords } from '../../src/grants/records.js'
import { createSealer } from '../../src/grants/seal.js'
import { has } from '../support/left-out.js'
import { openStore } from '../support/stores.js'
import { OWNER } from '../grants/opened.js'

const GRANTS = 10_000
/** Bytes. All grants at once are more than 10 MB; the subjects that this test keeps are less than 1 MB. */
const MOST_GROWTH = 2_000_000

it.runIf(has('better-sqlite3'))(
  'ten thousand connections in SQLite are gone through in pages, with memory flat',
  async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'ten-thousand-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const { adapter, close } = await openStore({ kind: 'SQLite', file: path.join(folder, 'grants.db') })
    onTestFinished(close)
    const records = createRecords(
      adapter,
      createSealer([new Uint8Array(32)]),
      systemClock,
      createEvents(undefined, systemClock),
    )
    const store = createGrantStore({
      records,
      owner: OWNER,
      credential: 'app-password',
      endsAlone: false,
      note: () => Promise.resolve(true),
      clock: systemClock,
    })
    const issuer = 'https://idp.example.com'
    for (let index = 0; index < GRANTS; index += 1) {
      const appPassword = { loginName: `user-${index}`, password: 'x'.repeat(72), nextcloud: OWNER.nextcloud }
      const connection = { appPassword, fingerprint: 'f', clientId: 'client-1', scopes: [] }
      await store.connect({ issuer, subject: `user-${index}` }, connection)
    }

    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const seen = new Set<string>()
    const heap: number[] = []
    let after: string | undefined
    do {
      const { grants, next } = await store.all({ after, limit: 100 })
      for (const { grant } of grants) seen.add(grant.identity?.subject ?? '')
      after = next
      collectGarbage()
      heap.push(process.memoryUsage().heapUsed)
    } while (after !== undefined)

    expect(seen.size).toBe(GRANTS)
    expect(Math.max(...heap) - (heap[0] ?? 0)).toBeLessThan(MOST_GROWTH)
  },
)
