import { exec, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { promisify, stripVTControlCharacters } from 'node:util'
import { afterEach, expect, it } from 'vitest'

const run = promisify(exec)
const root = new URL('../..', import.meta.url)

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
  expect(output.stdout).toBe(stripVTControlCharacters(output.stdout))
})

it('the demo ends with three things to try, each of which is a command that works', async () => {
  const { output, ended } = startDemo()
  await ended
  const [, next = ''] = output.stdout.split('Three things to try next:\n')
  const commands = next.split('\n').flatMap((line) => /^ {2}(\S.*?) {2}/.exec(line)?.[1] ?? [])

  expect(commands).toHaveLength(3)
  // The first goes on until it is stopped, and is tried below.
  expect(commands[0]).toBe('npm start -- --serve')
  for (const command of commands.slice(1)) {
    // Rejects where it ends with anything but 0.
    const { stderr } = await run(command, { cwd: root, env: { ...process.env, FORCE_COLOR: undefined } })
    expect(stderr).toBe('')
  }
})

it('the demo has colours where FORCE_COLOR says so', async () => {
  const { output, ended } = startDemo([], { FORCE_COLOR: '1', NO_COLOR: undefined })
  await ended

  expect(output.stdout).toContain('\u001b[32mok    \u001b[39m')
})

it('the demo with --serve stays up, says how to connect the MCP Inspector, and stops on SIGTERM', async () => {
  const { output, ended, printed } = startDemo(['--serve'])
  await printed('Ctrl-C')
  const [, mcpUrl = ''] = /inspector --transport http --server-url (\S+)/.exec(output.stdout) ?? []

  const { status } = await fetch(mcpUrl, { method: 'POST' })
  const [, front = ''] = /as a page: (\S+)/.exec(output.stdout) ?? []
  const answer = await fetch(front)
  const html = await answer.text()
  demo?.kill('SIGTERM')

  expect(status).toBe(401)
  expect(front).toBe(new URL('/', mcpUrl).href)
  expect(html).toContain(`inspector --transport http --server-url ${mcpUrl}</code>`)
  const [, places = ''] = output.stdout.split('Still running')
  const urls = [...places.matchAll(/(?<=^ {2}\S.* )http:\S+$/gm)].map(([url]) => url)
  expect(urls.length).toBeGreaterThanOrEqual(5)
  for (const url of urls) expect(html).toContain(url)
  expect(html).not.toMatch(/<script|<link|<img|style=|onclick/)
  const [, style = ''] = /<style>(.*?)<\/style>/s.exec(html) ?? []
  const hash = createHash('sha256').update(style).digest('base64')
  expect(answer.headers.get('Content-Security-Policy')).toBe(
    `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; frame-ancestors 'none'`,
  )
  expect(await ended).toEqual([0, null])
  expect(output.stderr).toBe('')
})

function startDemo(flags: readonly string[] = [], environment: NodeJS.ProcessEnv = {}) {
  const env = { ...process.env, FORCE_COLOR: undefined, ...environment }
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/demo/main.ts', ...flags], { cwd: root, env })
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
