import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, it } from 'vitest'

let demo: ChildProcess | undefined

afterEach(() => {
  if (demo?.exitCode === null) demo.kill('SIGKILL')
})

it('the demo keeps its promises, prints no token, code or ticket and ends by itself without complaint', async () => {
  const { output, ended } = startDemo()

  expect(await ended).toEqual([0, null])
  expect(output.stderr).toBe('')
  expect(output.stdout).toContain('What this run showed')
  expect(output.stdout).not.toMatch(/FAILED|eyJ[\w-]{8}|ticket=|code=/)
})

it('the demo with --serve stays up, says how to connect the MCP Inspector, and stops on SIGTERM', async () => {
  const { output, ended, printed } = startDemo('--serve')
  await printed('Ctrl-C')
  const [, mcpUrl = ''] = /inspector --transport http --server-url (\S+)/.exec(output.stdout) ?? []

  const { status } = await fetch(mcpUrl, { method: 'POST' })
  demo?.kill('SIGTERM')

  expect(status).toBe(401)
  expect(await ended).toEqual([0, null])
  expect(output.stderr).toBe('')
})

function startDemo(...flags: string[]) {
  const root = new URL('../..', import.meta.url)
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/demo/main.ts', ...flags], { cwd: root })
  demo = child
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  return {
    output,
    ended: once(child, 'close'),
    printed: async (text: string) => {
      while (!output.stdout.includes(text)) await once(child.stdout, 'data')
    },
  }
}
