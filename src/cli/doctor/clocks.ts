import { answered, check, failed, leftOut, passed, type Verdict } from './check.js'
import type { Examination } from './examination.js'
import { reached } from './network.js'
import { NEXTCLOUD } from './nextcloud.js'
import type { Answer } from './probe.js'
import { PROVIDER, providerMetadata } from './provider.js'

/** Seconds that Nextcloud's clock may be off: a fresh token must be good there, and one near its end must not seem so. */
const NEXTCLOUD_TOLERANCE = 30
/** Milliseconds that a `Date` header lags by itself: it has whole seconds, and some servers keep it for one. */
const COARSE = 2_000

/** Checks of the clocks, three of which judge a token's exp and nbf. */
export const providerClock = check({
  id: 'clock.issuer',
  needs: reached(PROVIDER),
  about: answered(providerMetadata),
  run: (context, answer) => judge(context, answer, 'the provider', context.config.clockTolerance),
})

export const nextcloudClock = check({
  id: 'clock.nextcloud',
  needs: reached(NEXTCLOUD),
  about: answered(NEXTCLOUD.ask),
  run: (context, answer) => judge(context, answer, 'Nextcloud', NEXTCLOUD_TOLERANCE),
})

function judge({ config }: Examination, answer: Answer, who: string, tolerance: number): Verdict {
  const skew = Date.parse(answer.headers.get('date') ?? '') - answer.at
  if (Number.isNaN(skew)) return leftOut(`${who} sends no Date`)
  const seconds = Math.round(Math.abs(skew) / 1_000)
  const shown = `the clock of ${who} is ${seconds} s ${skew < 0 ? 'behind' : 'ahead of'} this one`
  // A cache in between keeps the Date of the original answer.
  if (answer.headers.has('age')) return leftOut(`${shown}, but the answer came from a cache`)
  if (Math.abs(skew) <= tolerance * 1_000 + COARSE) return passed(shown)
  return failed(
    shown,
    `let both machines keep time (NTP: timedatectl, chronyc tracking); tokens seem expired, or not valid yet (user_oidc allows a minute; here clockTolerance, --clock-tolerance, is ${config.clockTolerance} s)`,
  )
}
