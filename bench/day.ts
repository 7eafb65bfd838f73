import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../src/clock.js'
import { createMcpAuth } from '../src/mcp-auth.js'
import type { Form, Measurement } from './figures.js'
import { createSigner, inProcess, ISSUER } from './tokens.js'

const USERS = 2_000
/** Seconds of a Nextcloud token. */
const LIFE = 300
const HOUR = 3_600
/** Seconds: a tenth of that life. */
const DEFAULT_LEAD = 30
/** Milliseconds that the authorization server takes for a token. */
const ANSWER_TIME = 200
/** Calls of the most active user; Zipf: the user at rank r makes one r-th of that. */
const MOST_CALLS = 20_000

interface Call {
  /** Milliseconds. */
  readonly at: number
  readonly user: number
}

/** A sequence that is the same in every run. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** An hour of calls, in order. */
function callsOfTheHour(scale: number): Call[] {
  const random = randomNumbers(1)
  const calls: Call[] = []
  for (let user = 0; user < USERS; user += 1) {
    const count = Math.max(1, Math.round((MOST_CALLS * scale) / (user + 1)))
    for (let call = 0; call < count; call += 1) calls.push({ at: random() * HOUR * 1_000, user })
  }
  return calls.sort((a, b) => a.at - b.at)
}

/** The least token requests that serve these calls: one for each user and life. */
function leastRequests(calls: readonly Call[]): number {
  const livesUntil = new Map<number, number>()
  let requests = 0
  for (const { at, user } of calls) {
    if (at < (livesUntil.get(user) ?? -Infinity)) continue
    requests += 1
    livesUntil.set(user, at + ANSWER_TIME + LIFE * 1_000)
  }
  return requests
}

interface Hour {
  readonly requests: number
  /** Calls that the authorization server kept waiting. */
  readonly waited: number
  /** Those of them whose user had called shortly before, when it was time to renew the token ahead. */
  readonly waitedInUse: number
}

/**
 * Moves the clock through the hour. Time passes only here.
 *
 * @param renewBefore seconds, `cache.renewBefore`; undefined: its default
 */
async function liveThrough(calls: readonly Call[], renewBefore: number | undefined): Promise<Hour> {
  const clock = steppedClock()
  const arrivals: { readonly at: number; readonly arrive: () => void }[] = []
  const signer = await createSigner(ISSUER)
  const { options, asked } = inProcess(signer.keys, {
    life: LIFE,
    wait: () => new Promise((resolve) => arrivals.push({ at: clock.monotonic() + ANSWER_TIME, arrive: resolve })),
  })
  const auth = createMcpAuth({ ...options, cache: { renewBefore } }, clock)
  const getters: (() => Promise<string>)[] = []
  for (let user = 0; user < USERS; user += 1) {
    const { extra } = await auth.verify(await signer.mint({ sub: `user-${user}` }))
    getters.push(extra.getNextcloudToken)
  }
  const lead = Math.min(renewBefore ?? DEFAULT_LEAD, 0.2 * LIFE) * 1_000
  const lastCalls = new Map<number, number>()
  let waited = 0
  let waitedInUse = 0

  async function arrivalsUntil(at: number): Promise<void> {
    for (let next = arrivals[0]; next !== undefined && next.at <= at; next = arrivals[0]) {
      arrivals.shift()
      clock.stepTo(next.at)
      next.arrive()
      await turns(4)
    }
  }

  for (const { at, user } of calls) {
    await arrivalsUntil(at)
    clock.stepTo(at)
    const call = { waits: true }
    const served = (): void => {
      call.waits = false
    }
    getters[user]?.().then(served, served)
    await turns(1)
    if (call.waits) {
      waited += 1
      // A token lives no longer than its lead after a call that came within it.
      if (at - (lastCalls.get(user) ?? -Infinity) < lead - ANSWER_TIME) waitedInUse += 1
      await turns(4)
    } else {
      // Those who wait for a first answer are all first callers.
      lastCalls.set(user, at)
    }
  }
  await arrivalsUntil(Infinity)
  await auth.close()
  return { requests: asked.tokenRequests, waited, waitedInUse }
}

function steppedClock(): Clock & { readonly stepTo: (ms: number) => void } {
  const start = Date.now()
  let elapsed = 0
  return {
    now: () => start + elapsed,
    monotonic: () => elapsed,
    random: () => 0.5,
    sleep: () => new Promise(() => undefined),
    after: () => () => undefined,
    stepTo(ms) {
      elapsed = Math.max(elapsed, ms)
    },
  }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await setImmediate()
}

/** The hour with the default lead, and with one that is short against the life of a token. */
export async function measureDay({ quick }: Form): Promise<Measurement[]> {
  const calls = callsOfTheHour(quick ? 0.1 : 1)
  const least = leastRequests(calls)
  const measurements: Measurement[] = []
  for (const renewBefore of [undefined, 10]) {
    const name = renewBefore ?? 'default'
    const { requests, waited, waitedInUse } = await liveThrough(calls, renewBefore)
    const work = `${quick ? 'a tenth of the calls of ' : ''}an hour of ${USERS.toLocaleString('en-US')} users, tokens of ${LIFE} s, renewBefore ${renewBefore ?? `by default (${DEFAULT_LEAD} s)`}`
    measurements.push(
      {
        id: `day-requests-${name}`,
        work,
        figure: 'token requests ÷ least possible',
        values: [requests / least],
        goal: { atMost: 1.05 },
        places: 3,
      },
      {
        id: `day-waits-${name}`,
        work: 'the same',
        figure: 'calls in use that waited',
        values: [waitedInUse],
        goal: { atMost: 0 },
      },
      {
        id: `day-all-waits-${name}`,
        work: 'the same',
        figure: 'calls that waited ÷ calls',
        values: [waited / calls.length],
        places: 4,
      },
    )
  }
  return measurements
}
