import { readFileSync } from 'node:fs'
import path from 'node:path'
import { runInThisContext } from 'node:vm'
import express, { type RequestHandler } from 'express'
import { rateLimit } from 'express-rate-limit'
import { expect, it, onTestFinished } from 'vitest'
import { listen } from '../support/hosts.js'

const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/operate.md'), 'utf8')

/** Returns the limit of the page for `/mcp`, at two requests. */
function limitOfPage(): RequestHandler {
  const [, code = ''] = /^const perPerson = (rateLimit\(.*?^\}\))$/ms.exec(page) ?? []
  const make = runInThisContext(`(rateLimit, perMinute) => ${code.replace('limit: 300', 'limit: 2')}`) as (
    ...given: [typeof rateLimit, object]
  ) => RequestHandler
  return make(rateLimit, { windowMs: 60_000 })
}

it('the limit for /mcp stands behind auth, and no other stands before it', () => {
  expect([...page.matchAll(/^app\.all\('\/mcp', (.*)\)$/gm)].map(([, handlers]) => handlers)).toEqual([
    'auth, perPerson, mcp',
  ])
})

it('the limit for /mcp stops a person and nobody else at that address', async () => {
  const app = express()
  app.use((req, _res, next) => {
    const [, host, subject] = req.path.split('/')
    if (req.method !== 'OPTIONS') Object.assign(req, { mcpAuth: { issuer: `https://${host}`, subject } })
    next()
  })
  app.use(limitOfPage(), (_req, res) => void res.sendStatus(204))
  const site = await listen(app)
  onTestFinished(() => site.close())
  const ask = async (person: string, method = 'POST') => (await fetch(`${site.url}${person}`, { method })).status
  const statuses = (...persons: string[]) => Promise.all(persons.map((person) => ask(person)))

  expect((await statuses('/a/alice', '/a/alice', '/a/alice')).sort()).toEqual([204, 204, 429])
  expect(await statuses('/a/bob', '/b/alice')).toEqual([204, 204])
  expect([await ask('/', 'OPTIONS'), await ask('/', 'OPTIONS'), await ask('/', 'OPTIONS')]).toEqual([204, 204, 204])
})
