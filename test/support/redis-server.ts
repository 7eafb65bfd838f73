import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import { findProgram, type RunningServer, startServer } from './server-process.js'

/** A Redis of its own, started by a test. */
export interface RedisServer extends RunningServer {
  readonly url: string
}

/** Where redis-server is on this machine, or undefined. */
export const redisServerProgram = (): string | undefined => findProgram('redis-server')

/**
 * Starts one, with more arguments where they are given (`['--maxmemory-policy', 'allkeys-lru']`). It keeps what was written
 * through `kill()` and `restart()`.
 */
export async function startRedisServer(args: readonly string[] = []): Promise<RedisServer> {
  const program = redisServerProgram()
  if (program === undefined) throw new Error('redis-server is not on this machine')
  const server = await startServer({
    name: 'redis',
    command: (port, directory) => [
      ...[program, '--port', String(port), '--bind', '127.0.0.1', '--dir', directory],
      ...['--save', '', '--appendonly', 'yes', '--appendfsync', 'no'],
      // A replica gets everything at once.
      ...['--repl-diskless-sync-delay', '0', ...args],
    ],
    killSignal: 'KILL',
    answers: ping,
  })
  return { ...server, url: `redis://127.0.0.1:${server.port}` }
}

/** Starts one that follows the Redis of a port, and gets from now on what that writes. */
export async function startRedisReplica(primary: number): Promise<RedisServer> {
  const replica = await startRedisServer(['--replicaof', `127.0.0.1 ${primary}`])
  const client = await createClient({ url: `redis://127.0.0.1:${primary}` }).connect()
  // Only a client that has written can wait for it. A primary that wants replicas takes no write until it has counted this one.
  for (let tries = 0; tries < 300; tries += 1) {
    if (await client.set('replicated', '').catch(isNoReplicas)) break
    await sleep(100)
  }
  await client.sendCommand(['WAIT', '1', '30000'])
  client.destroy()
  return replica
}

function isNoReplicas(error: unknown): void {
  if (!(error instanceof Error && error.message.startsWith('NOREPLICAS'))) throw error
}

/** `+PONG`, and not yet the error that a server answers while it reads its data. */
const ping = (port: number) =>
  new Promise<void>((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.setTimeout(1_000, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.once('data', (reply) => {
      socket.destroy()
      if (String(reply) === '+PONG\r\n') resolve()
      else reject(new Error(String(reply)))
    })
  })
