import { Agent, request } from 'node:http'
import { expect, it, onTestFinished } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import { MOST_UNUSED } from '../../src/nextcloud-sign-in/unused-clients.js'
import { until } from '../support/promises.js'
import { clientOf, REDIRECT_URI } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

/** A store that holds a write back, from the moment that one is armed. */
class Holding extends MemoryStorage {
  #skipped = 0
  held: (() => void) | undefined
  #armed = false

  /** @param skipped writes that still pass */
  arm(skipped: number): void {
    this.#skipped = skipped
    this.#armed = true
  }

  override async put(...given: Parameters<MemoryStorage['put']>): ReturnType<MemoryStorage['put']> {
    if (this.#armed && this.#skipped-- === 0) {
      this.#armed = false
      await new Promise<void>((resolve) => (this.held = resolve))
    }
    return super.put(...given)
  }
}

interface Registered {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly clientId: string
}

/** Registers a client from an address that the proxy names. */
function registrations(origin: string) {
  const agent = new Agent({ keepAlive: true })
  onTestFinished(() => agent.destroy())
  const body = JSON.stringify({ redirect_uris: [REDIRECT_URI] })
  return (address: string): { readonly sent: Promise<void>; readonly answer: Promise<Registered> } => {
    const headers = { 'content-type': 'application/json', 'x-forwarded-for': address }
    const sending = request(`${origin}/oauth/register`, { method: 'POST', agent, headers })
    const sent = new Promise<void>((resolve) => sending.once('finish', resolve))
    const answer = new Promise<Registered>((resolve, reject) => {
      sending.once('error', reject)
      sending.once('response', (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => (text += part))
        response.on('end', () => {
          const { client_id: clientId } = JSON.parse(text) as Record<string, unknown>
          const { statusCode: status = 0, headers } = response
          resolve({ status, retryAfter: headers['retry-after'], clientId: String(clientId) })
        })
      })
    })
    sending.end(body)
    return { sent, answer }
  }
}

it('a registration that has no place, because more come at one time than are kept, is a 429 and leaves no client', async () => {
  const storage = new Holding()
  const { origin } = await startSignInServer({ storage, trustProxy: true })
  const register = registrations(origin)
  storage.arm(0)
  const first = register('198.51.100.1')
  await until(() => storage.held !== undefined)
  const crowd = Array.from({ length: MOST_UNUSED + 5 }, (_, at) => register(`203.0.113.${at % 4}`))
  await Promise.all(crowd.map(({ sent }) => sent))
  // What is asked after them is answered after they have been read.
  for (let count = 0; count < 3; count += 1) await (await fetch(`${origin}/oauth/register`, { method: 'PUT' })).text()
  storage.held?.()
  const answers = await Promise.all(crowd.map(({ answer }) => answer))

  expect((await first.answer).status).toBe(201)
  const refused = answers.filter(({ status }) => status !== 201)
  expect(refused.length).toBeGreaterThanOrEqual(5)
  for (const { status, retryAfter, clientId } of refused) {
    expect([status, retryAfter, clientId]).toEqual([429, '60', 'undefined'])
  }
  // Their list and the keys are records, too.
  expect((await storage.list({ limit: 10_000 })).length).toBeLessThan(MOST_UNUSED + 5)
}, 60_000)

it('a client that others drive out while it is being stored is gone once it is stored', async () => {
  const storage = new Holding()
  const server = await startSignInServer({ storage, trustProxy: true })
  const register = registrations(server.origin)
  expect((await register('198.51.100.1').answer).status).toBe(201)
  // The list of them is written, and the client itself is held back.
  storage.arm(1)
  const slow = register('203.0.113.1')
  await until(() => storage.held !== undefined)
  for (let count = 0; count < MOST_UNUSED; count += 50) {
    const some = Array.from({ length: 50 }, (_, at) => register(`203.0.113.${at % 4}`).answer)
    expect(new Set((await Promise.all(some)).map(({ status }) => status))).toEqual(new Set([201]))
  }
  storage.held?.()
  const { status, clientId } = await slow.answer

  expect(status).toBe(201)
  const stored = (): Promise<boolean> =>
    fetch(clientOf(server, clientId).authorizationUrl(), { redirect: 'manual' }).then((answer) => answer.status < 400)
  await expect.poll(stored, { timeout: 20_000 }).toBe(false)
}, 60_000)
