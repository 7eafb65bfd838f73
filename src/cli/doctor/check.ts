import { McpAuthError } from '../../errors/errors.js'
import { ifError } from '../../errors/if-error.js'
import type { Examination } from './examination.js'
import { isAnswer, type Answer, type NoAnswer } from './probe.js'

/** The outcome of a check. */
export interface Verdict {
  readonly status: 'passed' | 'failed' | 'left-out'
  /** The facts; the reason if the check was left out. */
  readonly found: string
  /** The change to make, and its place. For a check that passed: a point to consider. */
  readonly fix?: string | undefined
  /** The reason of `token.rejected` events, if a token would be refused. */
  readonly reason?: string | undefined
}

export interface Finding extends Verdict {
  readonly id: string
  /** The issuer that it is about, where there are several. */
  readonly issuer?: string
}

/** One question about the set-up. */
export interface Check {
  /** Stable from version to version. */
  readonly id: string
  /** Checks that must not have failed, because this one would only find the same thing again. */
  readonly needs: (context: Examination) => readonly string[]
  readonly judge: (context: Examination) => Promise<Verdict>
}

/** A thing to look at that is not there, with the sentence that says why. */
export interface Missing {
  readonly missing: string
}

/** Returns the thing that a check looks at, or the reason to leave the check out. */
export type Subject<S> = (context: Examination) => S | Missing | Promise<S | Missing>

interface CheckParts<S> {
  readonly id: string
  readonly needs?: readonly string[] | Check['needs']
  /** Default: the set-up as a whole. */
  readonly about?: Subject<S>
  readonly run: (context: Examination, subject: S) => Verdict | Promise<Verdict>
}

export function check<S extends object>({ id, needs = [], about, run }: CheckParts<S>): Check {
  return {
    id,
    needs: typeof needs === 'function' ? needs : () => needs,
    judge: async (context) => {
      const subject = await (about?.(context) ?? ({} as S))
      return 'missing' in subject ? leftOut(subject.missing) : run(context, subject)
    },
  }
}

export const missing = (sentence: string): Missing => ({ missing: sentence })
export const passed = (found: string, fix?: string): Verdict => ({ status: 'passed', found, fix })
export const failed = (found: string, fix: string): Verdict => ({ status: 'failed', found, fix })
export const leftOut = (found: string, fix?: string): Verdict => ({ status: 'left-out', found, fix })

/** Leaves a check out if there is no answer to look at. */
export const answered =
  (ask: Subject<Answer | NoAnswer>): Subject<Answer> =>
  async (context) => {
    const result = await ask(context)
    return 'missing' in result || isAnswer(result) ? result : missing('no answer')
  }

/** Returns the result of an attempt, or the error of this package that it ends in. */
export const outcomeOf = <T>(attempt: () => T | Promise<T>): Promise<T | McpAuthError> =>
  Promise.resolve()
    .then(attempt)
    .catch(ifError(McpAuthError, (error) => error))
