/** Keeps what must not be seen out of what is printed. */
export interface Secrets {
  /** Nothing of this is printed from now on. */
  readonly add: (secret: string | undefined) => void
  /** Text of the doctor's own, without any whole secret. */
  readonly mask: (text: string) => string
  /** Text of somebody else's, without any part of a secret or whatever looks like one, and of bearable length. */
  readonly quote: (text: unknown) => string
}

/** Characters. What is shorter is part of ordinary words. */
const SHORTEST_SECRET = 6
/** Characters in a row that two texts share only where one quotes the other. */
const QUOTED_PART = 8
const LONGEST_QUOTATION = 200

export function createSecrets(): Secrets {
  const known = new Set<string>()
  const parts = new Set<string>()

  return {
    add(secret) {
      if (secret === undefined || secret.length < SHORTEST_SECRET) return
      for (const form of new Set([secret, encodeURIComponent(secret)])) {
        known.add(form)
        for (let at = 0; at + QUOTED_PART <= form.length; at += 1) parts.add(form.slice(at, at + QUOTED_PART))
      }
    },
    mask: withoutKnown,
    quote(text) {
      const printable = withoutKnown(typeof text === 'string' ? text : JSON.stringify(text ?? null)).replace(
        /[^\x20-\x7E…]/g,
        ' ',
      )
      const shown = printable.replace(/\beyJ[\w-]{5,}(?:\.[\w-]*)*/g, '…').slice(0, LONGEST_QUOTATION)
      return withoutParts(shown)
    },
  }

  function withoutKnown(text: string): string {
    let left = text
    // The longest first, since one may be part of another.
    for (const secret of [...known].sort((a, b) => b.length - a.length)) left = left.replaceAll(secret, '…')
    return left
  }

  function withoutParts(text: string): string {
    const hidden = new Set<number>()
    for (let at = 0; at + QUOTED_PART <= text.length; at += 1) {
      if (!parts.has(text.slice(at, at + QUOTED_PART))) continue
      for (let offset = 0; offset < QUOTED_PART; offset += 1) hidden.add(at + offset)
    }
    return text
      .split('')
      .map((character, index) => (hidden.has(index) ? '…' : character))
      .join('')
      .replace(/…+/g, '…')
  }
}
