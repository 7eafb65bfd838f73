import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { until } from '../support/promises.js'
import { serveSetUp } from './support/serve-set-up.js'

const folder = path.resolve(import.meta.dirname, '../../examples/nextcloud-alone')
const { scripts } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}

/** Runs the client of the example as its command does, at a `serve` and with somebody at the browser. */
async function tried(args: readonly string[] = []) {
  const { origin, started, visitor } = await serveSetUp()
  await started()
  const [node, file = ''] = (scripts['try'] ?? '').split(' ')
  expect(node).toBe('node')
  const child = spawn(process.execPath, [file, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'], NEXTCLOUD_MCP_SERVER_URL: `${origin}/mcp` },
  })
  onTestFinished(() => void child.kill())
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += String(data)))
  const ended = once(child, 'exit')
  await until(() => /^http.*\n/m.test(output) || child.exitCode !== null)
  const page = /^http.*$/m.exec(output)?.[0] ?? expect.unreachable(output)
  const back = await visitor().until(page, new URL(page).searchParams.get('redirect_uri') ?? '')
  return { back, page, ended, told: () => output }
}

describe('the client of the example nextcloud-alone', () => {
  it('signs in in a browser, lists the tools, calls one and ends', async () => {
    const { page, back, ended, told } = await tried()
    const { searchParams } = new URL(page)
    expect(back.href).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback\?/)
    // Another answer than its own is none.
    const strange = new URL(back)
    strange.searchParams.set('state', 'strange')
    expect((await fetch(strange)).status).toBe(404)

    expect(await (await fetch(back)).text()).toBe('Go back to the terminal.')

    expect(await ended).toEqual([0, null])
    expect(told()).toMatch(/^Tools: .*list_files, .*create_note/m)
    expect(searchParams.get('code_challenge_method')).toBe('S256')
    expect(told()).not.toMatch(/eyJ[\w-]{8}|[?&]code=/)
  })

  it('ends with 1 where the tool says that it failed', async () => {
    const { back, ended, told } = await tried(['read_file', '{"path":"/nothing.txt"}'])
    await fetch(back)
    expect((await ended)[0]).toBe(1)
    expect(told().trimEnd().split('\n').at(-1)).toMatch(/no|not/i)
  })
})
