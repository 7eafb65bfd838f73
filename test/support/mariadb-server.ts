import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { createConnection } from 'mysql2/promise'
import { findProgram, otherThanRoot, type RunningServer, startServer } from './server-process.js'

/** A MariaDB of its own, started by a test. */
export interface MariaDbServer extends RunningServer {
  /** Of the database `test`, as a user who may do anything. */
  readonly url: string
}

/** Where mariadbd is on this machine, or undefined. */
export const mariaDbProgram = (): string | undefined => findProgram('mariadbd')

/** Starts one, with more settings where they are given (`['--read-only']`). It takes about three seconds. */
export async function startMariaDbServer(settings: readonly string[] = []): Promise<MariaDbServer> {
  const [program, install] = [mariaDbProgram(), findProgram('mariadb-install-db')]
  if (program === undefined || install === undefined) throw new Error('mariadbd is not on this machine')
  const runAs = otherThanRoot('mysql')
  // No file of this machine's own MariaDB is read.
  const inDirectory = (directory: string) => ['--no-defaults', `--datadir=${path.join(directory, 'data')}`]
  const server = await startServer({
    name: 'mariadb',
    prepare: (directory) =>
      promisify(execFile)(
        install,
        [...inDirectory(directory), '--auth-root-authentication-method=normal', '--skip-name-resolve'],
        { cwd: directory, ...(runAs ?? {}) },
      ),
    command: (port, directory) => [
      ...[program, ...inDirectory(directory), '--bind-address=127.0.0.1', `--port=${port}`, '--skip-name-resolve'],
      ...[`--socket=${path.join(directory, 'socket')}`, `--pid-file=${path.join(directory, 'pid')}`],
      // No power fails in a test, and what a process wrote survives its crash without a flush of the disk.
      ...['--innodb-flush-log-at-trx-commit=2', '--innodb-flush-method=nosync', '--innodb-buffer-pool-size=32M'],
      ...['--max-connections=300', ...settings],
    ],
    runAs,
    killSignal: 'KILL',
    answers: async (port) => {
      const connection = await createConnection({ uri: urlOf(port), connectTimeout: 1_000 })
      await connection.query('SELECT 1').finally(() => connection.end())
    },
  })
  return { ...server, url: urlOf(server.port) }
}

const urlOf = (port: number) => `mysql://root@127.0.0.1:${port}/test`
