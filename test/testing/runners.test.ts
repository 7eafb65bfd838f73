import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'

const fixtures = path.join(import.meta.dirname, 'fixtures')
const bin = (name: string) => path.resolve(import.meta.dirname, '../../node_modules', name)

/** Every runner: its arguments, and what it prints of the tests that passed, failed and were skipped. Jest cannot skip one that runs. */
const runners: [name: string, args: string[], passed: RegExp, failed: RegExp, skipped: RegExp | undefined][] = [
  [
    'node:test',
    ['--test', '--test-reporter=tap', 'node-test.mjs'],
    /^# pass (\d+)$/m,
    /^# fail (\d+)$/m,
    /^# skipped (\d+)$/m,
  ],
  [
    'vitest',
    [bin('vitest/vitest.mjs'), 'run'],
    /^ +Tests .*?(\d+) passed/m,
    /^ +Tests .*?(\d+) failed/m,
    /^ +Tests .*?(\d+) skipped/m,
  ],
  [
    'jest',
    [
      ...['--experimental-vm-modules', bin('jest/bin/jest.js'), '--ci', '--no-cache', `--rootDir=${fixtures}`],
      ...['--config={"transform":{},"testMatch":["**/jest.test.mjs"],"watchman":false}'],
    ],
    /^Tests:.* (\d+) passed/m,
    /^Tests: +(\d+) failed/m,
    undefined,
  ],
  [
    'mocha',
    [bin('mocha/bin/mocha.js'), '--no-config', 'mocha.mjs'],
    /^ +(\d+) passing/m,
    /^ +(\d+) failing/m,
    /^ +(\d+) pending/m,
  ],
]

async function run(args: string[], environment: Record<string, string>) {
  // NODE_TEST_CONTEXT and the like of whoever runs this would change what is printed.
  const env = { PATH: process.env['PATH'], HOME: fixtures, NO_COLOR: '1', ...environment }
  const child = spawn(process.execPath, args, { cwd: fixtures, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'exit') as Promise<[number]>
  const printed = (await Promise.all([text(child.stdout), text(child.stderr)])).join('\n')
  return { code: (await exited)[0], printed }
}
const count = (pattern: RegExp, printed: string) => Number(pattern.exec(printed)?.[1] ?? 0)

describe.each(runners)('the storage contract under %s', (_name, args, passed, failed, skipped) => {
  it('passes with a sound adapter', async () => {
    const { code, printed } = await run(args, {})
    expect(count(failed, printed), printed).toBe(0)
    expect(count(passed, printed), printed).toBeGreaterThan(60)
    expect(code).toBe(0)
  })

  it('leaves out what an adapter has not, visibly', async () => {
    const { code, printed } = await run(args, { WITHOUT_LIST: '1' })
    expect(count(failed, printed), printed).toBe(0)
    expect(code).toBe(0)
    if (skipped !== undefined) expect(count(skipped, printed), printed).toBe(15)
    for (const what of ['list', 'two adapters', 'whether calls reject'])
      expect(printed.includes(`LEFT OUT of the storage contract: ${what}`)).toBe(skipped === undefined)
  })

  it('fails with a broken adapter, by the name of the test', async () => {
    const { code, printed } = await run(args, { BROKEN: '1' })
    expect(count(failed, printed), printed).toBeGreaterThan(0)
    expect(count(passed, printed), printed).toBeGreaterThan(50)
    expect(printed).toContain('with a version that was replaced resolves to false and removes nothing')
    expect(code).not.toBe(0)
  })
})
