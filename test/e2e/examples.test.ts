import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const run = promisify(execFile)
const root = new URL('../..', import.meta.url)

const examples: readonly (readonly [name: string, ...args: string[]])[] = [
  ['background-sync'],
  ['express-mcp', '--check'],
  ['existing-app', '--check'],
]

it.each(examples)('the example %s does what it says, prints no secret and ends by itself', async (name, ...args) => {
  // Rejects where it ends with anything but 0.
  const { stdout, stderr } = await run(process.execPath, ['--import', 'tsx', `examples/${name}/main.ts`, ...args], {
    cwd: root,
    timeout: 60_000,
  })

  expect(stderr).toBe('')
  expect(stdout).toContain('  ok  ')
  expect(stdout).not.toMatch(/FAILED|eyJ[\w-]{8}|ticket=|code=/)
})
