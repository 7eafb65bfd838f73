import { readText } from './answer.js'
import { ToolFailure, type NextcloudOfTool } from './tool.js'
import { parseXml, type XmlElement } from './xml.js'

/** Characters. Normalising takes quadratic time, and Nextcloud's own names are at most 255 long. */
const LONGEST_NAME = 1_024

/** A file, folder, calendar or event in an answer of WebDAV. */
export interface Resource {
  /** Its address as Nextcloud writes it. */
  readonly href: string
  /** Names below the path that was asked for, decoded and composed (NFC). Empty: the very thing. */
  readonly names: readonly string[]
  /** Property → its element, for those that the resource has. */
  readonly properties: ReadonlyMap<string, XmlElement>
}

export interface DavRequest {
  readonly method: 'PROPFIND' | 'REPORT' | 'SEARCH'
  readonly path: string
  /** Path that the names in the answer count from. Default: `path`. */
  readonly below?: string
  readonly depth?: '0' | '1'
  readonly body: string
}

/**
 * Asks a question of WebDAV. Resources whose names are too long to be read are left out.
 *
 * @returns the answer where there is no list in it, and otherwise its resources
 * @throws {ToolFailure} a name in the path is too long, or the list is too large, or not one
 */
export async function askDav(
  { fetch }: NextcloudOfTool,
  { method, path, below = path, depth, body }: DavRequest,
): Promise<{ readonly answer: Response; readonly resources?: readonly Resource[] }> {
  // Nextcloud may be in a folder of its host, which is in its hrefs and not in the path.
  const home = namesIn(decodeURIComponent(below))
  if (home === undefined) throw new ToolFailure(`A name in a path has at most ${LONGEST_NAME} characters.`)
  const headers = { 'content-type': 'text/xml; charset=utf-8', ...(depth !== undefined && { depth }) }
  const answer = await fetch(path, { method, headers, body: `<?xml version="1.0"?>${body}` })
  if (answer.status !== 207) return { answer }
  const text = await readText(answer)
  try {
    return {
      answer,
      resources: childrenOf(parseXml(text), 'response').flatMap((response) => resourceOf(response, home) ?? []),
    }
  } catch {
    throw new ToolFailure('Nextcloud’s answer is not one of WebDAV.')
  }
}

export const childrenOf = ({ children }: XmlElement, name: string): readonly XmlElement[] =>
  children.filter((child) => child.name === name)

export const hasChild = (element: XmlElement | undefined, name: string): boolean =>
  element?.children.some((child) => child.name === name) === true

/** Returns the text of a property; undefined if the resource does not have it. */
export const textOf = ({ properties }: Resource, name: string): string | undefined => properties.get(name)?.text.trim()

function resourceOf(response: XmlElement, home: readonly string[]): Resource | undefined {
  const href = response.children.find(({ name }) => name === 'href')?.text.trim() ?? ''
  const names = namesIn(decoded(href))
  if (names === undefined) return undefined
  const [first = ''] = home
  const start = Math.max(names.indexOf(first), 0)
  const found = childrenOf(response, 'propstat')
    .filter((propstat) => childrenOf(propstat, 'status').some(({ text }) => text.includes(' 200 ')))
    .flatMap((propstat) => childrenOf(propstat, 'prop'))
    .flatMap(({ children }) => children)
  return {
    href,
    names: names.slice(start + home.length),
    properties: new Map(found.map((property) => [property.name, property])),
  }
}

/** A name that is not UTF-8 stays as it is written, because it must not cost the list of all others. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** Undefined: one of them is too long. */
function namesIn(path: string): string[] | undefined {
  const names = path.split('/').filter((name) => name !== '')
  return names.some((name) => name.length > LONGEST_NAME) ? undefined : names.map((name) => name.normalize('NFC'))
}

/** Writes text into XML. Control characters, which no document may hold, are dropped. */
export const inXml = (text: string): string =>
  text
    // eslint-disable-next-line no-control-regex -- XML 1.0 §2.2
    .replace(/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/g, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
