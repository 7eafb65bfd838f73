import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { KEY_FILE, openDataFolder } from '../../src/serve/data-folder.js'

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
