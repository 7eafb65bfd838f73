const SPACE = 32
const TAB = 9

/**
 * Returns a part of a header field without the whitespace around it: spaces and tabs, and nothing else (RFC 9110 §5.6.3). `trim` takes
 * a no-break space too: a proxy, or a browser with its `__Host-` cookies, would have seen another name than this server.
 */
export function withoutWhitespace(text: string): string {
  let start = 0
  let end = text.length
  while (isWhitespace(text.charCodeAt(start))) start += 1
  while (isWhitespace(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

const isWhitespace = (code: number): boolean => code === SPACE || code === TAB
