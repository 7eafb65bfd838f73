import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { createClient } from 'redis'
import { redisServerProgram, startRedisReplica, startRedisServer, type RedisServer } from './redis-server.js'
import { startServer } from './server-process.js'

/** A primary of Redis, a replica, and one Sentinel that watches them. */
export interface RedisSentinel {
  /** What clients call the primary. */
  readonly name: string
  /** The port of the Sentinel. */
  readonly port: number
  readonly primary: RedisServer
  readonly replica: RedisServer
  readonly stop: () => Promise<void>
}

const NAME = 'grants'

export async function startRedisSentinel(): Promise<RedisSentinel> {
  const program = redisServerProgram()
  if (program === undefined) throw new Error('redis-server is not on this machine')
  const primary = await startRedisServer()
  const replica = await startRedisReplica(primary.port)
  const sentinel = await startServer({
    name: 'sentinel',
    prepare: (directory) => {
      const lines = [`monitor ${NAME} 127.0.0.1 ${primary.port} 1`, `down-after-milliseconds ${NAME} 500`]
      writeFileSync(path.join(directory, 'sentinel.conf'), lines.map((line) => `sentinel ${line}\n`).join(''))
      return Promise.resolve()
    },
    command: (port, directory) => [
      ...[program, path.join(directory, 'sentinel.conf'), '--sentinel'],
      ...['--port', String(port), '--bind', '127.0.0.1'],
    ],
    killSignal: 'KILL',
    // It learns from the primary which replicas there are.
    answers: async (port) => {
      const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect()
      const replicas = await client.sendCommand(['SENTINEL', 'REPLICAS', NAME]).finally(() => client.destroy())
      if (!Array.isArray(replicas) || replicas.length === 0) throw new Error('It knows no replica yet')
    },
  })
  return {
    ...{ name: NAME, port: sentinel.port, primary, replica },
    stop: async () => {
      await Promise.all([sentinel, primary, replica].map((server) => server.stop()))
    },
  }
}
