import type { IncomingMessage } from 'node:http'
import { InvalidRequestError, UnauthorizedError } from '../errors/errors.js'
import { withoutWhitespace } from './whitespace.js'

/** The schemes that tokens come in, as they begin (RFC 6750 §2.1, RFC 9449 §7.1). */
export type TokenScheme = 'bearer ' | 'dpop '

const TWO_HEADERS =
  'the request has two Authorization headers: a proxy adds one of its own, such as Basic credentials: have it pass on that of the client alone'
const JOINED_HEADERS =
  'the Authorization header has a comma in it: a proxy has joined two of these headers into one: have it pass on that of the client alone'
const MORE_THAN_A_TOKEN =
  'the Authorization header has a blank behind or in the token: the client must send the scheme once, the token, and nothing else'

/**
 * Returns the `Authorization` header of a request. A token in the query string or the body is ignored (MCP 2025-11-25, authorization,
 * token requirements).
 *
 * @throws {UnauthorizedError} there is none
 * @throws {InvalidRequestError} there are two
 */
export function readAuthorization(req: IncomingMessage): string {
  if (hasTwoAuthorizationHeaders(req)) throw new InvalidRequestError(TWO_HEADERS)
  const header = req.headers.authorization
  if (header === undefined) throw new UnauthorizedError()
  return header
}

/**
 * Returns the text behind a scheme in an `Authorization` header; undefined if the header has another scheme. The verifier says whether it
 * is a token.
 *
 * @throws {InvalidRequestError} something follows the token
 */
export function parseToken(header: string, scheme: TokenScheme): string | undefined {
  const value = withoutWhitespace(header)
  // RFC 9110 §11.1: the scheme is case-insensitive.
  if (value.slice(0, scheme.length).toLowerCase() !== scheme) return undefined
  const token = withoutWhitespace(value.slice(scheme.length))
  // One by one, because a pattern takes several times as long. Whitespace in a field is a space or a tab (RFC 9110 §5.6.3).
  if (token.includes(',')) throw new InvalidRequestError(JOINED_HEADERS)
  if (token.includes(' ') || token.includes('\t')) throw new InvalidRequestError(MORE_THAN_A_TOKEN)
  return token
}

/** Node keeps the first of two and drops the other, but another hop may have judged by the second. */
function hasTwoAuthorizationHeaders({ rawHeaders }: Partial<IncomingMessage>): boolean {
  let found = false
  // Test doubles of a request often have none.
  if (rawHeaders === undefined) return false
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length === 13 && name.toLowerCase() === 'authorization') {
      if (found) return true
      found = true
    }
  }
  return false
}
