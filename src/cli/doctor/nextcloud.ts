import { shellWord } from '../../shell-word.js'
import { waysToGive } from './words.js'
import { answered, check, failed, missing, passed, type Verdict } from './check.js'
import { fetched, type Examination } from './examination.js'
import { reached, type Server } from './network.js'
import { describe, objectIn, type Answer } from './probe.js'

export const nextcloudOf = ({ config }: Examination) =>
  config.nextcloud ?? missing('there is no Nextcloud (nextcloud.url)')

export const NEXTCLOUD: Server = {
  id: 'nextcloud',
  name: 'Nextcloud',
  configured: waysToGive('nextcloud.url'),
  ask: (context) => {
    const nextcloud = nextcloudOf(context)
    return 'missing' in nextcloud ? nextcloud : fetched(context, `${nextcloud.base}status.php`)
  },
}

export const nextcloudStatus = check({
  id: 'nextcloud.status',
  needs: reached(NEXTCLOUD),
  about: answered(NEXTCLOUD.ask),
  run: checkStatus,
})

/** The code in the answer to a request for a host name that is not in `trusted_domains`. */
const UNTRUSTED = 15

function untrusted({ hostname }: URL): Verdict {
  return failed(
    `Nextcloud does not answer to the host name ${hostname}, which is not among its trusted_domains`,
    `occ config:system:get trusted_domains shows them from 0; add it under the next number N: occ config:system:set trusted_domains N --value=${shellWord(hostname)}; or let ${waysToGive('nextcloud.url')} be a name that is there`,
  )
}

function checkStatus({ secrets: { quote } }: Examination, answer: Answer): Verdict {
  const status = objectIn(answer)
  if (answer.status === 400 && status?.['code'] === UNTRUSTED) return untrusted(new URL(answer.url))
  if (answer.status !== 200 || typeof status?.['installed'] !== 'boolean') {
    return failed(
      `${answer.url} is not the status.php of a Nextcloud: ${describe(answer, quote)}`,
      `let ${waysToGive('nextcloud.url')} be the address of Nextcloud itself, with its folder (https://host/nextcloud) and as it redirects to`,
    )
  }
  const found = `Nextcloud ${quote(status['versionstring'] ?? status['version'] ?? 'unknown')}`
  if (!status['installed']) return failed(`${found} is not installed`, 'finish the installation of Nextcloud')
  if (status['maintenance'] === true) {
    return failed(`${found} is in maintenance mode`, 'occ maintenance:mode --off, on the Nextcloud server')
  }
  if (status['needsDbUpgrade'] === true) {
    return failed(`${found} waits for an upgrade of its database`, 'occ upgrade, on the Nextcloud server')
  }
  return passed(found)
}
