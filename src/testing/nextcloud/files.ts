import { createHash } from 'node:crypto'

export interface Folder {
  readonly kind: 'folder'
  readonly id: number
  readonly children: Map<string, Folder | File>
}

export interface File {
  readonly kind: 'file'
  readonly id: number
  content: Buffer
  /** With its quotes. */
  etag: string
}

export type Node = Folder | File

let lastId = 0

export const createFolder = (): Folder => ({ kind: 'folder', id: ++lastId, children: new Map() })

export const createFile = (content: Buffer): File => fill({ kind: 'file', id: ++lastId, content, etag: '' }, content)

let writes = 0

/** Gives a file another content, and another etag. */
export function fill(file: File, content: Buffer): File {
  const etag = createHash('md5').update(`${++writes}`).digest('hex')
  return Object.assign(file, { content, etag: `"${etag}"` })
}

/** Names of a path that was decoded. Nextcloud keeps them in composed form (NFC). */
export const namesOf = (path: string): string[] =>
  path
    .normalize('NFC')
    .split('/')
    .filter((name) => name !== '')

/** Returns the last name of a path; no text for the root. */
export const lastOf = (names: readonly string[]): string => names.at(-1) ?? ''

export function find(root: Node, names: readonly string[]): Node | undefined {
  let node: Node | undefined = root
  for (const name of names) node = node?.kind === 'folder' ? node.children.get(name) : undefined
  return node
}

/** Returns the folder that the last name of a path is in. */
export function parentOf(root: Folder, names: readonly string[]): Folder | undefined {
  const node = find(root, names.slice(0, -1))
  return node?.kind === 'folder' ? node : undefined
}

/** Bytes. */
export function sizeOf(node: Node): number {
  if (node.kind === 'file') return node.content.length
  return [...node.children.values()].reduce((sum, child) => sum + sizeOf(child), 0)
}

/** Returns a copy with ids of its own. */
export function copyOf(node: Node): Node {
  if (node.kind === 'file') return createFile(node.content)
  const folder = createFolder()
  for (const [name, child] of node.children) folder.children.set(name, copyOf(child))
  return folder
}
