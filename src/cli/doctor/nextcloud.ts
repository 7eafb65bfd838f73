import { connectionChecks } from './network.js'
import { fetched, type Examination } from './examination.js'
import { failed, leftOut, passed, type Check, type Verdict } from './finding.js'
import { waysToGive } from './options.js'
import { describeAnswer, isAnswer, jsonObject, type Answer, type NoAnswer } from './probe.js'

/** Where Nextcloud says how it is; why it is not asked, as text. */
export function askStatus(context: Examination): Promise<Answer | NoAnswer> | string {
  const url = addressOf(context, 'status.php')
  return url === undefined ? 'there is no Nextcloud (nextcloud.url)' : fetched(context, url)
}

/** A path of Nextcloud, which may be in a folder itself. */
function addressOf({ config }: Examination, path: string): string | undefined {
  return config.nextcloud && config.nextcloud.base + path
}

/** Whether Nextcloud is there and well. */
export const nextcloudChecks: readonly Check<Examination>[] = [
  ...connectionChecks({
    reachable: 'nextcloud.reachable',
    tls: 'nextcloud.tls',
    name: 'Nextcloud',
    configured: waysToGive('nextcloud.url'),
    ask: askStatus,
  }),
]

export const nextcloudStatus: Check<Examination> = {
  id: 'nextcloud.status',
  needs: ['nextcloud.reachable', 'nextcloud.tls'],
  run: checkStatus,
}

/** Whether Nextcloud takes the token. */
export const bearerChecks: readonly Check<Examination>[] = [
  {
    id: 'nextcloud.bearer',
    needs: ['nextcloud.status', 'exchange.live', 'pass-through.audience'],
    run: checkBearer,
  },
  { id: 'nextcloud.cors', needs: ['nextcloud.bearer'], run: checkCors },
]

async function checkStatus(context: Examination): Promise<Verdict> {
  const asked = askStatus(context)
  if (typeof asked === 'string') return leftOut(asked)
  const answer = await asked
  if (!isAnswer(answer)) return leftOut('no answer')
  const status = jsonObject(answer)
  const { quote } = context.secrets
  if (answer.status !== 200 || typeof status?.['installed'] !== 'boolean') {
    return failed(
      `${answer.url} is no status.php of a Nextcloud: ${describeAnswer(answer, quote)}`,
      `let ${waysToGive('nextcloud.url')} be the address of Nextcloud itself, with its folder (https://host/nextcloud) and as it redirects to`,
    )
  }
  const version = quote(status['versionstring'] ?? status['version'] ?? 'unknown')
  if (!status['installed'])
    return failed(`Nextcloud ${version} is not installed`, 'finish the installation of Nextcloud')
  if (status['maintenance'] === true) {
    return failed(`Nextcloud ${version} is in maintenance mode`, 'occ maintenance:mode --off, on the Nextcloud server')
  }
  if (status['needsDbUpgrade'] === true) {
    return failed(`Nextcloud ${version} waits for an upgrade of its database`, 'occ upgrade, on the Nextcloud server')
  }
  return passed(`Nextcloud ${version}`)
}

const USER_OIDC =
  'at Nextcloud, for this provider in user_oidc: occ user_oidc:provider NAME --check-bearer=1; its client id in aud of the token (exchange.audience, nextcloud.audience); its discovery endpoint that of the issuer of the token; and for users whom Nextcloud does not know yet, --bearer-provisioning=1'
const OCS = 'ocs/v2.php/cloud/user?format=json'
/** A route of the Notes app with `#[CORS]`. */
const NOTES = 'index.php/apps/notes/api/v1/settings'

async function checkBearer(context: Examination): Promise<Verdict> {
  const { config, nextcloudToken, secrets } = context
  if (config.nextcloud === undefined) return leftOut('there is no Nextcloud (nextcloud.url)')
  if (nextcloudToken === undefined) return leftOut(noToken(config.nextcloud.mode))
  const answer = await askAs(context, OCS)
  if (!isAnswer(answer)) {
    return failed(`no answer to ${OCS} (${answer.code})`, 'see nextcloud.reachable')
  }
  if (answer.status === 200) {
    const ocs = jsonObject(answer)?.['ocs'] as { data?: { id?: unknown } } | undefined
    const id = ocs?.data?.id
    if (typeof id === 'string') return passed(`Nextcloud takes the token; the user there is ${secrets.quote(id)}`)
  }
  if (answer.status !== 401) {
    return failed(
      `Nextcloud answers ${describeAnswer(answer, secrets.quote)} to ${OCS}`,
      'look into nextcloud.log; a proxy before Nextcloud may have answered: it has to let /ocs and the Authorization header through',
    )
  }
  const cors = await askAs(context, NOTES)
  if (isAnswer(cors) && cors.status === 200) {
    return failed(
      'Nextcloud refuses the token on OCS (401), but takes it on a CORS route: a proxy or another app stands before /ocs',
      'let the Authorization and OCS-APIRequest headers through to /ocs (Apache: CGIPassAuth On, or SetEnvIf Authorization)',
    )
  }
  return failed('Nextcloud refuses the token (401)', USER_OIDC)
}

function noToken(mode: string): string {
  const why = mode === 'refresh-token' ? ': tokens come from what a user connects, which the doctor does not spend' : ''
  return `no token for Nextcloud to try${why}`
}

async function checkCors(context: Examination): Promise<Verdict> {
  const { config, nextcloudToken, secrets } = context
  if (config.nextcloud === undefined || nextcloudToken === undefined) return leftOut('no token for Nextcloud to try')
  const answer = await askAs(context, NOTES)
  if (!isAnswer(answer)) return leftOut(`no answer to ${NOTES} (${answer.code})`)
  if (answer.status === 200) return passed('a CORS route (Notes) takes the token too')
  if (answer.status !== 401) {
    return leftOut(`${NOTES} answers ${describeAnswer(answer, secrets.quote)}: the Notes app seems not to be there`)
  }
  return failed(
    'a CORS route (Notes) refuses the token (401), which OCS takes: the token is good, and the route wants a password or a CSRF token beside it',
    'Notes, Deck and Tables are such: use Nextcloud 31 or later, which takes OCS-APIRequest: true there (nextcloudFetch sends it), and let the proxy pass that header on',
  )
}

function askAs(context: Examination, path: string): Promise<Answer | NoAnswer> {
  return context.probe(addressOf(context, path) ?? '', {
    headers: { authorization: `Bearer ${context.nextcloudToken ?? ''}`, 'ocs-apirequest': 'true' },
  })
}
