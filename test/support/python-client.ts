import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished } from 'vitest'
import { pythonWithMcp } from './python.js'

const CLIENT = path.join(import.meta.dirname, '../nextcloud-sign-in/python/client.py')

export const PYTHON_REDIRECT_URI = 'http://127.0.0.1:9/callback'

interface PythonRun {
  readonly url: string
  readonly tools: readonly string[]
  /** Opens an address in the person's browser, and resolves to the one that it ends at. */
  readonly open: (url: string, stopAt: string) => Promise<URL>
  /** The address of the client's metadata, which is its id then. */
  readonly clientId?: string | undefined
}

/** Runs a client of the Python SDK: the queries with which its person's browser was sent to the provider, and the answers of the tools. */
export async function runPythonClient({ url, tools, open, clientId }: PythonRun) {
  const args = [CLIENT, url, tools.join(), ...(clientId === undefined ? [] : [clientId])]
  const client = spawn(pythonWithMcp() ?? '', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  onTestFinished(() => void client.kill())
  const ended = once(client, 'exit')
  const asked: URL[] = []
  const results: unknown[] = []
  for await (const line of createInterface(client.stdout)) {
    const message = JSON.parse(line) as { readonly open?: string; readonly result?: unknown }
    if (message.open === undefined) results.push(message)
    else {
      asked.push(new URL(message.open))
      client.stdin.write(`${(await open(message.open, PYTHON_REDIRECT_URI)).href}\n`)
    }
  }
  expect(await ended).toEqual([0, null])
  return { asked: asked.map(({ searchParams }) => searchParams), results }
}
