import { empty, type Asked, type Told } from './exchange.js'
import { missing, sabre, written } from './dav-answers.js'
import { destinationOf, overQuota } from './dav-files.js'
import { notImplemented, propfind, type Place } from './dav-place.js'
import { createFile, createFolder, fill, find, lastOf, parentOf, sizeOf, type Folder } from './files.js'
import type { NextcloudState } from './state.js'

/** Chunked uploads: a folder of chunks, which `MOVE …/.file` puts together. */
export function uploadMethods(_state: NextcloudState, asked: Asked, place: Place): Told {
  const { method } = asked
  const { root, names } = place
  const [upload = '', chunk] = names
  if (method === 'MKCOL') {
    root.children.set(upload, createFolder())
    return empty(201)
  }
  const folder = find(root, [upload])
  if (folder?.kind !== 'folder') return missing([upload])
  if (method === 'PUT' && chunk !== undefined) return putChunk(asked, place, folder, chunk)
  if (method === 'MOVE' && chunk === '.file') return assemble(asked, place, folder, upload)
  if (method === 'PROPFIND') {
    // The file to be is listed as well.
    const all = createFolder()
    all.children.set('.file', createFile(contentOf(folder)))
    for (const [name, each] of folder.children) all.children.set(name, each)
    return propfind(asked, place, names, all)
  }
  if (method !== 'DELETE') return notImplemented(asked)
  root.children.delete(upload)
  return empty(204)
}

function putChunk(asked: Asked, place: Place, folder: Folder, chunk: string): Told {
  const refused = overQuota(
    place,
    asked.bytes.length,
    asked.headers['destination'] === undefined ? [] : destinationOf(asked),
  )
  if (refused !== undefined) return refused
  folder.children.set(chunk, createFile(asked.bytes))
  return empty(201)
}

/** Chunks go by their names, whatever order they came in. */
function contentOf(folder: Folder): Buffer {
  const names = [...folder.children.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  return Buffer.concat(
    names.flatMap((name) => {
      const child = folder.children.get(name)
      return child?.kind === 'file' ? [child.content] : []
    }),
  )
}

function assemble(asked: Asked, { account, root }: Place, folder: Folder, upload: string): Told {
  const total = asked.headers['oc-total-length']
  const size = sizeOf(folder)
  if (total !== undefined && Number(total) !== size)
    return sabre(400, 'BadRequest', `Chunks on server do not sum up to ${String(total)} but to ${size} bytes`)
  const target = destinationOf(asked)
  const parent = parentOf(account.files, target)
  if (parent === undefined) return sabre(409, 'Conflict', 'The destination node is not found')
  const name = lastOf(target)
  const before = parent.children.get(name)
  const file = before?.kind === 'file' ? fill(before, contentOf(folder)) : createFile(contentOf(folder))
  parent.children.set(name, file)
  root.children.delete(upload)
  return written(before === undefined ? 201 : 204, file)
}
