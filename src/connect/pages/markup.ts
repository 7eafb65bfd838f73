/** Safe HTML: {@link markup} made it from fixed text, and escaped everything else. */
export interface Markup {
  readonly html: string
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/**
 * Writes HTML. Strings and numbers are escaped for the two places where they may stand: text and quoted attributes. Only other
 * {@link Markup}, and lists of it, go in as they are.
 */
export function markup(
  fixed: TemplateStringsArray,
  ...values: readonly (string | number | Markup | readonly Markup[] | undefined)[]
): Markup {
  return { html: fixed.reduce((text, part, index) => text + written(values[index - 1]) + part) }
}

function written(value: string | number | Markup | readonly Markup[] | undefined): string {
  if (value === undefined) return ''
  if (typeof value === 'object') return 'html' in value ? value.html : value.map(({ html }) => html).join('')
  return String(value).replace(/[&<>"']/g, (character) => String(ENTITIES[character]))
}

/**
 * Writes a name from outside as text that stays in its place: on one line, at most `longest` characters long, and without
 * characters that are invisible or turn the direction of the text around them (the attack of Unicode TR36 §2.5).
 */
export function shownName(name: string, longest: number, otherwise: string): Markup {
  const readable = readableText(name)
  const characters = Array.from(readable)
  const cut = characters.length > longest ? `${characters.slice(0, longest - 1).join('')}…` : readable
  return markup`<bdi>${cut === '' ? otherwise : cut}</bdi>`
}

/** Writes a host. The end of a host counts, so one that is too long loses its beginning. */
export function shownHost(host: string): Markup {
  const readable = readableText(host)
  // RFC 1035 §2.3.4, and a port.
  return markup`<bdi>${readable.length > 260 ? `…${readable.slice(-259)}` : readable}</bdi>`
}

function readableText(text: string): string {
  return (
    text
      .replace(/\p{Surrogate}/gu, '\u{FFFD}')
      // Zero-width joiners and variation selectors stay: Persian, Indic scripts and emoji are written with them.
      .replace(/(?!\u200C|\u200D|\uFE0E|\uFE0F)\p{Default_Ignorable_Code_Point}|[\uFFF9-\uFFFB]/gu, '')
      .replace(/[\s\p{Cc}\u2800]+/gu, ' ')
      // Marks piled up would cover the lines above and below.
      .replace(/(\p{Mark}{4})\p{Mark}+/gu, '$1')
      .replace(/^[\s\p{Mark}\u200C\u200D]+| $/gu, '')
  )
}
