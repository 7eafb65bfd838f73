/** An element, without its namespace: the properties of WebDAV that are asked for have names of their own. */
export interface XmlElement {
  readonly name: string
  /** The attributes as they are written. */
  readonly attributes: string
  /** All text in it, outside of its children. */
  readonly text: string
  readonly children: readonly XmlElement[]
}

interface Open {
  name: string
  attributes: string
  text: string
  children: Open[]
}

/** Elements within elements: answers of WebDAV have about eight. */
const DEEPEST = 64
const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/**
 * Reads a document as Nextcloud writes it, in linear time. There are no document types, so nothing in it can grow or be fetched.
 *
 * @throws {SyntaxError} it is not well-formed, or has a document type
 */
export function parseXml(text: string): XmlElement {
  const root: Open = { name: '', attributes: '', text: '', children: [] }
  const open = [root]
  for (let at = 0; ;) {
    const here = open.at(-1) ?? root
    const tag = text.indexOf('<', at)
    here.text += decoded(text.slice(at, tag < 0 ? undefined : tag))
    if (tag < 0) break
    at = special(text, tag, here) ?? element(text, tag, open)
  }
  const [first] = root.children
  if (open.length > 1 || first === undefined) throw new SyntaxError('The document is not complete')
  return first
}

/** Reads what is no element; its end, or undefined if it is one. */
function special(text: string, at: number, here: Open): number | undefined {
  if (text.startsWith('<!--', at)) return endOf(text, '-->', at)
  if (text.startsWith('<?', at)) return endOf(text, '?>', at)
  if (text.startsWith('<![CDATA[', at)) {
    const end = endOf(text, ']]>', at)
    here.text += text.slice(at + '<![CDATA['.length, end - ']]>'.length)
    return end
  }
  if (text.startsWith('<!', at)) throw new SyntaxError('The document has a document type')
  return undefined
}

function element(text: string, at: number, open: Open[]): number {
  const end = endOfTag(text, at)
  const isEnd = text[at + 1] === '/'
  const isEmpty = text[end - 2] === '/'
  const inside = text.slice(at + (isEnd ? 2 : 1), end - (isEmpty ? 2 : 1))
  const local = inside.replace(/^[^\s:]*:/, '')
  const nameEnd = local.search(/\s|$/)
  const name = local.slice(0, nameEnd)
  if (isEnd) {
    if (open.length === 1 || open.pop()?.name !== name) throw new SyntaxError('An element ends that has not begun')
    return end
  }
  const begun: Open = { name, attributes: local.slice(nameEnd), text: '', children: [] }
  open.at(-1)?.children.push(begun)
  if (!isEmpty) open.push(begun)
  if (open.length > DEEPEST) throw new SyntaxError('The document is too deep')
  return end
}

/** Returns the place behind a tag. A `>` in the value of an attribute does not end it. */
function endOfTag(text: string, from: number): number {
  for (let at = from; at < text.length; at += 1) {
    const character = text[at]
    if (character === '>') return at + 1
    if (character === '"' || character === "'") at = endOf(text, character, at + 1) - 1
  }
  throw new SyntaxError('A tag does not end')
}

function endOf(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from)
  if (at < 0) throw new SyntaxError(`There is no ${mark}`)
  return at + mark.length
}

function decoded(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(
    /&(?:#x([\da-f]{1,6})|#(\d{1,7})|(\w{2,4}));/gi,
    (whole, hex?: string, decimal?: string, name = '') => {
      if (hex === undefined && decimal === undefined) return NAMED[name as string] ?? whole
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole
    },
  )
}
