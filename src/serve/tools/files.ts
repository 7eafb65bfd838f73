import { z } from 'zod'
import { nextcloudPath } from '../../nextcloud/path-template.js'
import { isOneLine, leave, lines, readBytes, refused } from './answer.js'
import { askDav, hasChild, inXml, textOf, type Resource } from './dav.js'
import { tool, ToolFailure, type NextcloudOfTool, type Tool } from './tool.js'

/** Bytes of a file that go through the model at a time. */
const MOST_READ = 100_000
const MOST_WRITTEN = 500_000
const MOST_ENTRIES = 500
const MOST_FOUND = 100

const path = z.string().min(1).max(2_000).describe('From the home folder, such as Documents/plan.md')
const etag = z
  .string()
  .min(1)
  .max(200)
  // One strong etag (RFC 9110 §8.8.3): `*` would replace a file that nobody has read, and a weak one never matches (§13.1.1).
  .regex(/^"[\x21\x23-\x7E]+"$/, 'The etag must be one that read_file told, in its quotes')

export const fileTools: readonly Tool[] = [
  tool({
    name: 'list_files',
    title: 'List a folder',
    description: 'List the files and folders in a folder of the user’s Nextcloud, with their sizes in bytes.',
    scopes: ['files:read'],
    readOnly: true,
    input: z.object({ path: z.string().max(2_000).default('').describe('Empty for the home folder') }),
    run: listFiles,
  }),
  tool({
    name: 'read_file',
    title: 'Read a text file',
    description: `Read a text file of the user’s Nextcloud, ${MOST_READ} bytes at a time. Tells the etag, which write_file needs to change it.`,
    scopes: ['files:read'],
    readOnly: true,
    input: z.object({ path, offset: z.number().int().min(0).default(0).describe('Bytes to leave out') }),
    run: readFile,
  }),
  tool({
    name: 'write_file',
    title: 'Write a text file',
    description:
      'Write a text file in the user’s Nextcloud. Without an etag it must be a new file, and missing folders are made. With the etag that read_file told, it replaces the file, unless that has changed since.',
    scopes: ['files:read', 'files:write'],
    readOnly: false,
    replaces: true,
    input: z.object({ path, content: z.string(), etag: etag.optional().describe('From read_file') }),
    run: writeFile,
  }),
  tool({
    name: 'search_files',
    title: 'Search files by name',
    description: `Find files and folders in the user’s Nextcloud whose name has this text in it, in upper or lower case; at most ${MOST_FOUND}.`,
    scopes: ['files:read'],
    readOnly: true,
    input: z.object({ name: z.string().min(1).max(200) }),
    run: searchFiles,
  }),
]

function namesIn(given: string): string[] {
  const names = given.split('/').filter((name) => name !== '')
  // Nextcloud has no such names, and a URL would take a backslash for a slash.
  if (given.includes('\\')) throw new ToolFailure('A path must not have a backslash in it: folders are told with /.')
  if (names.some((name) => name === '.' || name === '..' || /\p{Surrogate}/u.test(name))) {
    throw new ToolFailure('A path must not have . or .. in it.')
  }
  return names
}

async function addressOf({ user }: NextcloudOfTool, names: readonly string[]): Promise<string> {
  // Nextcloud's own user id: neither the token's `sub` nor the login name has to be it.
  const { id } = await user()
  return names.length === 0
    ? nextcloudPath`/remote.php/dav/files/${id}/`
    : nextcloudPath`/remote.php/dav/files/${id}/${names}`
}

const PROPERTIES = '<d:prop><d:resourcetype/><d:getcontentlength/><d:getetag/></d:prop>'

async function lookAt(
  nextcloud: NextcloudOfTool,
  given: string,
  depth: '0' | '1',
): Promise<{ readonly itself: Resource; readonly children: readonly Resource[] }> {
  const { answer, resources } = await askDav(nextcloud, {
    method: 'PROPFIND',
    path: await addressOf(nextcloud, namesIn(given)),
    depth,
    body: `<d:propfind xmlns:d="DAV:">${PROPERTIES}</d:propfind>`,
  })
  const itself = resources?.find(({ names }) => names.length === 0)
  if (resources === undefined || itself === undefined) {
    const what = given === '' ? 'home folder' : given
    throw await refused(answer, reasonsFor(what), what)
  }
  return { itself, children: resources.filter(({ names }) => names.length > 0) }
}

const isFolder = ({ properties }: Resource): boolean => hasChild(properties.get('resourcetype'), 'collection')

/** Undefined: the path cannot be shown as the tools take it. */
function shown(resource: Resource): string | undefined {
  const path = resource.names.join('/')
  if (!isOneLine(path)) return undefined
  return isFolder(resource) ? `${path}/` : `${path} (${textOf(resource, 'getcontentlength') ?? '?'} bytes)`
}

async function listFiles(nextcloud: NextcloudOfTool, { path: given }: { readonly path: string }): Promise<string> {
  const { itself, children } = await lookAt(nextcloud, given, '1')
  if (!isFolder(itself)) throw new ToolFailure(`${given} is a file: read_file reads it.`)
  return lines(children.map(shown), MOST_ENTRIES, 'The folder is empty.')
}

async function readFile(
  nextcloud: NextcloudOfTool,
  { path: given, offset }: { readonly path: string; readonly offset: number },
): Promise<string> {
  const { itself } = await lookAt(nextcloud, given, '0')
  if (isFolder(itself)) throw new ToolFailure(`${given} is a folder: list_files lists it.`)
  const size = Number(textOf(itself, 'getcontentlength') ?? 0)
  const listed = textOf(itself, 'getetag') ?? 'unknown'
  if (offset >= size) return `${given} has ${size} bytes, and etag ${listed}.`
  const headers = { range: `bytes=${offset}-${offset + MOST_READ - 1}`, 'accept-encoding': 'identity' }
  const answer = await nextcloud.fetch(await addressOf(nextcloud, namesIn(given)), { headers })
  if (answer.status !== 206) throw await refused(answer, reasonsFor(given), given)
  const text = textIn(await readBytes(answer, MOST_READ))
  if (text === undefined) throw new ToolFailure(`${given} is not a text file.`)
  const end = offset + Buffer.byteLength(text)
  const more = end < size ? ` It goes on: read it with offset ${end}.` : ''
  return `${given} has ${size} bytes, and etag ${etagOf(answer, listed)}. These are bytes ${offset} to ${end}.${more}\n\n${text}`
}

/** A web server in between may change `ETag`, and not the other. */
const etagOf = ({ headers }: Response, otherwise: string): string =>
  headers.get('oc-etag') ?? headers.get('etag') ?? otherwise

/** Undefined: it is not UTF-8. A character that is cut at the end is left to the next piece. */
function textIn(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true })
    return text === '' || text.includes('\0') ? undefined : text
  } catch {
    return undefined
  }
}

async function writeFile(
  nextcloud: NextcloudOfTool,
  {
    path: given,
    content,
    etag,
  }: { readonly path: string; readonly content: string; readonly etag?: string | undefined },
): Promise<string> {
  if (Buffer.byteLength(content) > MOST_WRITTEN) throw new ToolFailure(`A call writes at most ${MOST_WRITTEN} bytes.`)
  const names = namesIn(given)
  if (names.length === 0) throw new ToolFailure('A path must name a file.')
  const condition: Record<string, string> = etag === undefined ? { 'if-none-match': '*' } : { 'if-match': etag }
  const put = async () =>
    nextcloud.fetch(await addressOf(nextcloud, names), {
      method: 'PUT',
      headers: { 'content-type': 'text/plain; charset=utf-8', ...condition },
      body: content,
    })
  let answer = await put()
  // Nextcloud has one or the other for a folder that is missing.
  if ((answer.status === 404 || answer.status === 409) && etag === undefined && names.length > 1) {
    await leave(answer)
    await makeFolders(nextcloud, names.slice(0, -1))
    answer = await put()
  }
  if (!answer.ok) throw await refused(answer, reasonsFor(given), given)
  await leave(answer)
  return `Wrote ${given}. Its etag is now ${etagOf(answer, 'unknown')}.`
}

async function makeFolders(nextcloud: NextcloudOfTool, names: readonly string[]): Promise<void> {
  if (names.length > 20) throw new ToolFailure('A file is at most twenty folders deep.')
  for (const [index] of names.entries()) {
    const folder = names.slice(0, index + 1)
    const answer = await nextcloud.fetch(await addressOf(nextcloud, folder), { method: 'MKCOL' })
    // 405: it is there.
    if (!answer.ok && answer.status !== 405) throw await refused(answer, reasonsFor(folder.join('/')), folder.join('/'))
    await leave(answer)
  }
}

async function searchFiles(nextcloud: NextcloudOfTool, { name }: { readonly name: string }): Promise<string> {
  const { id } = await nextcloud.user()
  const { answer, resources } = await askDav(nextcloud, {
    method: 'SEARCH',
    path: '/remote.php/dav/',
    below: nextcloudPath`/remote.php/dav/files/${id}`,
    body: searchFor(nextcloudPath`/files/${id}`, name),
  })
  if (resources === undefined) throw await refused(answer, {}, 'the search')
  const wanted = comparable(name)
  // `%` and `_` in it stand for anything there.
  const found = resources.filter(({ names }) => comparable(names.at(-1) ?? '').includes(wanted))
  const told = lines(found.slice(0, MOST_FOUND).map(shown), MOST_FOUND, 'Nothing was found.')
  return resources.length > MOST_FOUND ? `${told}\n${MORE_FOUND}` : told
}

const MORE_FOUND = `There are more than ${MOST_FOUND}, which are not shown: search for more of the name.`

const comparable = (text: string): string => text.normalize('NFC').toLowerCase()

/** RFC 5323. */
const searchFor = (
  folder: string,
  name: string,
): string => `<d:searchrequest xmlns:d="DAV:"><d:basicsearch><d:select>${PROPERTIES}</d:select>
<d:from><d:scope><d:href>${inXml(folder)}</d:href><d:depth>infinity</d:depth></d:scope></d:from>
<d:where><d:like><d:prop><d:displayname/></d:prop><d:literal>%${inXml(name)}%</d:literal></d:like></d:where>
<d:orderby/><d:limit><d:nresults>${MOST_FOUND + 1}</d:nresults></d:limit></d:basicsearch></d:searchrequest>`

/** The meaning of a status of WebDAV. */
const reasonsFor = (given: string): Readonly<Record<number, string>> => ({
  400: `Nextcloud does not take the name ${given} (400).`,
  403: `${given} is not the user’s to read or to write (403).`,
  404: `There is no ${given} (404).`,
  405: `${given} is a folder (405).`,
  409: `There is no folder for ${given}, or it is a folder (409).`,
  412: `${given} is there already, or has changed (412): read it, and write with the etag that it has then.`,
  413: `${given} is too large for the web server in front of Nextcloud (413).`,
  423: `${given} is in use (423): try again in a moment.`,
  507: `There is no room for ${given} in the user’s Nextcloud (507).`,
})
