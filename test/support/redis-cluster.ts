import { createClient } from 'redis'
import { expect, vi } from 'vitest'
import { startRedisServer, type RedisServer } from './redis-server.js'
import { freePort } from './server-process.js'

/** A cluster of Redis, in which one primary has a replica. */
export interface RedisCluster {
  /** Share all slots. */
  readonly primaries: readonly RedisServer[]
  /** Follows the first of them, and takes its place when that is gone. */
  readonly replica: RedisServer
  readonly stop: () => Promise<unknown>
}

/** A member, and its port for the others: Redis's own choice, 10,000 above the first, may be none. */
interface Member {
  readonly server: RedisServer
  readonly busPort: number
}

const SLOTS = 16_384

/** Starts a server that has cluster mode, and no slots yet. */
export async function startRedisMember(): Promise<Member> {
  const busPort = await freePort()
  const settings = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-node-timeout', '1000']
  return { server: await startRedisServer([...settings, '--cluster-port', String(busPort)]), busPort }
}

/** Starts a cluster of three primaries, the fewest who can agree on who takes a place. */
export async function startRedisCluster(): Promise<RedisCluster> {
  const members = await Promise.all(Array.from({ length: 4 }, startRedisMember))
  const [first, ...others] = members
  const servers = members.map(({ server }) => server)
  for (const { server, busPort } of others)
    await say(first!.server, 'CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(busPort))
  const primaries = servers.slice(0, 3)
  for (const [index, primary] of primaries.entries()) {
    const [from, to] = [index, index + 1].map((part) => Math.floor((part * SLOTS) / primaries.length))
    await say(primary, 'CLUSTER', 'ADDSLOTSRANGE', String(from), String(to! - 1))
  }
  const replica = servers[3]!
  const id = String(await say(primaries[0]!, 'CLUSTER', 'MYID'))
  const soon = { timeout: 30_000, interval: 100 }
  await vi.waitFor(() => say(replica, 'CLUSTER', 'REPLICATE', id), soon)
  await vi.waitFor(async () => {
    expect(await say(replica, 'INFO', 'replication')).toContain('master_link_status:up')
    for (const server of servers) {
      expect(await say(server, 'CLUSTER', 'INFO')).toContain('cluster_state:ok')
      expect(String(await say(server, 'CLUSTER', 'NODES')).match(/slave/g)).toHaveLength(1)
    }
  }, soon)
  return { primaries, replica, stop: () => Promise.all(servers.map((server) => server.stop())) }
}

/** Says something to one server, and resolves to its answer. */
async function say({ url }: RedisServer, ...command: string[]): Promise<unknown> {
  const client = await createClient({ url }).connect()
  return client.sendCommand(command).finally(() => client.destroy())
}
