import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { expect, it } from 'vitest'
import { compileProgram } from '../support/compiled-program.js'
import { startFront } from '../support/front.js'
import { startMariaDbServer } from '../support/mariadb-server.js'
import { startPostgresServer } from '../support/postgres-server.js'
import { startRedisServer } from '../support/redis-server.js'
import type { RunningServer } from '../support/server-process.js'
import type { StoreAddress } from '../support/stores.js'
import { LIFE, startSoakServer, type SoakServer } from './authorization-server.js'
import { createDisturbances, startGroup, type Disturbances, type Group, type Store } from './group.js'
import { createJudge, EVERYBODY, type Judge } from './judge.js'
import { createUser, type User } from './user.js'

/** Seconds in all; the last of them are a calm. */
const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 1_200)
const LONG = 1_200
const CALM = 35
const USERS = 10
const PROGRAM = fileURLToPath(new URL('./instance.ts', import.meta.url))
const TICK = 200
const STANDSTILL = 1_000

/** Seconds between two of a kind: of the long form, in proportion, and at least so many. */
const every = (seconds: number, least: number): number => Math.max(least, (seconds * SECONDS) / LONG)

/** A server that can be made to stand still, and to crash. */
function serverStore(address: StoreAddress, { pause, resume, kill, restart }: RunningServer): Store {
  return {
    address,
    pause: () => Promise.resolve(pause()).then(() => resume),
    crash: () => kill().then(() => restart),
  }
}

function sqliteStore(folder: string): Store {
  const file = path.join(folder, 'soak.db')
  const openDatabase = (timeout: number) => {
    if (Database === undefined) throw new Error('better-sqlite3 is not on this machine')
    return new Database(file, { timeout })
  }
  const pause: Store['pause'] = () => {
    const database = openDatabase(10_000)
    database.exec('BEGIN EXCLUSIVE')
    return Promise.resolve(() => {
      database.exec('ROLLBACK')
      database.close()
    })
  }
  async function isHeld(): Promise<boolean> {
    const database = openDatabase(0)
    try {
      // Longer than an outage lasts.
      for (let tries = 0; tries < 300; tries += 1) {
        try {
          database.exec('BEGIN IMMEDIATE')
          database.exec('ROLLBACK')
          return false
        } catch (error) {
          if (!String((error as { code?: unknown }).code).startsWith('SQLITE_BUSY')) throw error
          await sleep(20)
        }
      }
      return true
    } finally {
      database.close()
    }
  }
  // A file has no process that could crash.
  return { address: { kind: 'SQLite', file }, pause, crash: pause, isHeld }
}

/** Notes when this process, with the authorization server and the clients in it, stands still. */
function watchOwnStandstill(judge: Judge, disturbances: Disturbances): () => void {
  let last = performance.now()
  const timer = setInterval(() => {
    const late = performance.now() - last - TICK
    last = performance.now()
    if (late <= STANDSTILL) return
    judge.fault(EVERYBODY, 'the machine stands still', Date.now() - late)()
    disturbances.note(EVERYBODY, Date.now() - late)()
  }, TICK)
  return () => clearInterval(timer)
}

/** Does something again and again until it is over, the first time after a part of the pause. */
async function again(
  isOver: () => boolean,
  seconds: number,
  begin: number,
  happens: () => Promise<void>,
): Promise<void> {
  for (let at = performance.now() + seconds * begin * 1_000; ; at += seconds * 1_000) {
    while (performance.now() < at && !isOver()) await sleep(TICK)
    if (isOver()) return
    await happens()
  }
}

const newKey = (): string => randomBytes(32).toString('base64url')

/** `old,new` everywhere, then `new,old`, then `new`, when whatever is in use is sealed with it. */
async function rotateEncryptionKey(
  groups: readonly Group[],
  users: readonly User[],
  { server, from, old }: { readonly server: SoakServer; readonly from: number; readonly old: string },
): Promise<void> {
  const next = newKey()
  const begin = from + SECONDS * 100
  const roll = (keys: string) => Promise.all(groups.map((group) => group.rollOut(keys)))
  await sleep(Math.max(0, begin - Date.now()))
  await roll(`${old},${next}`)
  await roll(`${next},${old}`)
  const since = Date.now()
  const isResealed = ({ subject, changedAt }: User): boolean =>
    Math.max(changedAt(), server.lastRefresh(subject)) > since
  await sleep(LIFE * 1_000)
  for (let tries = 0; tries < 600 && !users.every(isResealed); tries += 1) await sleep(TICK)
  await roll(next)
}

it(
  `nothing is lost, wrong or out of order in ${SECONDS} seconds of faults`,
  async () => {
    const judge = createJudge()
    const disturbances = createDisturbances()
    const folder = mkdtempSync(path.join(tmpdir(), 'soak-'))
    const ends: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })]
    const groups: Group[] = []
    const killAll = (): void => groups.forEach((group) => group.killAll())
    process.once('exit', killAll)
    ends.push(killAll, watchOwnStandstill(judge, disturbances))
    try {
      const program = await compileProgram(PROGRAM, folder)
      const server = await startSoakServer({ judge, disturbances })
      ends.push(server.close)
      const old = newKey()
      const rooms = { judge, program, disturbances, server: () => server, longestLife: (SECONDS + 600) * 1_000 }
      const redis = await startRedisServer()
      ends.push(redis.stop)
      const postgres = await startPostgresServer()
      ends.push(postgres.stop)
      const mariaDb = await startMariaDbServer()
      ends.push(mariaDb.stop)
      const stores = [
        serverStore({ kind: 'Redis', url: redis.url }, redis),
        serverStore({ kind: 'PostgreSQL', url: postgres.url }, postgres),
        serverStore({ kind: 'MariaDB', url: mariaDb.url }, mariaDb),
        sqliteStore(folder),
      ]
      for (const store of stores) {
        const front = await startFront()
        ends.push(front.close)
        groups.push(await startGroup(rooms, { store, front, encryptionKey: old }))
      }
      const users = groups.flatMap((group) =>
        Array.from({ length: USERS }, (_, number) =>
          createUser({ judge, server, group, disturbances }, `${group.kind}-user-${number}`),
        ),
      )

      const from = Date.now()
      const isOver = (): boolean => Date.now() > from + (SECONDS - CALM) * 1_000
      let end = Infinity
      const lives = users.map((user) => user.live(() => Date.now() > end))
      const faults = groups.flatMap((group, number) => [
        again(isOver, every(30, 20), 0.5 + number / 10, group.kill),
        again(isOver, every(90, 45), 0.3 + number / 10, group.stop),
        again(isOver, every(60, 30), 0.8 - number / 10, group.harmStore),
      ])
      const keys = again(isOver, every(100, 40), 0.5, async () => {
        const over = judge.fault(EVERYBODY, 'the signing key is replaced')
        await server.rotateKeys()
        over()
      })
      await Promise.all([...faults, keys, rotateEncryptionKey(groups, users, { server, from, old })])
      judge.beCalm()
      end = Date.now() + CALM * 1_000
      await Promise.all(lives)
      const connected = users.filter((user) => user.isConnected())
      await Promise.all(
        groups.flatMap((group) =>
          group
            .ports()
            .map((port) =>
              Promise.all(
                connected.filter(({ subject }) => subject.startsWith(group.kind)).map((user) => user.check(port)),
              ),
            ),
        ),
      )
      await Promise.all(groups.map((group) => group.close()))
      server.judgeSentTwice()
    } finally {
      for (const end of ends.reverse()) await end()
      process.off('exit', killAll)
      console.log(judge.report())
    }

    expect(judge.violations()).toEqual([])
  },
  (SECONDS + 600) * 1_000,
)
