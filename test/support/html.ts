/** Returns the attributes in a tag. */
export function attributesOf(text: string): Record<string, string> {
  const found = [...text.matchAll(/([\w-]+)="([^"]*)"/g)]
  return Object.fromEntries(found.map(([, name = '', value = '']) => [name, value.replaceAll('&amp;', '&')]))
}

/** Returns the words of a page, without its markup. */
export function wordsOf(html: string): string {
  return html
    .replaceAll(/<(script|style|title)\b.*?<\/\1>|<[^>]*>/gs, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
}
