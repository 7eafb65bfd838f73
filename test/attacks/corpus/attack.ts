import type { InvalidTokenReason } from '../../../src/errors/rejection-details.js'
import type { Forge } from './forge.js'

/** The kinds of attacks, in the order of docs/attacks.md. */
export const GROUPS = {
  algorithm: 'Algorithms: none, HMAC with a public key, switched ones',
  key: 'Keys: named, brought or fetched by the token',
  signature: 'Signatures: of zeros, of other curves, of other forms',
  header: 'Headers: critical, compressed, unencoded, nested, doubled',
  shape: 'Shapes: parts, spellings, encryption, size, depth',
  audience: 'Audience',
  issuer: 'Issuer',
  time: 'Times',
  subject: 'Subject, client, proof of a key',
  kind: 'Other tokens in place of an access token',
  scope: 'Scopes',
  http: 'HTTP',
  routes: 'Paths of the metadata, around the check',
} as const

export type Group = keyof typeof GROUPS

/** The answer to an attack: that to a token with this fault, to no token, to a malformed request; or a status that Node's parser gives. */
export type Refused =
  InvalidTokenReason | 'no token' | 'bad request' | 'scope' | { readonly byNode: number } | 'metadata'

/** One request of an attacker, that must not get through. */
export interface Attack {
  /** What is sent. */
  readonly name: string
  readonly group: Group
  /** The rule that it breaks, or the class of vulnerabilities that it is of. */
  readonly rule: string
  /** The bytes of the request. */
  readonly request: (forge: Forge) => string
  readonly refused: Refused
  /** Answers that are wanted: the last one counts. Default 1. */
  readonly answers?: number
}

/** Attacks by a token: what is wrong with it, the rule, how it is made, how it is refused. */
export type TokenRow = readonly [name: string, rule: string, token: (forge: Forge) => string, refused?: Refused]

/** Returns attacks in which only the token is wrong. */
export function byToken(group: Group, usual: Refused, rows: readonly TokenRow[]): Attack[] {
  return rows.map(([name, rule, token, refused = usual]) => ({
    name,
    group,
    rule,
    refused,
    request: (forge) => get(`Authorization: Bearer ${token(forge)}`),
  }))
}

/** The text of a request that ends its connection, with these lines beside those that each must have. */
export function get(...lines: readonly string[]): string {
  return raw('GET /mcp', ...lines)
}

/** @param target method and target */
export function raw(target: string, ...lines: readonly string[]): string {
  return [`${target} HTTP/1.1`, 'Host: mcp.example.com', 'Connection: close', ...lines, '', ''].join('\r\n')
}
