/** Characters. A shorter text may be part of ordinary words, so that hiding it would garble them. */
const SHORTEST_SECRET = 6
/** Takes the place of a secret. */
export const HIDDEN = '…'

/** Whether a text is long enough to be kept out of messages, logs and prints. */
export function isSecret(text: string | undefined): text is string {
  return text !== undefined && text.length >= SHORTEST_SECRET
}

/**
 * Returns the ways in which a server may give back what it was sent: as it is, in a form or a URL, in JSON, and in the base64 of Basic
 * credentials, where it is in a form (RFC 6749 §2.3.1) or as it is (RFC 7617).
 */
export function spellings(secret: string): readonly string[] {
  const inUrl = encodeURIComponent(Buffer.from(secret).toString())
  const inForm = new URLSearchParams([['', secret]]).toString().slice(1)
  const escaped = [inUrl, inForm].flatMap((text) => [text, text.replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase())])
  return [secret, ...escaped, JSON.stringify(secret).slice(1, -1), ...[...new Set([secret, inForm])].flatMap(inBase64)]
}

/**
 * Returns the characters of base64 and base64url that stand for the text alone, for each place among three bytes where it may begin: in
 * Basic credentials a name stands before it.
 */
const inBase64 = (text: string): string[] =>
  [0, 1, 2].flatMap((before) => {
    const bytes = Buffer.from(' '.repeat(before) + text)
    const alone = bytes.toString('base64').slice(Math.ceil((before * 8) / 6), Math.floor((bytes.length * 8) / 6))
    return [alone, alone.replaceAll('+', '-').replaceAll('/', '_')]
  })

/** Returns the text with `mark` in place of each whole secret, however it is spelled. */
export function withoutSecrets(text: string, secrets: Iterable<string | undefined>, mark = HIDDEN): string {
  // No spelling is shorter than its secret. A long token is not spelled for the short texts of a refusal, because strangers send such tokens.
  const fitting = [...secrets].filter((secret) => isSecret(secret) && secret.length <= text.length) as string[]
  // The longest first, because one may be part of another.
  const hidden = [...new Set(fitting.flatMap(spellings))].sort((a, b) => b.length - a.length)
  return hidden.reduce((left, secret) => left.replaceAll(secret, mark), text)
}

/** Returns the text with a blank for each character that is not printable ASCII, so that it fits into one line of a log. */
export function inOneLine(text: string): string {
  return text.replace(/[^\x20-\x7E…]/g, ' ')
}
