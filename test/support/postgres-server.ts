import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { findProgram, otherThanRoot, type RunningServer, startServer } from './server-process.js'

/** A PostgreSQL of its own, started by a test. */
export interface PostgresServer extends RunningServer {
  /** Of the database `postgres`, as the superuser. */
  readonly url: string
}

/** Where Debian and others keep what is not on the PATH. */
const VERSIONS = '/usr/lib/postgresql'

/** Where postgres is on this machine, or undefined. */
export const postgresProgram = (): string | undefined => findInstalled('postgres')

function findInstalled(name: string): string | undefined {
  let versions: string[] = []
  try {
    versions = readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a))
  } catch {
    // Not such a machine.
  }
  return findProgram(
    name,
    versions.map((version) => path.join(VERSIONS, version, 'bin')),
  )
}

/** Starts one, with more settings where they are given (`['max_connections=20']`). It takes about two seconds. */
export async function startPostgresServer(settings: readonly string[] = []): Promise<PostgresServer> {
  const [program, initdb] = [postgresProgram(), findInstalled('initdb')]
  if (program === undefined || initdb === undefined) throw new Error('postgres is not on this machine')
  const runAs = otherThanRoot('postgres')
  const server = await startServer({
    name: 'postgres',
    prepare: (directory) =>
      promisify(execFile)(
        initdb,
        ['-D', path.join(directory, 'data'), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
        { cwd: directory, ...(runAs ?? {}) },
      ),
    command: (port, directory) => [
      ...[program, '-D', path.join(directory, 'data'), '-h', '127.0.0.1', '-p', String(port), '-k', ''],
      // No power fails in a test, and what a process wrote survives its crash without fsync.
      ...['fsync=off', 'max_connections=200', ...settings].flatMap((setting) => ['-c', setting]),
    ],
    runAs,
    killSignal: 'QUIT',
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

const urlOf = (port: number) => `postgres://postgres@127.0.0.1:${port}/postgres`
