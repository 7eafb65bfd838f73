import type { NextcloudConfig } from '../../config/config.js'
import { MODES } from '../../modes.js'
import { answered, check, failed, leftOut, missing, passed, type Check, type Subject, type Verdict } from './check.js'
import { fetched, type Examination } from './examination.js'
import { reached, type Server } from './network.js'
import { waysToGive } from './options.js'
import { describe, isAnswer, objectIn, type Answer, type NoAnswer } from './probe.js'

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

interface TokenAtNextcloud {
  readonly nextcloud: NextcloudConfig
  readonly token: string
}

const tokenAtNextcloud: Subject<TokenAtNextcloud> = (context) => {
  const nextcloud = nextcloudOf(context)
  if ('missing' in nextcloud) return nextcloud
  const { nextcloudToken: token } = context
  if (token !== undefined) return { nextcloud, token }
  const fromGrant = MODES[nextcloud.mode].credentialFrom === 'grant'
  const why = fromGrant ? ': it comes from what a user connects, which the doctor does not spend' : ''
  return missing(`no token for Nextcloud to try${why}`)
}

/** Checks of Nextcloud with the token. */
export const bearerChecks: readonly Check[] = [
  check({
    id: 'nextcloud.bearer',
    needs: ['nextcloud.status', 'exchange.live', 'pass-through.audience'],
    about: tokenAtNextcloud,
    run: checkBearer,
  }),
  check({ id: 'nextcloud.cors', needs: ['nextcloud.bearer'], about: tokenAtNextcloud, run: checkCors }),
]

function checkStatus({ secrets: { quote } }: Examination, answer: Answer): Verdict {
  const status = objectIn(answer)
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

const USER_OIDC =
  'at Nextcloud, for this provider in user_oidc: occ user_oidc:provider NAME --check-bearer=1; its client id in aud of the token (exchange.audience, nextcloud.audience); its discovery endpoint that of the issuer of the token; and for users whom Nextcloud does not know yet, --bearer-provisioning=1'
const OCS = 'ocs/v2.php/cloud/user?format=json'
/** A route of the Notes app with `#[CORS]`. */
const NOTES = 'index.php/apps/notes/api/v1/settings'

async function checkBearer(context: Examination, at: TokenAtNextcloud): Promise<Verdict> {
  const { quote } = context.secrets
  const answer = await askAs(context, at, OCS)
  if (!isAnswer(answer)) return failed(`no answer to ${OCS} (${answer.code})`, 'see nextcloud.reachable')
  const user = userIn(answer)
  if (user !== undefined) return passed(`Nextcloud takes the token; the user there is ${quote(user)}`)
  if (answer.status !== 401) {
    return failed(
      `Nextcloud answers ${describe(answer, quote)} to ${OCS}`,
      'look into nextcloud.log; a proxy before Nextcloud may have answered: it must let /ocs and the Authorization header through',
    )
  }
  const cors = await askAs(context, at, NOTES)
  if (!isAnswer(cors) || cors.status !== 200) return failed('Nextcloud refuses the token (401)', USER_OIDC)
  return failed(
    'Nextcloud refuses the token on OCS (401), but takes it on a CORS route: a proxy or another app stands before /ocs',
    'let the Authorization and OCS-APIRequest headers through to /ocs (Apache: CGIPassAuth On, or SetEnvIf Authorization)',
  )
}

function userIn(answer: Answer): string | undefined {
  const ocs = objectIn(answer)?.['ocs'] as { data?: { id?: unknown } } | null | undefined
  const id = answer.status === 200 ? ocs?.data?.id : undefined
  return typeof id === 'string' ? id : undefined
}

async function checkCors(context: Examination, at: TokenAtNextcloud): Promise<Verdict> {
  const answer = await askAs(context, at, NOTES)
  if (!isAnswer(answer)) return leftOut(`no answer to ${NOTES} (${answer.code})`)
  if (answer.status === 200) return passed('a CORS route (Notes) takes the token too')
  if (answer.status !== 401) {
    const what = describe(answer, context.secrets.quote)
    return leftOut(`${NOTES} answers ${what}: the Notes app seems not to be there`)
  }
  return failed(
    'a CORS route (Notes) refuses the token (401), which OCS takes: the token is good, and the route wants a password or a CSRF token beside it',
    'Notes, Deck and Tables are such: use Nextcloud 31 or later, which takes OCS-APIRequest: true there (nextcloudFetch sends it), and let the proxy pass that header on',
  )
}

function askAs(context: Examination, { nextcloud, token }: TokenAtNextcloud, path: string): Promise<Answer | NoAnswer> {
  const headers = { authorization: `Bearer ${token}`, 'ocs-apirequest': 'true' }
  return context.probe(nextcloud.base + path, { headers })
}
