import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const start = `
const { startKeycloak } = await import(${JSON.stringify(path.join(import.meta.dirname, 'support', 'keycloak-server.ts'))})
const { url, directory } = await startKeycloak()
console.log(JSON.stringify({ url, directory }))
setInterval(() => undefined, 1_000)`

it('Keycloak ends when the process that started it is killed, and its data are removed', async () => {
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', start], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const { url, directory } = JSON.parse(line.toString()) as { url: string; directory: string }
  const answers = () =>
    fetch(url).then(
      () => true,
      () => false,
    )
  expect(await answers()).toBe(true)
  expect(existsSync(directory)).toBe(true)
  child.kill('SIGKILL')
  await expect.poll(answers, { timeout: 30_000, interval: 100 }).toBe(false)
  await expect.poll(() => existsSync(directory), { timeout: 30_000, interval: 100 }).toBe(false)
})
