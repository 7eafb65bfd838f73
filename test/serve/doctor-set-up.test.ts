import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { doctorSetUp } from '../../src/serve/doctor-set-up.js'
import { readSettings } from '../../src/serve/settings.js'

const KEY = 'k'.repeat(43)

function setUpOf(data: string, more: Record<string, string> = {}) {
  const { settings } = readSettings(
    {
      NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com/mcp',
      NEXTCLOUD_HOST: 'https://cloud.example.com',
      NEXTCLOUD_OIDC_CLIENT_ID: 'i'.repeat(64),
      NEXTCLOUD_OIDC_CLIENT_SECRET: 's'.repeat(64),
      MCP_DATA: data,
      ...more,
    },
    '/',
  )
  if (settings === undefined) throw new Error('There are faults')
  return doctorSetUp(settings)
}

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'set-up-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

/** Files of the folder, by their names. */
const withFiles = (files: Record<string, string>): string => {
  const made = folder()
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(made, name), text)
  return made
}

it.each([
  ['nothing yet', {}, {}, ['%d can be written', true, undefined, false]],
  ['a key', { 'encryption.key': `${KEY}\n` }, {}, ['%d can be written, and there is a key', true, KEY, false]],
  [
    'a key and a database',
    { 'encryption.key': KEY, 'connections.db': '' },
    {},
    ['%d can be written, and there is a key', true, KEY, true],
  ],
  [
    'a database, and its key from the environment',
    { 'connections.db': '' },
    { TOKEN_ENCRYPTION_KEY: KEY },
    ['%d can be written, and there is a key', true, KEY, true],
  ],
  [
    'a database without its key',
    { 'connections.db': '' },
    {},
    ['%d has a database, and there is no key to it', false, undefined, true],
  ],
] as const)('tells a folder with %s', (_, files, environment, [found, usable, key, hasStorage]) => {
  const data = withFiles(files)
  expect(setUpOf(data, environment)).toMatchObject({
    folder: { found: found.replace('%d', data), usable },
    encryptionKey: key,
    storage: hasStorage ? `sqlite:${data}/connections.db` : undefined,
  })
})

it('tells a folder that the first start makes, also below others that it makes', () => {
  const above = folder()
  for (const data of [path.join(above, 'data'), path.join(above, 'a/b/c')]) {
    expect(setUpOf(data).folder).toEqual({ usable: true, found: `${data} is made by the first start` })
  }
})

it('tells a file that stands where the folder is, or above it', () => {
  const file = path.join(withFiles({ file: '' }), 'file')
  const unusable = { usable: false, found: `${file} is not a folder` }
  expect([setUpOf(file).folder, setUpOf(path.join(file, 'data')).folder]).toEqual([unusable, unusable])
})

it.skipIf(process.getuid?.() === 0)('tells a folder that this user cannot write', () => {
  const data = path.join(folder(), 'data')
  mkdirSync(data)
  chmodSync(data, 0o500)
  expect(setUpOf(data).folder).toEqual({ usable: false, found: `${data} cannot be written by this user` })
})
