import type { Clock } from '../../../src/clock.js'

/**
 * What goes wrong with one call. `lost`: it is not carried out, and fails. `unanswered`: it is carried out, and fails. `slow`: it is
 * carried out, and the answer is a step of its own.
 */
export type Fault = 'lost' | 'unanswered' | 'slow'

/** Something that waits for its turn. */
export interface Step {
  /** The instance that waits for it. */
  readonly instance: string
  readonly name: string
  /** `sleep`: a pause before another attempt. `timer`: a deadline, or work for later. */
  readonly kind: 'begin' | 'call' | 'answer' | 'sleep' | 'timer'
  /** The record or credential that it is about, which steps of other instances may be about too. */
  readonly on: string
  /** Milliseconds at which a pause or timer is over. */
  readonly at: number
  readonly take: (fault?: Fault) => void
}

/** Decides what happens next: nothing happens by itself. Time is its own, and passes when it says so. */
export interface Scheduler {
  /** Milliseconds. */
  readonly now: () => number
  /** Everything that waits, in the order in which it came. */
  readonly waiting: () => readonly Step[]
  /** Offers a step. The returned function takes it back. */
  readonly offer: (step: Omit<Step, 'at'> & { readonly at?: number }) => () => void
  readonly take: (step: Step, fault?: Fault) => void
  readonly advanceTo: (at: number) => void
  /** Ends an instance: nothing that waits for it happens any more. */
  readonly kill: (instance: string) => void
  readonly isAlive: (instance: string) => boolean
  /** What has happened, in words. */
  readonly log: string[]
}

/** Milliseconds since the epoch. */
const START = Date.UTC(2026, 0, 1)

export function createScheduler(): Scheduler {
  const steps = new Set<Step>()
  const dead = new Set<string>()
  const log: string[] = []
  let now = 0
  return {
    now: () => now,
    waiting: () => [...steps],
    offer(given) {
      const step = { at: 0, ...given }
      if (!dead.has(step.instance)) steps.add(step)
      return () => steps.delete(step)
    },
    take(step, fault) {
      steps.delete(step)
      log.push(`${now} ${step.instance}: ${step.name}${fault === undefined ? '' : ` (${fault})`}`)
      step.take(fault)
    },
    advanceTo: (at) => void (now = Math.max(now, at)),
    kill(instance) {
      dead.add(instance)
      log.push(`${now} ${instance} ends`)
      for (const step of steps) if (step.instance === instance) steps.delete(step)
    },
    isAlive: (instance) => !dead.has(instance),
    log,
  }
}

/** The clock of an instance. */
export function clockOf(scheduler: Scheduler, instance: string, random: () => number): Clock {
  const after = (ms: number, kind: Step['kind'], act: () => void): (() => void) =>
    scheduler.offer({
      ...{ instance, kind, on: '', at: scheduler.now() + ms },
      name: kind === 'sleep' ? `pause of ${Math.round(ms)} ms` : `timer of ${Math.round(ms)} ms`,
      take: act,
    })
  return {
    now: () => START + scheduler.now(),
    monotonic: scheduler.now,
    random,
    sleep: (ms) => new Promise((resolve) => after(ms, 'sleep', resolve)),
    after: (ms, callback) => after(ms, 'timer', callback),
  }
}

/** One call to what several instances share. */
export interface Call<T> {
  readonly scheduler: Scheduler
  readonly instance: string
  readonly name: string
  readonly on: string
  readonly carryOut: () => T
  /** The error of a call that fails. */
  readonly failure: (fault: 'lost' | 'unanswered') => Error
}

/** A call that is carried out when the scheduler says so. */
export function call<T>({ scheduler, instance, name, on, carryOut, failure }: Call<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    scheduler.offer({
      ...{ instance, name, on, kind: 'call' },
      take(fault) {
        if (fault === 'lost') return reject(failure(fault))
        let settle: () => void
        try {
          const result = carryOut()
          settle = () => (fault === 'unanswered' ? reject(failure(fault)) : resolve(result))
        } catch (error) {
          const reason = error instanceof Error ? error : new Error(String(error))
          settle = () => reject(reason)
        }
        if (fault === 'slow')
          scheduler.offer({ instance, name: `answer: ${name}`, on: '', kind: 'answer', take: settle })
        else settle()
      },
    })
  })
}
