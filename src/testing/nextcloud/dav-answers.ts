import { empty, escaped, type Asked, type Told } from './exchange.js'
import { lastOf, type Node } from './files.js'

const SPACES = 'xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"'
const XML = 'application/xml; charset=utf-8'
const FEATURES =
  '1, 3, extended-mkcol, access-control, calendarserver-principal-property-search, nc-paginate, nextcloud-checksum-update, nc-calendar-search, nc-enable-birthday-calendar'
const METHODS = 'OPTIONS, GET, HEAD, DELETE, PROPFIND, PUT, PROPPATCH, COPY, MOVE, REPORT'

export const HAS_FEATURES = { dav: FEATURES }
export const ALLOWS = { allow: METHODS }

interface More {
  readonly headers?: Told['headers']
  /** Elements of ownCloud's name space. */
  readonly owncloud?: Readonly<Record<string, string>>
  /** Elements of SabreDAV's name space. */
  readonly sabre?: Readonly<Record<string, string>>
}

/** Returns an exception as WebDAV tells it. */
export function davError(
  status: number,
  exception: string,
  message: string,
  { headers, owncloud, sabre = {} }: More = {},
): Told {
  const words = message === '' ? '<s:message/>' : `<s:message>${escaped(message).replaceAll('&quot;', '"')}</s:message>`
  const more = [
    ...Object.entries(sabre).map(([name, value]) => `  <s:${name}>${value}</s:${name}>\n`),
    ...Object.entries(owncloud ?? {}).map(([name, value]) => `  <o:${name} xmlns:o="o:">${value}</o:${name}>\n`),
  ].join('')
  const spaces = owncloud === undefined ? SPACES : `${SPACES} xmlns:o="http://owncloud.org/ns"`
  const body = `<?xml version="1.0" encoding="utf-8"?>\n<d:error ${spaces}>\n  <s:exception>${exception}</s:exception>\n  ${words}\n${more}</d:error>\n`
  return { status, headers: { 'content-type': XML, ...headers }, body }
}

const SABRE = 'Sabre\\DAV\\Exception\\'

export const sabre = (status: number, exception: string, message: string, more?: More): Told =>
  davError(status, SABRE + exception, message, more)

/** A file or folder that is not there, which is told by its folder and its name. */
export function missing(names: readonly string[], headers: Told['headers'] = {}): Told {
  const path = `/${names.slice(0, -1).join('/')}/${lastOf(names)}`
  return sabre(404, 'NotFound', `File with name ${path} could not be located`, { headers })
}

/** What a PROPFIND may be answered for. */
export interface Resource {
  readonly href: string
  /** Properties as XML, by name with its prefix. */
  readonly properties: Readonly<Record<string, string>>
}

/** Returns the names of the properties that a PROPFIND asks for; undefined where its body is not XML. */
export function askedProperties({ body }: Asked): string[] | undefined {
  if (body === '') return ['d:resourcetype']
  const start = body.indexOf('<d:prop>')
  const end = body.lastIndexOf('</d:prop>')
  if (start === -1 || end < start) return undefined
  return [...body.slice(start + '<d:prop>'.length, end).matchAll(/<([\w-]+:[\w-]+)\s*\/>/g)].map(
    ([, name = '']) => name,
  )
}

export function multistatus(
  resources: readonly Resource[],
  names: readonly string[],
  spaces = '',
  dav = FEATURES,
): Told {
  const responses = resources.map(({ href, properties }) => {
    const group = (status: string, found: boolean) => {
      const members = names.filter((name) => name in properties === found)
      const elements = members.map((name) => element(name, properties[name] ?? ''))
      return members.length === 0
        ? ''
        : `<d:propstat><d:prop>${elements.join('')}</d:prop><d:status>HTTP/1.1 ${status}</d:status></d:propstat>`
    }
    return `<d:response><d:href>${href}</d:href>${group('200 OK', true)}${group('404 Not Found', false)}</d:response>`
  })
  const all = `${SPACES}${spaces} xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"`
  const body = `<?xml version="1.0"?>\n<d:multistatus ${all}>${responses.join('')}</d:multistatus>\n`
  return { status: 207, headers: { 'content-type': XML, dav }, body }
}

const element = (name: string, value: string) => (value === '' ? `<${name}/>` : `<${name}>${value}</${name}>`)

/** Escapes of hrefs are in lower case. */
export const hrefOf = (path: string): string =>
  path
    .split('/')
    .map((name) => encodeURIComponent(name).replaceAll(/%../g, (escape) => escape.toLowerCase()))
    .join('/')

/** The headers of a file that was written. */
/** A copy says its id alone. */
export const idHeader = ({ id }: Node): Record<string, string> => ({
  'oc-fileid': `${id.toString().padStart(8, '0')}standin`,
})

export function writtenHeaders(node: Node): Record<string, string> {
  const id = idHeader(node)
  return node.kind === 'folder' ? id : { ...id, etag: node.etag, 'oc-etag': node.etag }
}

export const written = (status: number, node: Node, more: Told['headers'] = {}): Told =>
  empty(status, { ...writtenHeaders(node), ...more })
