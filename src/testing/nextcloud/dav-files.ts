import { empty, type Asked, type Told } from './exchange.js'
import { ALLOWS, davError, HAS_FEATURES, idHeader, missing, sabre, written } from './dav-answers.js'
import { notImplemented, options, propfind, type Place } from './dav-place.js'
import {
  copyOf,
  createFile,
  createFolder,
  fill,
  find,
  lastOf,
  namesOf,
  parentOf,
  sizeOf,
  type File,
  type Node,
} from './files.js'
import type { NextcloudState } from './state.js'

const TYPES: Readonly<Record<string, string>> = {
  txt: 'text/plain;charset=UTF-8',
  md: 'text/markdown;charset=UTF-8',
  json: 'application/json',
}

/** The methods of WebDAV on the files of an account. */
export function fileMethods(state: NextcloudState, asked: Asked, place: Place): Told {
  const { method } = asked
  const node = find(place.root, place.names)
  if (method === 'OPTIONS') return options()
  if (method === 'PUT') return put(state, asked, place, node)
  if (method === 'MKCOL') return makeFolder(place, node)
  if (!['GET', 'HEAD', 'PROPFIND', 'MOVE', 'COPY', 'DELETE'].includes(method)) return notImplemented(asked)
  if (node === undefined) return missing(place.names, method === 'PROPFIND' ? HAS_FEATURES : {})
  if (method === 'PROPFIND') return propfind(asked, place, place.names, node)
  if (state.locked.has(`${place.account.uid}/${place.names.join('/')}`)) return locked(place.names)
  return methodOf(asked, place, node)
}

/** The methods of what is there and is not locked. */
function methodOf(asked: Asked, place: Place, node: Node): Told {
  const { root, names } = place
  if (asked.method === 'MOVE' || asked.method === 'COPY') return transfer(asked, place, node)
  if (asked.method === 'DELETE') {
    parentOf(root, names)?.children.delete(lastOf(names))
    return empty(204)
  }
  return node.kind === 'file' ? get(asked, node, lastOf(names)) : empty(200)
}

const locked = (names: readonly string[]): Told =>
  davError(423, 'OCA\\DAV\\Connector\\Sabre\\Exception\\FileLocked', `"/${names.join('/')}" is locked`)

function get({ headers, method }: Asked, file: File, name: string): Told {
  if (headers['if-none-match'] === file.etag) return { status: 304, headers: { etag: file.etag } }
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? []
  const end = to === undefined || to === '' ? file.content.length : Number(to) + 1
  const content = from === undefined ? file.content : file.content.subarray(Number(from), end)
  const encoded = encodeURIComponent(name)
  return {
    status: from === undefined ? 200 : 206,
    headers: {
      'content-type': TYPES[lastOf(name.split('.'))] ?? 'application/octet-stream',
      etag: file.etag,
      'oc-etag': file.etag,
      'content-disposition': `attachment; filename*=UTF-8''${encoded}; filename="${encoded}"`,
    },
    body: method === 'HEAD' ? '' : content,
  }
}

/** The refusals of a write in their order. */
function problemOf(
  state: NextcloudState,
  { headers, bytes }: Asked,
  place: Place,
  node: Node | undefined,
): Told | undefined {
  const { names, account } = place
  const name = lastOf(names)
  if (parentOf(place.root, names) === undefined) return missing(names.slice(0, -1))
  if (node?.kind === 'folder') return sabre(409, 'Conflict', 'PUT is not allowed on non-files.')
  if (name === '.htaccess') return invalidName('Filename is a reserved word')
  if (name.includes('\\')) return invalidName('"\\" is not allowed inside a file or folder name.')
  const ifMatch = headers['if-match']
  if (ifMatch !== undefined && ifMatch !== node?.etag) {
    const words = 'An If-Match header was specified, but none of the specified ETags matched.'
    return sabre(412, 'PreconditionFailed', words, {
      sabre: { header: 'If-Match' },
      headers: { etag: node?.etag ?? '' },
    })
  }
  if (headers['if-none-match'] === '*' && node !== undefined) {
    const words = 'An If-None-Match header was specified, but the ETag matched (or * was specified).'
    return sabre(412, 'PreconditionFailed', words, { sabre: { header: 'If-None-Match' } })
  }
  if (state.locked.has(`${account.uid}/${names.join('/')}`)) return locked(names)
  return overQuota(place, bytes.length, names)
}

const invalidName = (reason: string): Told =>
  davError(400, 'OCA\\DAV\\Connector\\Sabre\\Exception\\InvalidPath', reason, { owncloud: { retry: 'false', reason } })

/** Refuses what there is no room for. */
export function overQuota(
  { account }: Pick<Place, 'account'>,
  length: number,
  names: readonly string[],
): Told | undefined {
  if (account.quota === undefined) return undefined
  const left = Math.max(account.quota - sizeOf(account.files), 0)
  if (length <= left) return undefined
  const words = `Insufficient space in /${names.join('/')}, ${length} required, ${left} available`
  return sabre(507, 'InsufficientStorage', words)
}

function put(state: NextcloudState, asked: Asked, place: Place, node: Node | undefined): Told {
  const problem = problemOf(state, asked, place, node)
  if (problem !== undefined) return problem
  const mtime = asked.headers['x-oc-mtime'] === undefined ? {} : { 'x-oc-mtime': 'accepted' }
  if (node?.kind === 'file') return written(204, fill(node, asked.bytes), mtime)
  const made = createFile(asked.bytes)
  parentOf(place.root, place.names)?.children.set(lastOf(place.names), made)
  return written(201, made, mtime)
}

function makeFolder({ root, names }: Place, node: Node | undefined): Told {
  if (node !== undefined)
    return sabre(405, 'MethodNotAllowed', 'The resource you tried to create already exists', { headers: ALLOWS })
  const parent = parentOf(root, names)
  if (parent === undefined) return sabre(409, 'Conflict', 'Parent node does not exist')
  const made = createFolder()
  parent.children.set(lastOf(names), made)
  return written(201, made)
}

/** Returns the names that a `Destination` leads to: a URL or a path. */
export function destinationOf(asked: Asked): string[] {
  const { pathname } = new URL(String(asked.headers['destination'] ?? ''), asked.base)
  const root = /\/remote\.php\/(?:dav\/files\/[^/]+|webdav)\//.exec(pathname)
  return root === null ? [] : namesOf(decodeURIComponent(pathname.slice(root.index + root[0].length)))
}

function transfer(asked: Asked, { root, names }: Place, node: Node): Told {
  const target = destinationOf(asked)
  const name = lastOf(target)
  const parent = parentOf(root, target)
  if (parent === undefined) return sabre(409, 'Conflict', 'The destination node is not found')
  const isThere = parent.children.has(name)
  if (isThere && asked.headers['overwrite'] === 'F') {
    const words = 'The destination node already exists, and the overwrite header is set to false'
    return sabre(412, 'PreconditionFailed', words, { sabre: { header: 'Overwrite' } })
  }
  const isMove = asked.method === 'MOVE'
  const moved = isMove ? node : copyOf(node)
  parent.children.set(name, moved)
  if (isMove) parentOf(root, names)?.children.delete(lastOf(names))
  const status = isThere ? 204 : 201
  return isMove ? written(status, moved) : empty(status, idHeader(moved))
}
