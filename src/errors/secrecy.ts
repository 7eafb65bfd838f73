/** Characters. A shorter text may be part of ordinary words, so that hiding it would garble them. */
const SHORTEST_SECRET = 6
/** Takes the place of a secret. */
export const HIDDEN = '…'

/** Whether a text is long enough to be kept out of messages, logs and prints. */
export function isSecret(text: string | undefined): text is string {
  return text !== undefined && text.length >= SHORTEST_SECRET
}

/** Returns the text with `mark` in place of each whole secret. */
export function withoutSecrets(text: string, secrets: Iterable<string | undefined>, mark = HIDDEN): string {
  // The longest first, because one may be part of another.
  const hidden = [...secrets].filter(isSecret).sort((a, b) => b.length - a.length)
  return hidden.reduce((left, secret) => left.replaceAll(secret, mark), text)
}

/** Returns the text with a blank for each character that is not printable ASCII, so that it fits into one line of a log. */
export function inOneLine(text: string): string {
  return text.replace(/[^\x20-\x7E…]/g, ' ')
}
