import type { Asked, Told } from './exchange.js'
import { askedProperties, davError, HAS_FEATURES, multistatus, sabre } from './dav-answers.js'
import { notImplemented } from './dav-place.js'
import { fileMethods } from './dav-files.js'
import { lastOf, namesOf } from './files.js'
import { callerOf, type Caller } from './sign-in.js'
import { needsSecondFactor, type Account, type NextcloudState } from './state.js'
import { uploadMethods } from './uploads.js'

const NO_BASIC =
  "No 'Authorization: Basic' header found. Either the client didn't send one, or the server is misconfigured"
const NO_BEARER =
  "No 'Authorization: Bearer' header found. Either the client didn't send one, or the server is mis-configured"
const WRONG = 'Username or password was incorrect'
const PRINCIPAL_FEATURES =
  '1, 3, extended-mkcol, access-control, calendarserver-principal-property-search, oc-resource-sharing, calendar-access, calendar-proxy, calendar-auto-schedule, calendar-availability, nc-calendar-trashbin, nc-calendar-webcal-cache, calendarserver-subscribed, oc-calendar-publishing, calendarserver-sharing, addressbook, nc-paginate, nextcloud-checksum-update, nc-calendar-search, nc-enable-birthday-calendar'
const PRINCIPAL_SPACES =
  ' xmlns:cal="urn:ietf:params:xml:ns:caldav" xmlns:cs="http://calendarserver.org/ns/" xmlns:card="urn:ietf:params:xml:ns:carddav"'

/** WebDAV. It knows nothing of two-factor authentication, and little of disabled accounts. */
export async function davRoutes(state: NextcloudState, asked: Asked): Promise<Told | undefined> {
  if (!/^\/remote\.php\/(?:web)?dav(?:\/|$)/.test(asked.path)) return undefined
  const caller = await callerOf(state, asked)
  const refused = refusal(state, caller)
  if (refused !== undefined) return refused
  const { account } = caller as Extract<Caller, { is: 'account' }>
  const folder = new URL(asked.base).pathname.replace(/\/$/, '')
  const [, , kind = '', ...rest] = decodeURIComponent(asked.path).split('/')
  if (kind === 'webdav') {
    const place = {
      account,
      root: account.files,
      names: namesOf(rest.join('/')),
      prefix: `${folder}/remote.php/webdav/`,
    }
    return withFeatures(fileMethods(state, asked, place), '1, 3, extended-mkcol, nextcloud-checksum-update')
  }
  const [room = '', uid = '', ...names] = rest
  if (room === 'files' || room === 'uploads') {
    const isFiles = room === 'files'
    const root = isFiles ? account.files : account.uploads
    const prefix = `${folder}/remote.php/dav/${room}/${uid}/`
    if (!state.accounts.has(uid))
      return sabre(404, 'NotFound', `Principal with name ${uid} not found`, { headers: HAS_FEATURES })
    if (uid !== account.uid) return foreign(asked, uid, prefix, names)
    const place = { account, root, names: namesOf(names.join('/')), prefix }
    return isFiles ? fileMethods(state, asked, place) : uploadMethods(state, asked, place)
  }
  return principals(
    asked,
    account,
    folder,
    [room, uid, ...names].filter((name) => name !== ''),
  )
}

function refusal(state: NextcloudState, caller: Caller): Told | undefined {
  if (caller.is === 'throttled') {
    const hint = { owncloud: { hint: 'too many requests' } }
    return davError(429, 'OCA\\DAV\\Connector\\Sabre\\Exception\\TooManyRequests', '', hint)
  }
  if (caller.is === 'wrong') return notAuthenticated(WRONG, NO_BEARER, WRONG)
  if (caller.is === 'nobody')
    return notAuthenticated(NO_BASIC, caller.bearer ? 'Bearer token was incorrect' : NO_BEARER, NO_BASIC)
  const { account, by } = caller
  if (!account.enabled && by === 'oauth2') return davError(500, 'OC\\User\\DisabledUserException', 'Account disabled')
  if (!account.enabled && by !== 'user-oidc')
    return sabre(503, 'ServiceUnavailable', 'OC\\User\\DisabledUserException: Account disabled')
  if (by === 'password' && needsSecondFactor(state, account)) {
    const hint = { owncloud: { hint: 'password login forbidden' } }
    return davError(401, 'OCA\\DAV\\Connector\\Sabre\\Exception\\PasswordLoginForbidden', '', hint)
  }
  return undefined
}

function notAuthenticated(...words: readonly string[]): Told {
  const first =
    'No public access to this resource., AppAPIAuth has not passed, This request is not for a federated calendar'
  const headers = { 'www-authenticate': 'Basic realm="Nextcloud", charset="UTF-8"' }
  return sabre(401, 'NotAuthenticated', `${first}, ${words.join(', ')}`, { headers })
}

/** The home of another account: it looks empty. */
function foreign(asked: Asked, uid: string, prefix: string, names: readonly string[]): Told {
  const name = lastOf(names)
  if (asked.method === 'PROPFIND')
    return multistatus([{ href: prefix, properties: { 'd:resourcetype': '<d:collection/>' } }], ['d:resourcetype'])
  if (asked.method === 'PUT') return sabre(403, 'Forbidden', `Permission denied to create file (filename ${name})`)
  return sabre(404, 'NotFound', `File not found: ${name} in '${uid}'`)
}

function principals(asked: Asked, { uid, displayName }: Account, folder: string, names: readonly string[]): Told {
  const properties = askedProperties(asked)
  if (asked.method !== 'PROPFIND' || properties === undefined) return notImplemented(asked)
  const own = `${folder}/remote.php/dav/principals/users/${encodeURIComponent(uid)}/`
  if (names.length === 0) {
    const root = { 'd:current-user-principal': `<d:href>${own}</d:href>`, 'd:resourcetype': '<d:collection/>' }
    return multistatus([{ href: `${folder}/remote.php/dav/`, properties: root }], properties)
  }
  const principal = { 'd:displayname': displayName, 'd:resourcetype': '<d:collection/><d:principal/>' }
  return multistatus([{ href: own, properties: principal }], properties, PRINCIPAL_SPACES, PRINCIPAL_FEATURES)
}

const withFeatures = (told: Told, dav: string): Told =>
  told.headers?.['dav'] === undefined ? told : { ...told, headers: { ...told.headers, dav } }
