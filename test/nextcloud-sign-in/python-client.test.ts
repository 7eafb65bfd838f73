import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it, onTestFinished } from 'vitest'
import { has } from '../support/left-out.js'
import { pythonWithMcp } from '../support/python.js'
import { startSignInServer } from '../support/sign-in-server.js'

const CLIENT = path.join(import.meta.dirname, 'python/client.py')

describe.runIf(has('Python SDK'))('an MCP client of the Python SDK', () => {
  it('that knows the URL alone signs its user in and calls a tool', async () => {
    const server = await startSignInServer()
    const alice = server.person('alice')
    const client = spawn(pythonWithMcp() ?? '', [CLIENT, server.url], { stdio: ['pipe', 'pipe', 'inherit'] })
    onTestFinished(() => void client.kill())
    const ended = once(client, 'exit')
    const told: Record<string, unknown>[] = []

    for await (const line of createInterface(client.stdout)) {
      const message = JSON.parse(line) as Record<string, unknown>
      told.push(message)
      if (typeof message['open'] !== 'string') continue
      client.stdin.write(`${(await alice.until(message['open'], 'http://127.0.0.1:9/callback')).href}\n`)
    }

    expect(await ended).toEqual([0, null])
    expect(told.filter(({ open }) => open !== undefined)).toHaveLength(1)
    expect(told.at(-1)).toEqual({ result: [expect.stringContaining('alice')], error: false })
  })
})
