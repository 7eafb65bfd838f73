import type { NextcloudConfig } from '../../config/config.js'
import { refusalAt } from '../../nextcloud/nextcloud-path.js'
import { redirectTarget } from '../../transport/answer.js'
import { failed, type Verdict } from './check.js'
import { isHtml, type Answer } from './probe.js'

interface Refusal {
  readonly isIt: (answer: Answer, nextcloud: NextcloudConfig) => boolean
  readonly found: string
  readonly fix: string
}

/** The ways in which Nextcloud says why it does not answer a user's request. */
const REFUSALS: readonly Refusal[] = [
  {
    isIt: (answer, { base, publicBase }) => {
      const target = redirectTarget(answer, answer.url)
      return target !== undefined && [base, publicBase].some((url) => refusalAt(new URL(url), target) === 'two-factor')
    },
    found:
      'Nextcloud wants a second factor of this user (a redirect to /login/selectchallenge): user_oidc 8.7.0 to 8.10.1 lets no bearer token of such a user through to OCS and app routes, while DAV is not affected',
    fix: 'take these users out of two-factor authentication in Nextcloud (occ twofactorauth:enforce --on --exclude=GROUP; occ twofactorauth:disable USER PROVIDER) and let the provider ask for the second factor; or use app-password mode, which works',
  },
  {
    isIt: ({ headers }) => headers.has('x-nextcloud-maintenance-mode'),
    found: 'Nextcloud is in maintenance mode, or waits for an upgrade',
    fix: 'occ maintenance:mode --off, or occ upgrade, on the Nextcloud server',
  },
  {
    isIt: (answer) => answer.status === 200 && isHtml(answer),
    found: 'Nextcloud, or a proxy before it, answers 200 with an HTML page',
    fix: 'occ status: an upgrade that is due is such a page (occ upgrade); or take these paths out of the sign-in of the proxy',
  },
  {
    isIt: ({ status }) => status === 429,
    found:
      'Nextcloud answers 429: its brute-force protection has seen too many wrong sign-ins from this address, and refuses good ones too',
    fix: 'put the address of this server on the allow list of the app bruteforcesettings (Administration settings, Security), and let occ security:bruteforce:reset ADDRESS clear what is counted; behind a proxy, trusted_proxies must name it, so that Nextcloud tells addresses apart',
  },
]

/** Returns the finding about an answer that names its reason; undefined: it names none. */
export function refusalIn(answer: Answer, nextcloud: NextcloudConfig): Verdict | undefined {
  const refusal = REFUSALS.find(({ isIt }) => isIt(answer, nextcloud))
  return refusal && failed(refusal.found, refusal.fix)
}
