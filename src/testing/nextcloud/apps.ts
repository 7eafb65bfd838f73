import { createHash } from 'node:crypto'
import {
  bareJson,
  empty,
  isApiRequest,
  json,
  notFound,
  page,
  seeOther,
  signedIn,
  type Asked,
  type Told,
} from './exchange.js'
import { challenge } from './ocs.js'
import { callerOf, type Caller, type SignedIn } from './sign-in.js'
import { needsSecondFactor, type Account, type NextcloudState, type Note } from './state.js'
import { sizeOf } from './files.js'

const NOTES = '/apps/notes/api/v1'
const VERSIONS = { 'x-notes-api-versions': '0.2, 1.3, 1.4' }
const NOT_LOGGED_IN = 'Current user is not logged in'

/** Pages and routes of apps. Those of Notes have `#[CORS]`: without `OCS-APIRequest` they take Basic alone. */
export async function appRoutes(state: NextcloudState, asked: Asked): Promise<Told | undefined> {
  const { method, path } = asked
  const [, app] = /^\/apps\/([\w-]+)(?:\/|$)/.exec(path) ?? []
  if (app === undefined && !path.startsWith('/login/')) return undefined
  const isNotes = app === 'notes' && path.startsWith(`${NOTES}/`)
  if (isNotes && method === 'OPTIONS') return preflight(asked)
  const caller = await callerOf(state, asked)
  const refused = refusal(state, asked, caller, isNotes)
  if (refused !== undefined) return refused
  if (caller.is !== 'account') return isNotes ? json(401, { message: NOT_LOGGED_IN }) : toLogin(asked)
  const who = signedIn(caller.account.uid)
  if (isNotes && state.settings.apps.has('notes')) return notes(state, asked, caller)
  if (path === '/login/selectchallenge') return page(200, SECOND_FACTOR, who)
  if (app === 'files') return filesPage(who)
  return notFound(who)
}

/** The app Files. */
function filesPage(headers: Told['headers']): Told {
  const { body = '', ...told } = page(200, '', headers, 'Files - Nextcloud')
  return {
    ...told,
    body: body.toString().replace('<h1>', '<a>Skip to main content</a> <a>Skip to navigation of app</a><h1>'),
  }
}

const SECOND_FACTOR =
  '<h2>Two-factor authentication</h2><p>Two-factor authentication is enforced but has not been configured on your account. Contact your admin for assistance.</p><a href="/logout">Cancel login</a>'

const toLogin = ({ target }: Asked): Told => seeOther(`/login?redirect_url=${target}`)

function refusal(state: NextcloudState, asked: Asked, caller: Caller, isCors: boolean): Told | undefined {
  if (caller.is === 'wrong') return bareJson(401, { message: '' })
  if (caller.is === 'throttled') return bareJson(429, { message: 'Reached maximum delay' })
  const hasBasic = caller.is === 'account' && caller.basic
  if (isCors && !hasBasic && !isApiRequest(asked)) return json(401, { message: 'CORS requires basic auth' })
  return caller.is === 'account' ? refusalOf(state, asked, caller) : undefined
}

function refusalOf(state: NextcloudState, asked: Asked, { account, by }: SignedIn): Told | undefined {
  if (!account.enabled) {
    if (by === 'user-oidc') return json(401, { message: NOT_LOGGED_IN }, signedIn(account.uid))
    return bareJson(401, { message: 'Account disabled' })
  }
  if (!needsSecondFactor(state, account) || asked.path.startsWith('/login/')) return undefined
  if (by === 'user-oidc') return challenge(asked, account.uid)
  return by === 'password' ? json(401, { message: NOT_LOGGED_IN }) : undefined
}

function preflight({ headers }: Asked): Told {
  const methods = 'PUT, POST, GET, DELETE, PATCH'
  return empty(200, {
    'cache-control': 'no-cache, no-store, must-revalidate',
    'access-control-allow-origin': headers.origin ?? '*',
    'access-control-allow-methods': methods,
    'access-control-max-age': '1728000',
    'access-control-allow-headers': 'Authorization, Content-Type, Accept',
    'access-control-allow-credentials': 'false',
  })
}

function notes(state: NextcloudState, asked: Asked, { account }: SignedIn): Told {
  const headers = { ...signedIn(account.uid), ...VERSIONS }
  const { method } = asked
  const route = /^\/notes(?:\/(\d+))?$/.exec(asked.path.slice(NOTES.length))
  if (asked.path === `${NOTES}/settings`) return json(200, { notesPath: 'Notes', fileSuffix: '.md' }, headers)
  if (route === null) return notFound(headers)
  const [, id] = route as readonly (string | undefined)[]
  if (id === undefined) {
    if (method === 'POST') return create(state, asked, account, headers)
    return json(200, account.notes.map(shown), { etag: '"notes"', ...headers })
  }
  const at = account.notes.findIndex((note) => note.id === Number(id))
  const note = account.notes[at]
  if (note === undefined) return json(404, { errorType: 'OCA\\Notes\\Service\\NoteDoesNotExistException' }, headers)
  const wanted = asked.headers['if-match']
  if (method === 'PUT' && wanted !== undefined && wanted !== `"${shown(note).etag}"`)
    return json(412, shown(note), headers)
  if (method === 'PUT') Object.assign(note, given(asked), { modified: Math.floor(state.now() / 1_000) })
  if (method === 'DELETE') account.notes.splice(at, 1)
  return json(200, method === 'DELETE' ? [] : shown(note), headers)
}

function create(state: NextcloudState, asked: Asked, account: Account, headers: Told['headers']): Told {
  if (account.quota !== undefined && sizeOf(account.files) >= account.quota)
    return json(507, { errorType: 'OCA\\Notes\\Service\\InsufficientStorageException' }, headers)
  const { title = 'New note', content = '', category = '' } = given(asked)
  const note = { id: state.nextId(), title: unused(account, title), content, category, modified: 0 }
  note.modified = Math.floor(state.now() / 1_000)
  account.notes.push(note)
  return json(200, shown(note), headers)
}

/** Returns a title that no other note has, since it is the name of a file. */
function unused({ notes }: Account, title: string): string {
  const isTaken = (candidate: string) => notes.some((note) => note.title === candidate)
  let number = 1
  while (isTaken(number === 1 ? title : `${title} (${number})`)) number += 1
  return number === 1 ? title : `${title} (${number})`
}

const given = ({ body }: Asked) =>
  JSON.parse(body === '' ? '{}' : body) as Partial<Pick<Note, 'title' | 'content' | 'category'>>

const shown = ({ id, title, content, category, modified }: Note) => ({
  id,
  title,
  modified,
  category,
  favorite: false,
  readonly: false,
  internalPath: `/Notes/${category === '' ? '' : `${category}/`}${title}.md`,
  shareTypes: [],
  isShared: false,
  error: false,
  errorType: '',
  content,
  etag: etagOf({ title, content, category }),
})

const etagOf = (parts: Pick<Note, 'title' | 'content' | 'category'>): string =>
  createHash('md5').update(JSON.stringify(parts)).digest('hex')
