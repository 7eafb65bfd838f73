import { withoutSecrets } from './secrecy.js'

/** The whole text that the client is answered, by reason. */
export const INVALID_TOKEN_DESCRIPTIONS = {
  malformed: 'The access token is malformed',
  too_large: 'The access token is too large',
  opaque: 'The access token is not a JWT and cannot be introspected here',
  signature: 'The signature of the access token is not valid',
  algorithm: 'The access token is signed with an algorithm that is not accepted',
  key: 'The access token is signed with a key that the issuer does not publish',
  issuer: 'The access token is from another issuer',
  audience: 'The access token is for another audience',
  expired: 'The access token has expired',
  not_yet_valid: 'The access token is not valid yet',
  missing_claim: 'The access token lacks a required claim',
  token_type: 'The token is not an access token',
  sender_constrained: 'The access token is bound to a key and came without proof of it',
  not_bound: 'The access token is not bound to a key as it has to be here',
  client: 'The client of the access token is not allowed here',
  inactive: 'The access token is not active',
  claims: 'The claims of the access token are not accepted here',
} as const

/** The whole text that the client is answered about its DPoP proof, by the fault of it. */
export const DPOP_PROOF_DESCRIPTIONS = {
  missing: 'The request has no DPoP proof',
  several: 'The request has more than one DPoP proof',
  too_large: 'The DPoP proof is too large',
  malformed: 'The DPoP proof is malformed',
  typ: 'The DPoP proof is of another type',
  algorithm: 'The DPoP proof is signed with an algorithm that is not accepted',
  jwk: 'The jwk of the DPoP proof is not a public key',
  signature: 'The signature of the DPoP proof is not valid',
  missing_claim: 'The DPoP proof lacks a required claim',
  htm: 'The DPoP proof is for another method',
  htu: 'The DPoP proof is for another URL',
  ath: 'The DPoP proof is for another access token',
  iat: 'The DPoP proof is from a time too far from now',
  jti: 'The DPoP proof has been used before',
} as const

/** The fault of a DPoP proof (RFC 9449 §4.3). */
export type DpopProofFault = keyof typeof DPOP_PROOF_DESCRIPTIONS

/** The reason why an access token was rejected. */
export type InvalidTokenReason = keyof typeof INVALID_TOKEN_DESCRIPTIONS

/** A value of a claim, fit for a log: text is cut at 200 characters, and holds no control or invisible character and no token. */
export type ShownValue = string | number | boolean | null

/**
 * The particulars of a rejection, for the operator and never for the answer to the client. Values are those of single claims, ten
 * at most; times are in ISO 8601.
 */
export interface RejectionDetails {
  /** All of it in one plain sentence, in one line, ready for a log. */
  readonly message: string
  /**
   * Whether the values found are from a token that the authorization server has signed or vouched for. If false, anyone can have
   * written them. Absent if there is no token.
   */
  readonly verified?: boolean
  /** The claim (or `alg`, `kid`, `typ` of the JOSE header, or `token_type` of an introspection answer) that is at fault. */
  readonly claim?: string
  /** The values expected of it. One of several would have done; of scopes all are needed. */
  readonly expected?: readonly ShownValue[]
  /** Its values in the token. */
  readonly found?: readonly ShownValue[]
}

/** The particulars of a rejection in raw values, which become {@link RejectionDetails} when they are read. */
export interface Fault {
  readonly verified?: boolean
  readonly claim?: string
  readonly expected?: unknown
  readonly found?: unknown
  /** Writes the message from the values as shown: a list in brackets, strings in quotes. `show` does the same with any value. */
  readonly sentence: (found: string, expected: string, show: (value: unknown) => string) => string
  /** The remedy, which ends the sentence. */
  readonly advice?: string
}

/** Characters of one value, and values of one list. */
const LONGEST_VALUE = 200
const MOST_VALUES = 10
/** Characters. A shorter segment of a token is worth nothing by itself. */
const SHORTEST_SEGMENT = 16
/**
 * The beginning of a JWT, a JWS or a JWE: base64url of `{"`, and a dot somewhere. Each run of such characters is searched once, and only if a
 * dot ends it: without that the search would take time by the square of a claim that anyone can write.
 */
const LIKE_A_TOKEN = /(?<![\w-])(?=[\w-]+\.)([\w-]*?)ey[JAIK][\w-]{6,}\.[\w.~+/=-]*/g
/** Characters that control, forge or turn lines, or have no width or no meaning (lone surrogates, private use). */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu

/** @param token the token at fault, which no value may show, even if an introspection answer repeats it */
export function readRejectionDetails(fault: Fault, token?: string): RejectionDetails {
  const secrets = token === undefined ? [] : secretsOf(token)
  const { verified, claim } = fault
  const found = shownValues(fault.found, secrets)
  const expected = shownValues(fault.expected, secrets)
  const show = (value: unknown): string => inWords(value, shownValues(value, secrets))
  const sentence = fault.sentence(inWords(fault.found, found), inWords(fault.expected, expected), show)
  return {
    ...(verified !== undefined && { verified }),
    ...(claim !== undefined && { claim }),
    ...(expected !== undefined && { expected }),
    ...(found !== undefined && { found }),
    message: fault.advice === undefined ? sentence : `${sentence}: ${fault.advice}`,
  }
}

/** Scopes that are missing from a verified token. */
export function scopeFault(required: readonly string[], granted: readonly string[] | undefined): Fault {
  return {
    verified: true,
    claim: 'scope',
    expected: required,
    found: granted,
    sentence: (found, expected) => `scope is ${found} and this operation needs ${expected}`,
    advice: isShortened(required, granted) ? SHORTENED : NOT_GRANTED,
  }
}

const NOT_GRANTED =
  'the authorization server has not granted what is missing: define it there as a scope, and let the MCP client have it (Keycloak: a client scope of that name, at the client); the 403 tells the client to ask for it. If requests should not need it, remove it from requiredScopes (for one route or tool: from auth.requireScopes() or scopedTools())'
const SHORTENED =
  "the token has their last parts alone, as Entra shortens them: set scopeSatisfies to (granted, required) => granted.includes(required.split('/').at(-1) ?? ''), which compares those (docs/entra.md)"

/** Whether all that is missing is there without what stands before its last slash. */
function isShortened(required: readonly string[], granted: readonly string[] = []): boolean {
  const missing = required.filter((scope) => !granted.includes(scope))
  return missing.every((scope) => scope.includes('/') && granted.includes(scope.slice(scope.lastIndexOf('/') + 1)))
}

/** Returns the seconds of a claim as ISO 8601, or the value as it is if it is not a number or no calendar goes that far. */
export function isoTime(seconds: unknown): unknown {
  const date = new Date(typeof seconds === 'number' ? seconds * 1_000 : NaN)
  return Number.isNaN(date.getTime()) ? seconds : date.toISOString().replace('.000Z', 'Z')
}

function shownValues(value: unknown, secrets: readonly string[]): readonly ShownValue[] | undefined {
  if (value === undefined) return undefined
  const values: readonly unknown[] = Array.isArray(value) ? value : [value]
  return values.slice(0, MOST_VALUES).map((each) => shownValue(each, secrets))
}

function shownValue(value: unknown, secrets: readonly string[]): ShownValue {
  if (typeof value === 'string') return shownText(value, secrets)
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (typeof value === 'boolean' || value === null) return value
  return Array.isArray(value) ? '[a list]' : '[an object]'
}

function shownText(text: string, secrets: readonly string[]): string {
  const safe = withoutSecrets(text, secrets, '[token]').replace(LIKE_A_TOKEN, '$1[token]')
  // Cut first, since that can leave half of a character behind.
  const cut = safe.length > LONGEST_VALUE ? `${safe.slice(0, LONGEST_VALUE - 1)}…` : safe
  return printable(cut)
}

/** Returns a text in which every character that could forge or turn a line is another one. */
export const printable = (text: string): string => text.replace(UNPRINTABLE, '\uFFFD')

/** Returns JSON of the same meaning in which each such character is escaped, but for the newlines between members. */
export const printableJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, undefined, indent).replace(UNPRINTABLE, (character) =>
    character === '\n'
      ? character
      : character.replace(/./gs, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )

/** Returns the token and those parts of it that are worth something by themselves. */
function secretsOf(token: string): string[] {
  return [token, ...token.split('.').filter((segment) => segment.length >= SHORTEST_SEGMENT)]
}

function inWords(raw: unknown, shown: readonly ShownValue[] | undefined): string {
  const words = (shown ?? []).map((value) => JSON.stringify(value))
  if (!Array.isArray(raw)) return words[0] ?? 'missing'
  const more = raw.length - words.length
  return `[${words.join(', ')}${more > 0 ? ` and ${more} more` : ''}]`
}
