import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { DATABASE_FILE, KEY_FILE, openDataFolder } from '../../src/serve/data-folder.js'

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'data-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

it('takes a key that others could read from them, and makes no other', async () => {
  const data = folder()
  const file = path.join(data, KEY_FILE)
  writeFileSync(file, `${'k'.repeat(43)}\n`)
  chmodSync(file, 0o644)
  const { encryptionKey, made, close } = await openDataFolder(data, undefined)
  close()

  expect([encryptionKey, made]).toEqual(['k'.repeat(43), ['connections.db']])
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

it('makes no key where the file of the key cannot be read', async () => {
  const data = folder()
  mkdirSync(path.join(data, KEY_FILE))

  await expect(openDataFolder(data, undefined)).rejects.toMatchObject({ code: 'EISDIR' })
})

it('makes a database that others can never open', async () => {
  const data = folder()
  const umask = process.umask(0o022)
  onTestFinished(() => void process.umask(umask))
  const { made, close } = await openDataFolder(data, 'k'.repeat(43))
  onTestFinished(close)

  expect(made).toEqual([DATABASE_FILE])
  expect(statSync(path.join(data, DATABASE_FILE)).mode & 0o777).toBe(0o600)
})

it('reads a key through a link, and leaves the mode of what the link leads to', async () => {
  const [data, elsewhere] = [folder(), folder()]
  const target = path.join(elsewhere, 'secret')
  writeFileSync(target, 'k'.repeat(43))
  chmodSync(target, 0o644)
  symlinkSync(target, path.join(data, KEY_FILE))
  const { encryptionKey, close } = await openDataFolder(data, undefined)
  close()

  expect(encryptionKey).toBe('k'.repeat(43))
  expect(statSync(target).mode & 0o777).toBe(0o644)
})
