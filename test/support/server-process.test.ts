import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import path from 'node:path'
import { expect, it, vi } from 'vitest'
import { has } from './left-out.js'

const connects = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

const starting: [name: 'Redis' | 'PostgreSQL' | 'MariaDB', start: string][] = [
  ['Redis', `(await import('${path.join(import.meta.dirname, 'redis-server.ts')}')).startRedisServer()`],
  ['PostgreSQL', `(await import('${path.join(import.meta.dirname, 'postgres-server.ts')}')).startPostgresServer()`],
  ['MariaDB', `(await import('${path.join(import.meta.dirname, 'mariadb-server.ts')}')).startMariaDbServer()`],
]

it.each(starting.filter(([name]) => has(name)))(
  '%s ends when the process that started it is killed',
  async (_name, start) => {
    const script = `const { port } = await ${start}; console.log(port); setInterval(() => {}, 1_000)`
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: path.resolve(import.meta.dirname, '../..'),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [port] = (await once(child.stdout, 'data')).map(Number) as [number]
    expect(await connects(port)).toBe(true)
    child.kill('SIGKILL')
    await vi.waitFor(async () => expect(await connects(port)).toBe(false), { timeout: 20_000 })
  },
)
