import { issuerDocument, needsDocument, type Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { askStatus } from './nextcloud.js'
import { isAnswer, type Answer, type NoAnswer } from './probe.js'

/** Whether the clocks agree: a token's exp and nbf are judged by three of them. */
export const providerClock: Check<Examination> = {
  id: 'clock.issuer',
  needs: ['issuer.reachable', 'issuer.tls'],
  run: async (context) =>
    needsDocument(context)
      ? judge(context, await issuerDocument(context), 'the provider', context.config.clockTolerance)
      : leftOut('nothing is discovered'),
}

/** Seconds that Nextcloud's clock may be off: a fresh token must be good there, and one near its end must not seem so. */
const NEXTCLOUD_TOLERANCE = 30

export const nextcloudClock: Check<Examination> = {
  id: 'clock.nextcloud',
  needs: ['nextcloud.reachable', 'nextcloud.tls'],
  run: async (context) => {
    const asked = askStatus(context)
    return typeof asked === 'string' ? leftOut(asked) : judge(context, await asked, 'Nextcloud', NEXTCLOUD_TOLERANCE)
  },
}

/** Milliseconds that a `Date` header is behind by itself: it has whole seconds, and some servers keep it for one. */
const COARSE = 2_000

function judge(context: Examination, answer: Answer | NoAnswer, who: string, tolerance: number): Verdict {
  const date = isAnswer(answer) ? Date.parse(answer.headers.get('date') ?? '') : NaN
  if (!isAnswer(answer) || Number.isNaN(date)) return leftOut(`${who} sends no Date`)
  const skew = date - answer.at
  const seconds = Math.round(Math.abs(skew) / 1_000)
  const shown = `the clock of ${who} is ${seconds} s ${skew < 0 ? 'behind' : 'ahead of'} this one`
  // A cache in between keeps the Date of the original answer.
  if (answer.headers.has('age')) return leftOut(`${shown}, but the answer came from a cache`)
  if (Math.abs(skew) <= tolerance * 1_000 + COARSE) return passed(shown)
  return failed(
    shown,
    `let both machines keep time (NTP: timedatectl, chronyc tracking); tokens seem expired, or not valid yet (here clockTolerance, --clock-tolerance, is ${context.config.clockTolerance} s)`,
  )
}
