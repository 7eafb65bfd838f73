import type { CallToolResult } from '@modelcontextprotocol/server'
import { XMLParser } from 'fast-xml-parser'
import { nextcloudPath } from 'mcp-nextcloud-auth'
import type { Nextcloud } from 'mcp-nextcloud-auth/mcp-v2'
import { z } from 'zod'

/** Nextcloud as one user: `withNextcloud` gives it to tools, and app.ts to routes. */
export type Files = Pick<Nextcloud, 'fetch' | 'user'>

interface Entry {
  readonly name: string
  readonly isFolder: boolean
  /** Bytes. */
  readonly size: number
  readonly etag: string | undefined
}

/** Bytes that a tool reads or writes at a time: all of it goes through the model. */
export const MOST_BYTES = 100_000
/** Entries of a folder that a tool tells. */
const MOST_ENTRIES = 1_000

/** Returns the path of a file, whose names may hold anything, in the home of this user. */
export async function addressOf({ user }: Files, path: string): Promise<string> {
  // Nextcloud's own user id: neither the token's `sub` nor the login name has to be it.
  const { id } = await user()
  const names = path.split('/').filter((name) => name !== '')
  return names.length === 0
    ? nextcloudPath`/remote.php/dav/files/${id}/`
    : nextcloudPath`/remote.php/dav/files/${id}/${names}`
}

/** Has a write create a file, or replace the very content that the etag stands for. */
export function onlyIf(etag: string | undefined): Record<string, string> {
  return etag === undefined ? { 'if-none-match': '*' } : { 'if-match': etag }
}

export async function listFiles(files: Files, { path }: { readonly path: string }): Promise<CallToolResult> {
  const { status, entry, children } = await lookAt(files, path, 1)
  if (entry === undefined) return text(reasonOf(status, path), true)
  if (!entry.isFolder) return text(`${path} is a file: read_file reads it.`, true)
  const told = children.slice(0, MOST_ENTRIES)
  const lines = told.map(({ name, isFolder, size }) => (isFolder ? `${name}/` : `${name} (${size} bytes)`))
  if (told.length < children.length) lines.push(`… and ${children.length - told.length} more`)
  return text(lines.join('\n') || 'The folder is empty.')
}

export async function readFile(
  files: Files,
  { path, offset = 0 }: { readonly path: string; readonly offset?: number | undefined },
): Promise<CallToolResult> {
  const { status, entry } = await lookAt(files, path)
  if (entry === undefined) return text(reasonOf(status, path), true)
  if (entry.isFolder) return text(`${path} is a folder: list_files lists it.`, true)
  const { size, etag = '' } = entry
  if (offset >= size) return text(`${path} has ${size} bytes, and etag ${etag}. There is nothing at ${offset}.`)
  const headers = { range: `bytes=${offset}-${offset + MOST_BYTES - 1}`, 'accept-encoding': 'identity' }
  const answer = await files.fetch(await addressOf(files, path), { headers })
  if (answer.status !== 206) {
    await answer.body?.cancel()
    return text(reasonOf(answer.status, path), true)
  }
  const content = textIn(await answer.arrayBuffer())
  if (content === undefined) return text(`${path} is no text: download it with GET /files/${path}.`, true)
  const end = offset + Buffer.byteLength(content)
  const more = end < size ? ` It is too large for one call: go on with offset ${end}, or GET /files/${path}.` : ''
  return text(
    `${path} has ${size} bytes, and etag ${etag}. These are bytes ${offset} to ${end}.${more}`,
    false,
    content,
  )
}

export async function writeFile(
  files: Files,
  { path, content, etag }: { readonly path: string; readonly content: string; readonly etag?: string | undefined },
): Promise<CallToolResult> {
  if (Buffer.byteLength(content) > MOST_BYTES) {
    return text(`That is too large for a call, which writes ${MOST_BYTES} bytes: use PUT /files/${path}.`, true)
  }
  const init = { method: 'PUT', headers: onlyIf(etag), body: content }
  const answer = await files.fetch(await addressOf(files, path), init)
  await answer.body?.cancel()
  if (!answer.ok) return text(reasonOf(answer.status, path), true)
  return text(`Wrote ${path}, whose etag is now ${answer.headers.get('oc-etag') ?? 'unknown'}.`)
}

/** What a status of WebDAV means to the one who asked. */
export function reasonOf(status: number, path: string): string {
  const reasons: Readonly<Record<number, string>> = {
    400: `Nextcloud does not take the name ${path}.`,
    403: `${path} is not yours to read or to write.`,
    404: `There is no ${path}, or no folder for it.`,
    409: `There is no folder for ${path}, or it is a folder.`,
    412: `${path} is there already, or has changed: read it, and write with the etag that it has then.`,
    413: `${path} is too large for the web server in front of Nextcloud.`,
    423: `${path} is in use: try again in a moment.`,
    507: `There is no room for ${path} in your Nextcloud.`,
  }
  return reasons[status] ?? `Nextcloud answered ${status} for ${path}.`
}

const PROPERTIES =
  '<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:getcontentlength/><d:getetag/></d:prop></d:propfind>'
const parser = new XMLParser({
  removeNSPrefix: true,
  parseTagValue: false,
  isArray: (name) => name === 'response' || name === 'propstat',
})
const found = z.object({
  resourcetype: z.unknown(),
  getcontentlength: z.coerce.number().default(0),
  getetag: z.string().optional(),
})
const response = z.object({ href: z.string(), propstat: z.array(z.object({ status: z.string(), prop: z.unknown() })) })
const multistatus = z.object({ multistatus: z.object({ response: z.array(response) }) })

/** Returns a file or folder, its address, and with depth 1 what is in it; no entry if there is none. */
export async function lookAt(
  files: Files,
  path: string,
  depth: 0 | 1 = 0,
): Promise<{
  readonly status: number
  readonly url: string
  readonly entry?: Entry
  readonly children: readonly Entry[]
}> {
  const headers = { depth: `${depth}`, 'content-type': 'application/xml' }
  const answer = await files.fetch(await addressOf(files, path), { method: 'PROPFIND', headers, body: PROPERTIES })
  const { status, url } = answer
  const xml = await answer.text()
  if (status !== 207) return { status, url, children: [] }
  const here = placeOf(new URL(url).pathname)
  const all = multistatus.parse(parser.parse(xml)).multistatus.response.map(({ href, propstat }) => {
    const props = found.parse(propstat.find((each) => each.status.includes(' 200 '))?.prop)
    const name = placeOf(href).slice(here.length + 1)
    // The element is empty for a file.
    return { name, isFolder: props.resourcetype !== '', size: props.getcontentlength, etag: props.getetag }
  })
  const [entry] = all.filter(({ name }) => name === '')
  return { status, url, ...(entry && { entry }), children: all.filter(({ name }) => name !== '') }
}

/** Returns where a path of WebDAV leads, to compare: escapes are in lower case in answers, and names are in composed form (NFC). */
function placeOf(path: string): string {
  const [, place = ''] = /\/remote\.php\/dav\/files\/(.*?)\/?$/s.exec(decodeURIComponent(path)) ?? []
  return place.normalize('NFC')
}

/** Undefined: it is no UTF-8. A character that is cut at the end is left to the next piece. */
function textIn(bytes: ArrayBuffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true }) || undefined
  } catch {
    return undefined
  }
}

function text(words: string, isError = false, ...more: readonly string[]): CallToolResult {
  return { content: [words, ...more].map((text) => ({ type: 'text', text })), ...(isError && { isError }) }
}
