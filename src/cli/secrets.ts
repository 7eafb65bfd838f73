import { HIDDEN, inOneLine, isSecret, spellings, withoutSecrets } from '../errors/secrecy.js'

/** Keeps secrets out of the report. */
export interface Secrets {
  /** Keeps this out of the report from now on. */
  readonly add: (secret: string | undefined) => void
  /** Keeps a text that anybody may know in quotations, even where it has a part in common with a secret. */
  readonly show: (known: string) => void
  /** Returns a text of the doctor's own without any whole secret. */
  readonly mask: (text: string) => string
  /** Returns a text of another server without any part of a secret, without JWTs, and cut to a bearable length. */
  readonly quote: (text: unknown) => string
}

/** Characters in a row that two texts share only if one quotes the other. */
const QUOTED_PART = 8
const LONGEST_QUOTATION = 200
/** Words of the standards, which weak secrets are made of too. */
const WORDS = [
  'invalid_client',
  'client_secret',
  'client-secret',
  'access_token',
  'refresh_token',
  'Nextcloud',
  'nextcloud',
]

export function createSecrets(): Secrets {
  const known = new Set<string>()
  const parts = new Set<string>()
  const shown = new Set(WORDS.flatMap(partsOf))
  return {
    add(secret) {
      if (!isSecret(secret)) return
      known.add(secret)
      for (const text of spellings(secret)) partsOf(text).forEach((part) => parts.add(part))
    },
    show: (text) => partsOf(text).forEach((part) => shown.add(part)),
    mask: (text) => withoutSecrets(text, known),
    quote(text) {
      const printable = inOneLine(withoutSecrets(typeof text === 'string' ? text : JSON.stringify(text ?? null), known))
      const short = printable.replace(/\beyJ[\w-]{5,}(?:\.[\w-]*)*/g, HIDDEN).slice(0, LONGEST_QUOTATION)
      return withoutParts(short, (part) => parts.has(part) && !shown.has(part))
    },
  }
}

const partsOf = (text: string): string[] =>
  Array.from({ length: Math.max(text.length - QUOTED_PART + 1, 0) }, (_, at) => text.slice(at, at + QUOTED_PART))

function withoutParts(text: string, isHidden: (part: string) => boolean): string {
  const characters = text.split('')
  for (const [at, part] of partsOf(text).entries()) {
    if (isHidden(part)) characters.fill(HIDDEN, at, at + QUOTED_PART)
  }
  return characters.join('').replace(/…+/g, HIDDEN)
}
