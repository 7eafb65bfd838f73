/** A program: one of the processes of an app in refresh-token mode. Says how long each renewal took, and ends with its parent. */
import { setTimeout } from 'node:timers/promises'
import { mcpAuth } from '../dist/index.js'
import { openStore, type StoreAddress } from '../test/support/stores.js'
import { CLIENT, RESOURCE } from './tokens.js'

export interface RenewingApp {
  readonly issuer: string
  readonly store: StoreAddress
  readonly subjects: readonly string[]
  /** Renewals of each user. */
  readonly rounds: number
  readonly encryptionKey: string
}

/** In milliseconds. */
export interface RenewalTimes {
  readonly renewals: readonly number[]
  /** Token requests without anything around them, in turns with the renewals. */
  readonly bare: readonly number[]
}

/**
 * Milliseconds between two requests: an app whose processors are busy with nothing else tells only of the queue for them. Four processes
 * renew 40 tokens a second like this, as 9,600 users do whose tokens of 300 s are in use without a pause.
 */
const PAUSE = 50

const { issuer, store, subjects, rounds, encryptionKey } = JSON.parse(process.argv[2] ?? '') as RenewingApp
process.on('disconnect', () => process.exit())
const { adapter } = await openStore(store)
const auth = mcpAuth({
  issuer,
  resource: RESOURCE,
  ...CLIENT,
  storage: adapter,
  encryptionKey,
  nextcloud: { url: 'https://cloud.example.com' },
})

async function time(work: () => Promise<unknown>): Promise<number> {
  await setTimeout(PAUSE * (0.5 + Math.random()))
  const start = performance.now()
  await work()
  return performance.now() - start
}

async function bareRequest(): Promise<void> {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  })
  await response.json()
}

const renewals: number[] = []
const bare: number[] = []
for (let round = -1; round < rounds; round += 1) {
  for (const subject of subjects) {
    const [renewal, request] = [await time(() => auth.rotate({ issuer, subject })), await time(bareRequest)]
    // The first round warms up.
    if (round < 0) continue
    renewals.push(renewal)
    bare.push(request)
  }
}
process.send?.({ renewals, bare } satisfies RenewalTimes)
