import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A port of 127.0.0.1 that refuses connections: it was in use a moment ago. */
export async function closedPort(): Promise<number> {
  const server = createServer()
  const port = await listen(server)
  server.close()
  return port
}

/** A port that takes connections and says nothing, until this process ends. */
export const silentPort = (): Promise<number> =>
  listen(createServer((socket) => socket.on('error', () => undefined).unref()))
