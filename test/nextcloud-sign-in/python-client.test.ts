import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it, onTestFinished } from 'vitest'
import { has } from '../support/left-out.js'
import { pythonWithMcp } from '../support/python.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const CLIENT = path.join(import.meta.dirname, 'python/client.py')
const REDIRECT_URI = 'http://127.0.0.1:9/callback'

/** Runs the client for Alice: the addresses that her browser was sent to, and what the tools answered. */
async function run({ url, person }: SignInServer, tools: readonly string[], ...clientId: string[]) {
  const alice = person('alice')
  const client = spawn(pythonWithMcp() ?? '', [CLIENT, url, tools.join(), ...clientId], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void client.kill())
  const ended = once(client, 'exit')
  const asked: URL[] = []
  const results: unknown[] = []
  for await (const line of createInterface(client.stdout)) {
    const message = JSON.parse(line) as { readonly open?: string; readonly result?: unknown }
    if (message.open === undefined) results.push(message)
    else {
      asked.push(new URL(message.open))
      client.stdin.write(`${(await alice.until(message.open, REDIRECT_URI)).href}\n`)
    }
  }
  expect(await ended).toEqual([0, null])
  return { asked: asked.map(({ searchParams }) => searchParams), results }
}

const answered = (words: string) => ({ result: [expect.stringContaining(words)], error: false })

describe.runIf(has('Python SDK'))('an MCP client of the Python SDK', () => {
  it('that knows the URL alone signs its user in and calls a tool', async () => {
    const { asked, results } = await run(await startSignInServer(), ['whoami'])

    expect(asked).toHaveLength(1)
    expect(results).toEqual([answered('alice')])
  })

  it('whose id is the address of its metadata signs its user in without being registered', async () => {
    const clientId = 'https://client.example.com/oauth/client.json'
    const document = { client_id: clientId, redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none' }
    const server = await startSignInServer({ documents: (url) => Promise.resolve(url === clientId && document) })

    const { asked, results } = await run(server, ['whoami'], clientId)

    expect(asked.map((query) => query.get('client_id'))).toEqual([clientId])
    expect(results).toEqual([answered('alice')])
  })

  it('that needs one scope more for a tool asks its user for both, and goes on', async () => {
    const server = await startSignInServer({
      scopes: { 'files:read': 'Read your files', 'files:write': 'Change your files' },
      needs: { all: ['files:read'], write: ['files:read', 'files:write'] },
    })

    const { asked, results } = await run(server, ['whoami', 'write', 'whoami'])

    expect(asked.map((query) => query.get('scope')?.split(' ').sort())).toEqual([
      ['files:read', 'offline_access'],
      ['files:read', 'files:write', 'offline_access'],
    ])
    expect(results).toEqual([answered('alice'), answered('written'), answered('alice')])
  })
})
