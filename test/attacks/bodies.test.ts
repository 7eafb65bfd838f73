import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readForm } from '../../src/connect/form.js'
import { ask } from '../support/answers.js'
import { bareHost, listen } from '../support/hosts.js'
import { startSignInServer } from '../support/sign-in-server.js'
import { world } from '../support/world.js'

// What a stranger sends costs linear time, with small bounds, whoever has parsed it, and credentials are looked at first (CWE-400, CWE-407).

const FORM = 'application/x-www-form-urlencoded'

/** A body that tells how often it was looked at. */
function counted(fields: number) {
  const looks = { count: 0 }
  const given = Object.fromEntries(Array.from({ length: fields }, (_, index) => [`a${index}`, 'b']))
  const look = (): number => (looks.count += 1)
  const body = new Proxy(given, {
    get: (target, name, ...more) => (look(), Reflect.get(target, name, ...more) as unknown),
    getOwnPropertyDescriptor: (target, name) => (look(), Reflect.getOwnPropertyDescriptor(target, name)),
    ownKeys: (target) => (look(), Reflect.ownKeys(target)),
  })
  return { looks, body }
}

const parsed = (body: unknown) => ({ headers: { 'content-type': FORM }, readableDidRead: true, body }) as never

describe('a form that a parser of the app has read', () => {
  it.each([10, 20, 40_000, 80_000])(
    'is looked at as often with %i fields that nobody knows as with none',
    async (fields) => {
      const [none, many] = [counted(0), counted(fields)]
      await readForm(parsed(none.body))
      await readForm(parsed(many.body))

      expect(many.looks.count).toBe(none.looks.count)
    },
  )

  it.each([
    ['express.text', (text: string) => text],
    ['express.raw', (text: string) => Buffer.from(text)],
  ])('by %s is not parsed beyond 16 KiB', async (_parser, made) => {
    const longest = `do=x&${'a&'.repeat(8_000)}`

    expect(await readForm(parsed(made(longest)))).toEqual(new Map([['do', 'x']]))
    expect(await readForm(parsed(made(`${longest}${'a&'.repeat(8_000)}`)))).toBeUndefined()
  })
})

describe('the body of a stranger', () => {
  /** Sends the head of a form, and never its body: whoever reads it waits. */
  const headOf = async (url: string, path: string, cookie?: string): Promise<number | undefined> => {
    const answer = await ask(url, {
      method: 'POST',
      path,
      headers: [
        ['Content-Type', FORM],
        ['Content-Length', '10'],
        ...(cookie === undefined ? [] : [['Cookie', cookie] as const]),
      ],
    })
    return answer.status
  }

  it.each(['/nextcloud/connect?ticket=x', '/nextcloud/disconnect', '/nextcloud'])(
    'is not read at %s, because no cookie of the page came with it',
    async (path) => {
      const { url } = await world({ mode: 'refresh-token', host: bareHost })

      // It is answered although the body never comes.
      expect([403, 410]).toContain(await headOf(url, path))
      expect([403, 410]).toContain(await headOf(url, path, 'another=cookie'))
    },
  )
})

it('the metadata of a client that an app’s text parser has read are read within 16 KiB', async () => {
  const { signIn } = await startSignInServer()
  const app = express()
    .use(express.text({ type: '*/*', limit: '1mb' }))
    .use(signIn.routes())
  const { url, close } = await listen(app)
  onTestFinished(close)
  const register = async (metadata: object): Promise<number> => {
    const headers = { 'content-type': 'application/json' }
    return (await fetch(`${url}/oauth/register`, { method: 'POST', headers, body: JSON.stringify(metadata) })).status
  }
  const metadata = { redirect_uris: ['https://client.example.com/callback'] }

  expect(await register(metadata)).toBe(201)
  expect(await register({ ...metadata, client_name: 'x'.repeat(20_000) })).toBe(400)
})
