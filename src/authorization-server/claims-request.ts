import { withoutSecrets } from '../errors/secrecy.js'
import { isJsonObject, parseObject } from '../json.js'

/** Characters of the JSON, which a header must hold. */
const LONGEST = 1_500
const LONGEST_STRING = 500
const DEEPEST = 5
/** Names of claims and of the demands on them; `__proto__` is not one. */
const NAME = /^[A-Za-z][\w.:/-]{0,99}$/
/** OIDC Core §5.5, and the one that Entra adds. */
const MEMBERS = ['access_token', 'id_token', 'userinfo']
/** For these base64 has letters at some places that base64url and some headers do not have. */
const UNSAFE = /[^\x20-\x7E]|[>?~]/g

/**
 * Returns the claims request of an error answer, which goes on to the MCP client in a header. It is rebuilt from its JSON, so that
 * nothing else gets through, in a base64 that is also base64url.
 *
 * @param secrets what was in the request: none of it may come back
 */
export function readClaimsRequest(value: unknown, secrets: readonly (string | undefined)[]): string | undefined {
  if (typeof value !== 'string' || value.length > LONGEST) return undefined
  const request = copy(parseObject(value), DEEPEST)
  if (!isJsonObject(request) || !Object.keys(request).every((name) => MEMBERS.includes(name))) return undefined
  if (!isJsonObject(request['access_token']) && !isJsonObject(request['id_token'])) return undefined
  const json = JSON.stringify(request)
  if (withoutSecrets(json, secrets) !== json) return undefined
  const ascii = json.replace(UNSAFE, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  // Blanks at the end instead of padding, which not every reader of a header takes.
  const padded = ascii.padEnd(Math.ceil(ascii.length / 3) * 3)
  return padded.length > LONGEST ? undefined : Buffer.from(padded).toString('base64')
}

/** Returns undefined if there is something in it that no claims request has. */
function copy(value: unknown, depth: number): unknown {
  if (typeof value === 'boolean' || typeof value === 'number' || value === null) return value
  if (typeof value === 'string') return value.length <= LONGEST_STRING ? value : undefined
  if (typeof value !== 'object' || depth === 0) return undefined
  if (Array.isArray(value)) {
    const items = value.map((item) => copy(item, depth - 1))
    return items.includes(undefined) ? undefined : items
  }
  const entries = Object.entries(value).map(([name, item]) => [name, copy(item, depth - 1)] as const)
  if (entries.some(([name, item]) => !NAME.test(name) || item === undefined)) return undefined
  return Object.fromEntries(entries)
}
