import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { openSqliteFile } from '../../src/cli/stores.js'
import { failureOf } from '../support/promises.js'

/** A project whose better-sqlite3 fails with a code, as one does that was compiled for another version of Node. */
function projectWith(code: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'driver-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const driver = path.join(folder, 'node_modules/better-sqlite3')
  mkdirSync(driver, { recursive: true })
  writeFileSync(
    path.join(driver, 'index.js'),
    `module.exports = function () { throw Object.assign(new Error('not here'), { code: ${JSON.stringify(code)} }) }`,
  )
  return folder
}

const BUILT_IN: string = 'node:sqlite'
const hasBuiltIn = await import(BUILT_IN).then(
  () => true,
  () => false,
)

it('a driver that was compiled for another version of Node is passed over where Node has its own', async () => {
  const folder = projectWith('ERR_DLOPEN_FAILED')
  const opened = openSqliteFile(path.join(folder, 'grants.db'), folder)
  if (hasBuiltIn) (await opened).close()
  else expect(await failureOf(opened)).toMatchObject({ code: 'ERR_DLOPEN_FAILED' })
})

it('a driver that cannot open the file says so', async () => {
  const folder = projectWith('SQLITE_CANTOPEN')
  expect(await failureOf(openSqliteFile(path.join(folder, 'grants.db'), folder))).toMatchObject({
    code: 'SQLITE_CANTOPEN',
  })
})
