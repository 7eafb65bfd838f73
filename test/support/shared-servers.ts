import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { createConnection } from 'mysql2/promise'
import pg from 'pg'
import { inject } from 'vitest'
import type { TestProject } from 'vitest/node'
import { startMariaDbServer } from './mariadb-server.js'
import { startPostgresServer } from './postgres-server.js'
import { startRedisServer } from './redis-server.js'

declare module 'vitest' {
  interface ProvidedContext {
    sharedServers: string
  }
}

const START = { '/mariadb': startMariaDbServer, '/postgres': startPostgresServer, '/redis': startRedisServer }

/**
 * Vitest calls it before a run. The servers that all test files share are started by the first that asks for one, and none by
 * a run that needs none; they are stopped at the end.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  spawnSync(process.execPath, [path.join(import.meta.dirname, '../sqlite-driver/build.mjs')], { stdio: 'inherit' })
  const started = new Map<string, Promise<{ url: string; stop: () => Promise<void> }>>()
  const desk = createServer((req, res) => {
    const start = START[req.url as keyof typeof START]
    const server = started.get(req.url ?? '') ?? start()
    started.set(req.url ?? '', server)
    server.then(
      ({ url }) => res.end(url),
      (error: unknown) => res.writeHead(500).end(String(error)),
    )
  }).listen(0, '127.0.0.1')
  await once(desk, 'listening')
  project.provide('sharedServers', `http://127.0.0.1:${(desk.address() as AddressInfo).port}`)
  return async () => {
    desk.close()
    await Promise.all([...started.values()].map((server) => server.then(({ stop }) => stop()).catch(() => undefined)))
  }
}

async function shared(server: keyof typeof START): Promise<string> {
  const answer = await fetch(inject('sharedServers') + server)
  const text = await answer.text()
  if (!answer.ok) throw new Error(text)
  return text
}

/** The URL of an empty database of the PostgreSQL that all test files share. Do not stop or pause that one. */
export async function freshDatabase(): Promise<string> {
  const url = new URL(await shared('/postgres'))
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  const name = `test_${randomBytes(8).toString('hex')}`
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  url.pathname = name
  return url.href
}

/** The URL of an empty database of the MariaDB that all test files share. Do not stop or pause that one. */
export async function freshMariaDb(): Promise<string> {
  const url = new URL(await shared('/mariadb'))
  const connection = await createConnection(url.href)
  const name = `test_${randomBytes(8).toString('hex')}`
  await connection.query(`CREATE DATABASE ${name}`)
  await connection.end()
  url.pathname = name
  return url.href
}

/** The URL of the Redis that all test files share: use fresh keys or a prefix of your own. Do not stop or pause it. */
export const sharedRedis = (): Promise<string> => shared('/redis')
