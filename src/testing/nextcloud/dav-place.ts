import { empty, type Asked, type Told } from './exchange.js'
import { ALLOWS, askedProperties, HAS_FEATURES, hrefOf, multistatus, sabre, type Resource } from './dav-answers.js'
import { lastOf, namesOf, sizeOf, type Folder, type Node } from './files.js'
import type { Account } from './state.js'

/** A place in the tree of WebDAV that somebody may use. */
export interface Place {
  readonly account: Account
  readonly root: Folder
  /** Decoded names behind the root. */
  readonly names: readonly string[]
  /** The path of the root, with the folder that Nextcloud is in. */
  readonly prefix: string
}

export const notImplemented = ({ method }: Asked): Told =>
  sabre(501, 'NotImplemented', `There was no plugin in the system that was willing to handle this ${method} method.`)

export const options = (): Told => empty(200, { ...ALLOWS, ...HAS_FEATURES })

/** Answers a PROPFIND for a node and, at a depth, for what is in it. */
export function propfind(asked: Asked, { prefix, account }: Place, names: readonly string[], node: Node): Told {
  const properties = askedProperties(asked)
  if (properties === undefined) {
    const [, tag = ''] = /<(\w+)/.exec(asked.body) ?? []
    const words = `Couldn't find end of Start Tag ${tag}\n on line 1, column 10`
    return sabre(400, 'BadRequest', words)
  }
  const path = names.join('/')
  const deep = (asked.headers['depth'] ?? '0') === '0' ? 0 : asked.headers['depth'] === '1' ? 1 : Infinity
  return multistatus(resourcesOf(prefix + path, node, account, deep), properties)
}

function resourcesOf(path: string, node: Node, account: Account, deep: number): Resource[] {
  const isFolder = node.kind === 'folder'
  const at = isFolder && !path.endsWith('/') ? `${path}/` : path
  const here = { href: hrefOf(at), properties: propertiesOf(at, node, account) }
  if (!isFolder || deep === 0) return [here]
  const children = [...node.children].flatMap(([name, child]) => resourcesOf(at + name, child, account, deep - 1))
  return [here, ...children]
}

function propertiesOf(path: string, node: Node, { quota, files }: Account): Record<string, string> {
  const name = lastOf(namesOf(path))
  const common = { 'd:displayname': name, 'oc:fileid': `${node.id}`, 'oc:size': `${sizeOf(node)}` }
  if (node.kind === 'file')
    return { ...common, 'd:resourcetype': '', 'd:getcontentlength': `${node.content.length}`, 'd:getetag': node.etag }
  const used = sizeOf(files)
  const left = quota === undefined ? -3 : Math.max(quota - used, 0)
  const quotas = { 'd:quota-available-bytes': `${left}`, 'd:quota-used-bytes': `${used}` }
  return { ...common, 'd:resourcetype': '<d:collection/>', ...quotas }
}
