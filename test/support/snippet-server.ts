import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { onTestFinished } from 'vitest'
import { runSnippet } from './providers/page.js'

type Surroundings = Parameters<typeof runSnippet>[2]

/** Runs a snippet that starts an Express app, on a free port in place of its own, and returns its origin. */
export async function serveSnippet(page: string, index: number, { modules, globals }: Surroundings): Promise<string> {
  const servers: Server[] = []
  const app = () => {
    const made = express()
    const listen = made.listen.bind(made)
    return Object.assign(made, { listen: () => servers.push(listen(0)) })
  }
  runSnippet(page, index, { modules: { ...modules, express: { default: app } }, ...(globals && { globals }) })
  const [server] = servers
  if (server === undefined) throw new Error(`Snippet ${index} of ${page} does not listen`)
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
