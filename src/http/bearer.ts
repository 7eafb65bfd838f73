import type { IncomingMessage } from 'node:http'
import { InvalidRequestError, UnauthorizedError } from '../errors/errors.js'

const SCHEME = 'bearer '

/**
 * Returns the access token of a request, from its `Authorization` header only: a token in the query string or the body is ignored
 * (MCP 2025-11-25, authorization, token requirements).
 *
 * @throws {UnauthorizedError} there are no Bearer credentials
 * @throws {InvalidRequestError} there are two `Authorization` headers, or something follows the token
 */
export function readBearerToken(req: IncomingMessage): string {
  if (hasTwoAuthorizationHeaders(req)) throw new InvalidRequestError()
  const header = req.headers.authorization
  return header === undefined ? noCredentials() : parseBearer(header)
}

/** Returns the text behind the scheme in an `Authorization` header. The verifier says whether it is a token. */
export function parseBearer(header: string): string {
  const value = header.trim()
  // RFC 9110 §11.1: the scheme is case-insensitive.
  if (value.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return noCredentials()
  const token = value.slice(SCHEME.length).trimStart()
  // A comma joins two headers that some proxy merged into one; whitespace in a field is a space or a tab (RFC 9110 §5.6.3).
  // One by one, because a pattern takes several times as long.
  if (token.includes(',') || token.includes(' ') || token.includes('\t')) throw new InvalidRequestError()
  return token
}

function noCredentials(): never {
  throw new UnauthorizedError()
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
