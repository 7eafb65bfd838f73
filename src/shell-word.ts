/** Returns a text as one word of a command line, quoted where a shell would read more into it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, String.raw`'\''`)}'`
}
