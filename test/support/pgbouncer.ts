import { writeFileSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { findProgram, otherThanRoot, type RunningServer, startServer } from './server-process.js'

/** Where pgbouncer is on this machine, or undefined. */
export const pgbouncerProgram = (): string | undefined => findProgram('pgbouncer')

/** Starts one in transaction mode, with two server connections for all of its clients, in front of a PostgreSQL of 127.0.0.1. */
export async function startPgbouncer(databaseUrl: string): Promise<RunningServer & { readonly url: string }> {
  const program = pgbouncerProgram()
  if (program === undefined) throw new Error('pgbouncer is not on this machine')
  const { port: target, pathname } = new URL(databaseUrl)
  const urlOf = (port: number) => `postgres://postgres@127.0.0.1:${port}${pathname}`
  const server = await startServer({
    name: 'pgbouncer',
    command: (port, directory) => {
      const config = path.join(directory, 'pgbouncer.ini')
      writeFileSync(
        config,
        `[databases]\n* = host=127.0.0.1 port=${target} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n` +
          `listen_port = ${port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n`,
      )
      return [program, config]
    },
    runAs: otherThanRoot('postgres'),
    killSignal: 'KILL',
    answers: async (port) => {
      const client = new pg.Client({ connectionString: urlOf(port), connectionTimeoutMillis: 1_000 })
      client.on('error', () => undefined)
      try {
        await client.connect()
        await client.query('SELECT 1')
      } finally {
        await client.end().catch(() => undefined)
      }
    },
  })
  return { ...server, url: urlOf(server.port) }
}
