import type { IncomingMessage } from 'node:http'
import { expect, it, vi } from 'vitest'
import { createClientDocuments } from '../../src/nextcloud-sign-in/client-documents.js'
import { createPublicDocuments } from '../../src/transport/public-document.js'
import { manualClock, pass } from '../support/clock.js'
import { turn } from '../support/promises.js'

const GOOD = 'https://app.example/client.json'
const MALLORY = from('203.0.113.9')
const ALICE = from('198.51.100.1')
const DAY = 86_400_000

function from(ip: string): IncomingMessage {
  return { ip, socket: {} } as unknown as IncomingMessage
}

/** Documents that are there until their hosts turn slow, of which none but the good one answers then. */
function setUp() {
  const clock = manualClock()
  const goodHost = vi.fn(() => Promise.resolve([]))
  const find = (host: string) => (host === 'app.example' ? goodHost() : new Promise<never>(() => undefined))
  const slowly = createPublicDocuments({ fetch: undefined, agent: undefined }, clock, {
    ...{ isAllowed: () => true, tls: {}, find },
  })
  let isSlow = false
  const fetched = vi.fn((url: string, isUsed?: boolean) =>
    isSlow
      ? (slowly?.(url, isUsed) ?? Promise.resolve(undefined))
      : Promise.resolve({ client_id: url, redirect_uris: ['https://x.example/cb'] }),
  )
  const documents = createClientDocuments(fetched, clock)
  const use = async (url: string, person: string, req: IncomingMessage): Promise<void> => {
    await documents.find(url, req)
    documents.keep(url, person)
  }
  return { clock, documents, fetched, goodHost, use, turnSlow: () => void (isSlow = true) }
}

it('one person who uses a thousand documents has nobody else’s forgotten', async () => {
  const { clock, documents, use } = setUp()
  await use(GOOD, 'alice', ALICE)
  for (let count = 0; count < 1_000; count += 1) {
    clock.advance(1_100)
    await use(`https://evil.example/${count}.json`, 'mallory', MALLORY)
  }

  expect(documents.recall(GOOD)).toMatchObject({ client_id: GOOD })
})

it('a document that two people use is of neither, so that nobody has it forgotten', async () => {
  const { clock, documents, use } = setUp()
  for (const person of ['mallory', 'alice', 'mallory']) await use(GOOD, person, MALLORY)
  for (let count = 0; count < 1_000; count += 1) {
    clock.advance(1_100)
    await use(`https://evil.example/${count}.json`, 'mallory', MALLORY)
  }

  expect(documents.recall(GOOD)).toMatchObject({ client_id: GOOD })
})

it('documents in use whose hosts are slow leave others a place', async () => {
  const { clock, documents, goodHost, use, turnSlow } = setUp()
  const slow = Array.from({ length: 8 }, (_, count) => `https://slow${count % 2}.example/${count}.json`)
  for (const url of [GOOD, ...slow]) await use(url, 'mallory', MALLORY)
  turnSlow()
  clock.advance(DAY / 2)
  const askAll = () => Promise.allSettled(slow.map((url) => documents.find(url, MALLORY)))

  const first = askAll()
  await turn()
  await documents.find(GOOD, ALICE)
  expect(goodHost).not.toHaveBeenCalled()
  await pass(clock, 3_200)
  await first
  void askAll()
  await turn()
  await documents.find(GOOD, ALICE)

  expect(goodHost).toHaveBeenCalled()
})

it('no document is fetched of an address that is too long to be a client id', async () => {
  const { documents, fetched } = setUp()

  expect(await documents.find(`https://evil.example/${'a'.repeat(500)}`, MALLORY)).toBe(false)
  expect(fetched).not.toHaveBeenCalled()
})
