import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { codeOf, isLikeUrl, StorageAdvice, storeAt, unquoted } from '../../src/cli/stores.js'
import { StorageError } from '../../src/errors/errors.js'

const coded = (code: unknown) => Object.assign(new Error('postgres://u:hush@h'), { code })

it.each([
  ['a code of the system', coded('ECONNREFUSED'), 'ECONNREFUSED'],
  [
    'several failures of one connection',
    new AggregateError([coded('ECONNREFUSED'), coded('EHOSTUNREACH')]),
    'ECONNREFUSED',
  ],
  ['several failures within several', new AggregateError([new AggregateError([coded('ETIMEDOUT')])]), 'ETIMEDOUT'],
  ['a failure of this package that names a code', new StorageError('The store fails (ECONNRESET)'), 'ECONNRESET'],
  ['a failure of this package without one', new StorageError('The store fails'), 'ERR_STORAGE'],
  ['an error without a code', new TypeError('postgres://u:hush@h'), 'TypeError'],
  ['no failures of one connection', new AggregateError([]), 'AggregateError'],
])('tells %s without its words', (_, error, code) => {
  expect(codeOf(error)).toBe(code)
})

function options() {
  const directory = mkdtempSync(path.join(tmpdir(), 'stores-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return { directory, timeout: 1_000, table: undefined, prefix: undefined, missingFile: 'refuse' } as const
}

it.each([
  ['redis://u:hush@cache:6379/0', 'Redis at cache:6379'],
  ['rediss://cache', 'Redis at cache'],
  ['postgres://u:hush@db/mcp', 'PostgreSQL at db'],
  ['postgresql://db:5433/mcp', 'PostgreSQL at db:5433'],
  ['mysql://u:hush@db/mcp', 'MySQL at db'],
  ['mariadb://u:hush@db/mcp', 'MariaDB at db'],
])('names %s without its password, and opens nothing by that', async (url, name) => {
  const store = storeAt(url, options())
  expect(store?.name).toBe(name)
  await store?.close()
})

it.each(['mongodb://u:hush@db/mcp', 'redis://[', 'https://db/'])('knows no store at %s', (url) => {
  expect(storeAt(url, options())).toBeUndefined()
})

it.each([
  'postgres//u:hush@db/mcp',
  'mysql ://u:hush@db/mcp',
  'redis ://cache?password=hush',
  'redis//cache?password=hush',
  '//u:hush@db/mcp',
  'u:hush@db/mcp',
  '"postgres://u:hush@db/mcp',
  '=postgres://db/mcp?password=hush',
])('takes a misspelt URL for no file, whose name would be quoted: %s', (url) => {
  expect(storeAt(url, options())).toBeUndefined()
})

it.each(['grants.db', './a@b/grants.db', '../grants.db', '/home/a@b.example/grants.db', '.hidden', 'C:\\grants.db'])(
  'takes the path of a file for one: %s',
  (file) => {
    expect(isLikeUrl(file)).toBe(false)
    expect(storeAt(file, options())?.name).toMatch(/^SQLite in /)
  },
)

it.each([
  ['"redis://cache"', 'redis://cache'],
  ["'redis://cache'", 'redis://cache'],
  ['"redis://cache', '"redis://cache'],
  ['redis://cache', 'redis://cache'],
])('reads %s without the quotes around it', (text, url) => {
  expect(unquoted(text)).toBe(url)
})

it.each([
  ['redis://127.0.0.1:1', 'there is no redis or ioredis in this project'],
  ['postgres://127.0.0.1:1/mcp', 'there is no pg in this project'],
  ['mysql://127.0.0.1:1/mcp', 'there is no mysql2 in this project'],
])('says which driver a project lacks for %s', async (url, words) => {
  const given = options()
  const opening = storeAt(url, given)?.opened()
  await expect(opening).rejects.toThrow(words)
  await expect(opening).rejects.toBeInstanceOf(StorageAdvice)
  await expect(opening).rejects.toMatchObject({
    fix: expect.stringContaining(`looked from ${given.directory}`) as string,
  })
})
