import { authorizationOf } from '../../nextcloud/credential.js'
import { nextcloudPath } from '../../nextcloud/path-template.js'
import { userIn } from '../../nextcloud/users.js'
import { BEARER_SWITCHES, quirksOf } from '../../presets.js'
import { readScopes, type Claims } from '../../verify/claims.js'
import { waysToGive } from './words.js'
import { check, failed, leftOut, missing, passed, type Check, type Subject, type Verdict } from './check.js'
import type { Examination } from './examination.js'
import { judgeByRule } from './identity-check.js'
import { decoded } from './jwt.js'
import { describe, isAnswer, type Answer, type NoAnswer } from './probe.js'
import { refusalIn } from './refusals.js'
import { userCredential, type UserCredential } from './user-credential.js'

interface User extends UserCredential {
  /** As Nextcloud names it. */
  readonly id: string
}

const user: Subject<User> = async (context) => {
  const credential = await userCredential(context)
  const { userId: id } = context
  return id === undefined || 'missing' in credential ? missing('see nextcloud.bearer') : { ...credential, id }
}

/** Checks of Nextcloud with the credential of a user. */
export const userChecks: readonly Check[] = [
  check({
    id: 'nextcloud.bearer',
    // A clock that is off makes good tokens bad. Exchanged tokens do without the store.
    needs: ({ config }) => [
      ...['nextcloud.status', 'clock.nextcloud', 'exchange.live', 'pass-through.audience'],
      ...(config.grants === undefined ? [] : ['storage.records']),
    ],
    about: userCredential,
    run: checkBearer,
  }),
  check({ id: 'nextcloud.account', needs: ['nextcloud.bearer'], about: user, run: checkAccount }),
  check({ id: 'nextcloud.cors', needs: ['nextcloud.bearer'], about: user, run: checkCors }),
  check({ id: 'nextcloud.dav', needs: ['nextcloud.bearer'], about: user, run: checkDav }),
]

const OCS = 'ocs/v2.php/cloud/user?format=json'
/** A route of the Notes app with `#[CORS]`. */
const NOTES = 'index.php/apps/notes/api/v1/settings'

async function checkBearer(context: Examination, at: UserCredential): Promise<Verdict> {
  const { quote } = context.secrets
  const answer = await askAs(context, at, OCS)
  if (!isAnswer(answer)) {
    return failed(
      `no answer to ${OCS} (${answer.code})`,
      `see nextcloud.reachable; the first request of a user takes Nextcloud seconds, and may take ${waysToGive('nextcloud.timeout')}`,
    )
  }
  const id = answer.status === 200 ? userIn(Buffer.from(answer.text))?.id : undefined
  if (id !== undefined) {
    context.userId = id
    return passed(`Nextcloud takes the credential; the user there is ${quote(id)}`)
  }
  const refusal = refusalIn(answer, at.nextcloud)
  if (refusal !== undefined) return refusal
  if (answer.status !== 401) {
    return failed(
      `Nextcloud answers ${describe(answer, quote)} to ${OCS}`,
      'look into nextcloud.log; a proxy before Nextcloud may have answered: it must let /ocs and the Authorization header through',
    )
  }
  const cors = await askAs(context, at, NOTES)
  if (!isAnswer(cors) || cors.status !== 200) return unauthorized(context, at, answer)
  return failed(
    'Nextcloud refuses the token on OCS (401), but takes it on a CORS route: a proxy or another app stands before /ocs',
    'let the Authorization and OCS-APIRequest headers through to /ocs (Apache: CGIPassAuth On, or SetEnvIf Authorization)',
  )
}

/** Seconds by which a token may be from the future (user_oidc). */
const LEEWAY = 60

function unauthorized({ secrets }: Examination, { nextcloud, secret }: UserCredential, { headers }: Answer): Verdict {
  const known = headers.get('x-user-id')
  if (known !== null) {
    return failed(
      `Nextcloud knows the token as one of ${secrets.quote(known)}, and refuses it (401): the account is disabled there`,
      'occ user:enable, or disable the user at the provider too',
    )
  }
  if (secret.scheme === 'Basic') {
    return failed(
      'Nextcloud refuses the app password (401)',
      'the user, or a change of their password, has ended it, or the account is disabled (occ user:info): let the user connect again',
    )
  }
  const claims = decoded(secret.token)?.claims ?? {}
  const ahead = Number(claims['iat']) - Date.parse(headers.get('date') ?? '') / 1_000
  if (ahead > LEEWAY) {
    return failed(
      `Nextcloud refuses the token (401): by its clock, the token is from ${Math.round(ahead)} s ahead, and it allows ${LEEWAY} s`,
      'let the machines of Nextcloud and of the provider keep time (NTP: timedatectl, chronyc tracking)',
    )
  }
  return failed('Nextcloud refuses the token (401)', remedies(quirksOf(nextcloud.preset).takenBy, claims))
}

function remedies(takenBy: ReturnType<typeof quirksOf>['takenBy'], claims: Claims): string {
  if (takenBy === undefined) return 'the user has removed this connection, or the account is disabled: connect again'
  const openid =
    takenBy !== 'check-bearer' || readScopes(claims).includes('openid')
      ? ''
      : `; with userinfo_bearer_validation the token needs the scope openid (${waysToGive('nextcloud.scopes')})`
  return BEARER_SWITCHES[takenBy] + openid
}

/** The form of user ids that user_oidc makes by hashing. */
const HASHED = /^[0-9a-f]{64}$/
const TAKE_NAMES = 'occ user_oidc:provider NAME --mapping-uid=preferred_username --unique-uid=0'

/** A user who gets another account than their own sees no error, only no files. */
async function checkAccount(context: Examination, at: User): Promise<Verdict> {
  const { id, secret } = at
  const { quote } = context.secrets
  const verdict = judgeByRule(context, id)
  if (verdict !== undefined) return verdict
  const claims = { ...(secret.scheme === 'Bearer' && decoded(secret.token)?.claims) }
  const { preferred_username: name } = claims as { preferred_username?: unknown }
  if (!HASHED.test(id)) return passed(`the account is ${quote(id)}`)
  const hashed = 'user_oidc makes user ids by hashing (--unique-uid=1)'
  const other = typeof name === 'string' && name !== '' ? await askDav(context, at, name) : undefined
  if (other !== undefined && isAnswer(other) && other.status === 207) {
    return failed(
      `${hashed}, so that ${quote(name)} has got a second account, while there is one of that name: its files are not to be seen, and no request fails`,
      `${TAKE_NAMES}, where the names are the same people's; then delete the second accounts`,
    )
  }
  return passed(
    hashed,
    `whoever had an account before gets a second, empty one by that, with status 200: see in Nextcloud's list of accounts; ${TAKE_NAMES} reaches accounts that are there`,
  )
}

async function checkCors(context: Examination, at: User): Promise<Verdict> {
  const answer = await askAs(context, at, NOTES)
  if (!isAnswer(answer)) return leftOut(`no answer to ${NOTES} (${answer.code})`)
  const refusal = refusalIn(answer, at.nextcloud)
  if (refusal !== undefined) return refusal
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

async function checkDav(context: Examination, at: User): Promise<Verdict> {
  const answer = await askDav(context, at, at.id)
  if (isAnswer(answer) && answer.status === 207) return passed('DAV takes the token too')
  const what = describe(answer, context.secrets.quote)
  return (
    (isAnswer(answer) ? refusalIn(answer, at.nextcloud) : undefined) ??
    failed(
      `DAV answers ${what} to a PROPFIND of the user's files, while OCS takes the token`,
      'let the proxy pass the methods of DAV and the Authorization header on to /remote.php (Apache: CGIPassAuth On, or SetEnvIf Authorization), and look into nextcloud.log',
    )
  )
}

/** Asks for the home of a user. For another user than the own one it is empty, and 404 if there is none (Nextcloud 32). */
const askDav = (context: Examination, at: UserCredential, id: string): Promise<Answer | NoAnswer> =>
  askAs(context, at, nextcloudPath`remote.php/dav/files/${id}/`, { method: 'PROPFIND', headers: { depth: '0' } })

function askAs(
  context: Examination,
  { nextcloud, secret }: UserCredential,
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Readonly<Record<string, string>> } = {},
): Promise<Answer | NoAnswer> {
  return context.probe(nextcloud.base + path, {
    method,
    headers: { authorization: authorizationOf(secret), 'ocs-apirequest': 'true', ...headers },
    // A first request makes the user's home.
    timeout: nextcloud.timeout,
  })
}
