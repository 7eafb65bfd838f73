import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { expect, it, TestRunner } from 'vitest'
import { chromiumProgram } from './chromium.js'
import { mariaDbProgram } from './mariadb-server.js'
import { pgbouncerProgram } from './pgbouncer.js'
import { postgresProgram } from './postgres-server.js'
import { pythonWithMcp } from './python.js'
import { redisServerProgram } from './redis-server.js'

/** What some suites need and not every machine has: where to find it, and what to say where it is missing. */
const NEEDS = {
  Redis: [redisServerProgram, 'redis-server is not on this machine'],
  PostgreSQL: [postgresProgram, 'postgres is not on this machine'],
  MariaDB: [mariaDbProgram, 'mariadbd is not on this machine'],
  pgbouncer: [pgbouncerProgram, 'pgbouncer is not on this machine'],
  'Python SDK': [pythonWithMcp, 'run .ci/install-servers, which makes a Python with the package mcp'],
  Chromium: [chromiumProgram, 'chromium is not on this machine'],
  'better-sqlite3': [() => Database, 'npm could not install it on this machine'],
} as const

/** Something that a suite needs. */
export type Need = keyof typeof NEEDS

declare module 'vitest' {
  interface TaskMeta {
    leftOut?: string[]
  }
}

/**
 * Whether this machine has what the suites that come next need. Where it has not, the closing lines of the run say so, and
 * where nothing may be left out (`CI` is set) there is a test that fails.
 */
export function has(...needs: readonly Need[]): boolean {
  const missing = needs.filter((need) => NEEDS[need][0]() === undefined)
  for (const need of missing) {
    const [, reason] = NEEDS[need]
    if (process.env['CI']) {
      it(`${need} is there, since CI leaves nothing out`, () => {
        expect.fail(reason)
      })
    } else leaveOut(need, reason)
  }
  return missing.length === 0
}

/** Says in the closing lines that the suites for this were left out, and why. */
export function leaveOut(name: string, reason: string): void {
  const { meta } = TestRunner.getCurrentSuite().file
  ;(meta.leftOut ??= []).push(`${name} (${reason})`)
}
