import { isApiRequest, json, seeOther, signedIn, type Asked, type Told } from './exchange.js'
import { callerOf, type Caller, type SignedIn } from './sign-in.js'
import { addToken, needsSecondFactor, removeToken, type Account, type NextcloudState } from './state.js'
import { sizeOf } from './files.js'

const UNKNOWN =
  'Invalid query, please check the syntax. API specifications are here: http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n'
const BASIC = { 'www-authenticate': 'Basic realm="Authorisation Required"' }
/** Status codes of OCS that are not those of HTTP. */
const OCS_CODES: Readonly<Record<number, number>> = { 401: 997, 404: 998 }

/** Returns the envelope of OCS, as JSON or XML, whichever was asked for. */
export function ocs(asked: Asked, status: number, message: string, headers: Told['headers'] = {}): Told {
  return envelope(asked, { status, message, headers, data: [] })
}

interface Envelope {
  readonly status: number
  readonly message: string
  readonly headers: Told['headers']
  readonly data: unknown
}

const good = (asked: Asked, headers: Told['headers'], data: object): Told =>
  envelope(asked, { status: 200, message: 'OK', headers, data })

function envelope(asked: Asked, { status, message, headers = {}, data }: Envelope): Told {
  const isFirst = asked.path.startsWith('/ocs/v1.php')
  const ok = status === 200
  const meta = {
    status: ok ? 'ok' : 'failure',
    statuscode: ok && isFirst ? 100 : (OCS_CODES[status] ?? status),
    message,
    ...(isFirst && { totalitems: '', itemsperpage: '' }),
  }
  const wanted =
    asked.query.get('format') ?? ((asked.headers.accept ?? '').startsWith('application/json') ? 'json' : 'xml')
  const told = json(status, { ocs: { meta, data } }, headers)
  if (wanted === 'json') return told
  const type = ok ? 'application/xml; charset=utf-8' : 'text/xml; charset=UTF-8'
  const body = `<?xml version="1.0"?>\n<ocs>\n${xml({ meta, data }, 1)}</ocs>\n`
  return { ...told, headers: { ...told.headers, 'content-type': type }, body }
}

function xml(value: object, depth: number): string {
  const indent = ' '.repeat(depth)
  return Object.entries(value)
    .map(([name, item]: [string, unknown]) => {
      const element = Array.isArray(value) ? 'element' : name
      if (Array.isArray(item) && item.length === 0) return `${indent}<${element}/>\n`
      if (typeof item === 'object' && item !== null)
        return `${indent}<${element}>\n${xml(item, depth + 1)}${indent}</${element}>\n`
      const text = item === true ? '1' : typeof item === 'string' || typeof item === 'number' ? item : ''
      return `${indent}<${element}>${text}</${element}>\n`
    })
    .join('')
}

/** Returns the answer to somebody who may not come in; undefined where it is the turn of the route. */
function refusal(state: NextcloudState, asked: Asked, caller: Caller): Told | undefined {
  if (caller.is === 'wrong') return ocs(asked, 401, 'Unauthorised', BASIC)
  if (caller.is === 'throttled') return ocs(asked, 429, 'Reached maximum delay')
  if (caller.is === 'nobody') return undefined
  const { account, by, basic } = caller
  const who = signedIn(account.uid)
  if (!account.enabled) {
    if (by === 'user-oidc') return ocs(asked, 401, 'Current user is not logged in', who)
    return ocs(asked, 401, 'Unauthorised', by === 'oidc-app' ? { ...BASIC, ...who } : BASIC)
  }
  if (needsSecondFactor(state, account)) {
    if (by === 'user-oidc') return challenge(asked, account.uid)
    if (by === 'password') return ocs(asked, 401, 'Current user is not logged in')
  }
  if (basic && !isApiRequest(asked)) return json(412, { message: 'CSRF check failed' }, who)
  return undefined
}

/** Sends a request without a browser to the page of the second factor. */
export function challenge({ target }: Asked, uid: string): Told {
  const [path = '', query] = target.split('?')
  const encoded = query === undefined ? path : `${path}?${encodeURIComponent(query)}`
  return seeOther(`/login/selectchallenge?redirect_url=${encoded}`, signedIn(uid))
}

export async function ocsRoutes(state: NextcloudState, asked: Asked): Promise<Told | undefined> {
  const [, route] = /^\/ocs\/v[12]\.php(\/.*)?$/.exec(asked.path) ?? []
  if (!asked.path.startsWith('/ocs/')) return undefined
  if (route === undefined) return ocs(asked, 404, UNKNOWN)
  const caller = await callerOf(state, asked)
  const refused = refusal(state, asked, caller)
  if (refused !== undefined) return refused
  if (route === '/cloud/capabilities') {
    if (caller.is !== 'account' && !isApiRequest(asked)) return json(412, { message: 'CSRF check failed' })
    return capabilities(asked, caller)
  }
  if (caller.is !== 'account') return ocs(asked, 401, 'Current user is not logged in')
  return routed(state, asked, route, caller)
}

function routed(state: NextcloudState, asked: Asked, route: string, caller: SignedIn): Told {
  const { account } = caller
  const who = signedIn(account.uid)
  const isDelete = asked.method === 'DELETE'
  if (route === '/cloud/user') return good(asked, who, described(account, state.now()))
  if (route === '/core/apppassword' && isDelete) {
    if (caller.token === undefined) return ocs(asked, 403, 'no app password in use', who)
    removeToken(state, caller.token)
    return ocs(asked, 200, 'OK', who)
  }
  if (route === '/core/getapppassword') {
    if (caller.token !== undefined)
      return ocs(asked, 403, 'You cannot request an new apppassword with an apppassword', who)
    if (caller.by !== 'password') return ocs(asked, 403, '', who)
    const made = addToken(state, { kind: 'app-password', uid: account.uid, name: asked.headers['user-agent'] ?? '' })
    return good(asked, who, { apppassword: made.password })
  }
  if (route === '/cloud/users') return ocs(asked, 403, 'Logged in account must be at least a sub admin', who)
  return ocs(asked, 404, UNKNOWN, who)
}

function capabilities(asked: Asked, caller: Caller): Told {
  const version = { major: 32, minor: 0, micro: 1, string: '32.0.1', edition: '', extendedSupport: false }
  const own = {
    core: { pollinterval: 60, 'webdav-root': 'remote.php/webdav' },
    notes: { api_version: ['0.2', '1.3', '1.4'] },
  }
  const headers = { etag: '"capabilities"', ...(caller.is === 'account' && signedIn(caller.account.uid)) }
  const data = {
    version,
    capabilities: { bruteforce: { delay: 0, 'allow-listed': false }, ...(caller.is === 'account' && own) },
  }
  return good(asked, headers, data)
}

/** An account, as `/cloud/user` tells it to its owner. */
function described({ uid, displayName, email, backend, files, quota, groups }: Account, now: number): object {
  const used = sizeOf(files)
  const scoped = (scope: string, fields: Record<string, unknown>) =>
    Object.fromEntries(
      Object.entries(fields).flatMap(([name, value]) => [
        [name, value],
        [`${name}Scope`, scope],
      ]),
    )
  const isLocal = backend === 'Database'
  return {
    enabled: true,
    ...(groups.has('admin') && { storageLocation: `/data/${uid}` }),
    id: uid,
    firstLoginTimestamp: Math.floor(now / 1_000),
    lastLoginTimestamp: Math.floor(now / 1_000),
    lastLogin: now,
    backend,
    subadmin: [],
    quota: { free: -3, used, total: -3, relative: 0, quota: quota ?? -3 },
    manager: '',
    avatarScope: 'v2-federated',
    ...scoped('v2-federated', { email }),
    additional_mail: [],
    additional_mailScope: [],
    displayname: displayName,
    'display-name': displayName,
    displaynameScope: 'v2-federated',
    ...scoped('v2-local', { phone: '', address: '', website: '', twitter: '', bluesky: '', fediverse: '' }),
    ...scoped('v2-local', { organisation: '', role: '', headline: '', biography: '', profile_enabled: '1' }),
    ...scoped('v2-federated', { pronouns: '' }),
    groups: [...groups],
    language: 'en',
    locale: '',
    timezone: isLocal ? 'UTC' : '',
    notify_email: null,
    backendCapabilities: { setDisplayName: isLocal, setPassword: isLocal },
  }
}
