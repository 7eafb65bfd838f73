import type { NextcloudConfig } from '../../config/config.js'
import { McpAuthError } from '../../errors/errors.js'
import { MODES } from '../../modes.js'
import { createAppPasswords } from '../../nextcloud/app-passwords.js'
import { shellWord } from '../../shell-word.js'
import { check, failed, leftOut, missing, outcomeOf, passed, type Subject, type Verdict } from './check.js'
import type { Examination } from './examination.js'
import { nextcloudOf } from './nextcloud.js'
import { describe, isAnswer } from './probe.js'
import { waysToGive } from './words.js'

/** The Nextcloud where users connect by Login Flow v2. */
const withLoginFlow: Subject<NextcloudConfig> = (context) => {
  const nextcloud = nextcloudOf(context)
  if ('missing' in nextcloud || MODES[nextcloud.mode].scheme === 'Basic') return nextcloud
  return missing('there is no login flow in this mode')
}

/** Begins a flow that nobody goes on with: Nextcloud forgets it after 20 minutes. */
export const loginFlow = check({
  id: 'nextcloud.login-flow',
  needs: ['nextcloud.status'],
  about: withLoginFlow,
  run: checkLoginFlow,
})

async function checkLoginFlow(context: Examination, nextcloud: NextcloudConfig): Promise<Verdict> {
  const { config, probe, secrets, transport } = context
  const { publicUrl } = nextcloud
  const begun = await outcomeOf(() => createAppPasswords(nextcloud, transport).start(config.resourceName ?? ''))
  if (begun instanceof McpAuthError) {
    return failed(
      secrets.quote(begun.detail),
      'let Nextcloud, and the proxy before it, answer POST /index.php/login/v2, by which users connect',
    )
  }
  // Whoever has the whole link can answer the flow, so that the report names its origin alone.
  const { origin, hostname } = new URL(begun.login)
  if (origin === publicUrl.origin) return passed(`the login page of Nextcloud is at ${origin}`)
  const page = await probe(begun.login, { headers: { accept: 'text/html' } })
  if (isAnswer(page) && page.status < 400) return passed(`the login page of Nextcloud is at ${secrets.quote(origin)}`)
  const found = `Nextcloud at ${publicUrl.origin} sends people to a login page at ${secrets.quote(origin)}, which it takes for its own address`
  const fix = `if people open it as ${publicUrl.origin}: occ config:system:set overwritehost --value=${shellWord(publicUrl.host)}, and overwriteprotocol --value=${publicUrl.protocol.slice(0, -1)}; else let ${waysToGive('nextcloud.publicUrl')} be the address that people open`
  // A name of browsers alone may be unknown here.
  if (!isAnswer(page) && hostname !== publicUrl.hostname) {
    return leftOut(`${found}; it cannot be reached from here (${page.code}), as browsers must`, fix)
  }
  return failed(`${found}, and it is not there (${describe(page, secrets.quote)})`, fix)
}
