import { MODES, type NextcloudMode } from '../modes.js'
import type { HttpOptions, IssuerOptions, McpAuthOptions, NextcloudOptions } from '../options.js'
import type { StorageAdapter } from '../storage-adapter.js'
import { type Given, isPlainObject, isScopeToken, refuse } from './values.js'

/** A kind of value as the rooms work with it. */
export interface Kind<T> {
  /** Checks a value that is given, and reads it. */
  readonly check: (given: Given) => T
  /** Reads the text of a command line or of a variable of the environment. Missing: the text is the value. */
  readonly fromText?: (text: string) => unknown
  /** Reads the texts of an option that a command line may have several times. */
  readonly fromTexts?: (texts: readonly string[]) => unknown
  /** Unit of a number, in plural. */
  readonly unit?: string
  /** The values that there are, as code has them, where they are few. */
  readonly values?: readonly string[]
}

/** A kind of value for which `G` may be given. */
export interface KindOf<T, G = T> extends Kind<T> {
  /** Never set. It ties the declaration of an option to its type in the public interface. */
  readonly takes?: (given: G) => G
}

/** Values that pass one test, as they are. */
const only = <T>(passes: (value: unknown) => boolean, problem: string): KindOf<T> => ({
  check: (given) => (passes(given.value) ? (given.value as T) : refuse(given, problem)),
})

/** A value that is checked elsewhere. */
export const anything: KindOf<unknown> = { check: ({ value }) => value }

export const text = only<string>(
  (value) => typeof value === 'string' && value !== '',
  'must be a string that is not empty',
)

export const truth: KindOf<boolean> = {
  ...only<boolean>((value) => typeof value === 'boolean', 'must be true or false'),
  fromText: (word) => [true, false].find((value) => String(value) === word) ?? word,
}

/** A function, whose parameters and result only the compiler can check. */
export const callback = <F extends (...args: never[]) => unknown>(): KindOf<F> =>
  only((value) => typeof value === 'function', 'must be a function')

/** One of a few values. */
export function oneOf<const V extends readonly (string | false)[]>(...values: V): KindOf<V[number]> {
  const shown = values.map((value) => (value === false ? 'false' : `'${value}'`))
  const list = `${shown.slice(0, -1).join(', ')} or ${shown.slice(-1).join()}`
  return {
    check: (given) => values.find((value) => value === given.value) ?? refuse(given, `must be ${list}`),
    fromText: (word) => values.find((value) => String(value) === word) ?? word,
    values: shown,
  }
}

/** A number of `unit` from `least` (default 0) to `most`. */
export function number(bounds: { unit: string; least?: number; most?: number; whole?: boolean }): KindOf<number> {
  const { unit, least = 0, most = 2_147_483_647, whole = true } = bounds
  return {
    check(given) {
      const { value } = given
      if (typeof value !== 'number' || !(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
        refuse(given, `must be a ${whole ? 'whole ' : ''}number of ${unit} from ${least} to ${most}`)
      }
      return value
    },
    fromText: (word) => (word.trim() === '' ? NaN : Number(word)),
    unit,
  }
}

const atCommas = (words: string): string[] => words.split(',').map((word) => word.trim())
const fromTexts = (texts: readonly string[]): string[] => texts.flatMap(atCommas)

function listOfStrings(given: Given, list: unknown): readonly string[] {
  if (!Array.isArray(list) || list.length === 0 || !list.every((item) => typeof item === 'string' && item !== '')) {
    refuse(given, 'must be a list of strings, with no empty list and no empty string')
  }
  return Object.freeze([...(list as string[])])
}

/** A list of strings. A single string counts as a list of one. */
export const strings: KindOf<readonly string[], string | readonly string[]> = {
  check: (given) => listOfStrings(given, typeof given.value === 'string' ? [given.value] : given.value),
  fromTexts,
}

/** A list of strings, which a single string has between commas. */
export const commaStrings: KindOf<readonly string[]> = {
  check: (given) => listOfStrings(given, typeof given.value === 'string' ? atCommas(given.value) : given.value),
  fromTexts,
}

export const scopes: KindOf<readonly string[]> = {
  check(given) {
    const list = given.value
    if (!Array.isArray(list) || !list.every(isScopeToken)) {
      refuse(given, 'must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3)')
    }
    return Object.freeze([...new Set(list)])
  },
  fromTexts,
  // As `scope` has them (RFC 6749 section 3.3): a comma may be part of one.
  fromText: (words) => words.split(/\s+/),
}

/** An object of strings, without the names that are set elsewhere. */
export function parameters(own: readonly string[]): KindOf<Readonly<Record<string, string>>> {
  return {
    check(given) {
      if (!isPlainObject(given.value)) refuse(given, 'must be an object of strings')
      for (const [name, value] of Object.entries(given.value)) {
        if (typeof value !== 'string') refuse(given, `must be an object of strings, which ${name} is not`)
        if (own.includes(name)) refuse(given, `must not hold ${name}, which has an option of its own or is set here`)
      }
      return Object.freeze({ ...(given.value as Record<string, string>) })
    },
    fromTexts: (texts): Readonly<Record<string, string>> =>
      Object.fromEntries(texts.map((pair) => [pair.replace(/=.*/s, ''), pair.slice(pair.indexOf('=') + 1)])),
  }
}

/** An http or https URL without credentials and fragment. */
export const url: KindOf<URL, string | URL> = {
  check(given) {
    const value = given.value instanceof URL ? given.value.href : given.value
    if (typeof value !== 'string' || !URL.canParse(value)) refuse(given, 'must be an absolute URL')
    const parsed = new URL(value)
    if (parsed.protocol !== 'https:' && parsed.protocol !== 'http:') refuse(given, 'must be an http or https URL')
    if (parsed.username !== '' || parsed.password !== '') refuse(given, 'must not hold a user name or password')
    if (parsed.hash !== '' || value.includes('#')) refuse(given, 'must not have a fragment')
    return parsed
  },
}

/** A list of such URLs, as they are written. */
export const urls: KindOf<readonly string[]> = {
  check(given) {
    const list = listOfStrings(given, given.value)
    for (const value of list) url.check({ ...given, value })
    return list
  },
  fromTexts,
}

/** A list of issuers, each of which is read with what it leaves out (see `readEntries`). */
export const entries = only<readonly IssuerOptions[]>(
  (value) => Array.isArray(value) && value.length > 0 && value.every(isPlainObject),
  'must be a list of objects, each with issuer, and not be empty',
)

/** The text of such a URL. */
export const href: KindOf<string, string | URL> = { check: (given) => url.check(given).href }

/** Every asymmetric JWS algorithm of jose. */
export const ASYMMETRIC_ALGORITHMS: readonly string[] = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'Ed25519', 'EdDSA'],
  ...['ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'],
]

export const algorithms: KindOf<readonly string[]> = {
  fromTexts,
  check(given) {
    const list = strings.check(given)
    const other = list.find((algorithm) => !ASYMMETRIC_ALGORITHMS.includes(algorithm))
    if (other === undefined) return list
    refuse(given, `must list asymmetric JWS algorithms only (${ASYMMETRIC_ALGORITHMS.join(', ')}), not ${other}`)
  },
}

const modeByName = oneOf(...(Object.keys(MODES) as NextcloudMode[]))

/** Variables of the Python nextcloud-mcp-server: their values, and the problem with any other. */
const MODE_VARIABLES: Readonly<Record<string, { values: ReadonlyMap<unknown, NextcloudMode>; problem: string }>> = {
  // It said whether tokens are exchanged or sent on.
  ENABLE_TOKEN_EXCHANGE: {
    values: new Map([
      ['true', 'token-exchange'],
      ['false', 'pass-through'],
    ]),
    problem:
      'must be true (token-exchange mode) or false (pass-through mode); refresh-token mode comes with the option storage',
  },
  MCP_DEPLOYMENT_MODE: {
    values: new Map([['login_flow', 'app-password']]),
    problem: `must be login_flow (app-password mode). Unset it for any other mode:
- single_user_basic, multi_user_basic: passwords of Nextcloud are not taken from variables or headers; login_flow gives each user an app password of their own
- oauth_single_audience: ENABLE_TOKEN_EXCHANGE=false (pass-through mode), or login_flow, as that server does now
- oauth_token_exchange: ENABLE_TOKEN_EXCHANGE=true (token-exchange mode)`,
  },
}

export const mode: KindOf<NextcloudMode> = {
  ...modeByName,
  check(given) {
    const variable = MODE_VARIABLES[given.variable ?? '']
    if (variable === undefined) return modeByName.check(given)
    return variable.values.get(String(given.value).toLowerCase()) ?? refuse(given, variable.problem)
  },
}

type NextcloudScopes = Exclude<NextcloudOptions['scopes'], undefined>
export const scopesOrFunction: KindOf<NextcloudScopes> = {
  fromTexts,
  check: (given) => (typeof given.value === 'function' ? (given.value as NextcloudScopes) : scopes.check(given)),
}

type MissingAudience = Exclude<McpAuthOptions['missingAudience'], undefined>
export const missingAudience: KindOf<MissingAudience> = {
  ...only<MissingAudience>(
    (value) => value === 'reject' || value === 'client' || typeof value === 'function',
    "must be 'reject' or 'client', or a function",
  ),
  values: ["'reject'", "'client'", '(claims) => boolean'],
}

export const adapter = only<StorageAdapter>((value) => {
  const { get, put, delete: remove, shared } = Object(value) as Partial<Record<keyof StorageAdapter, unknown>>
  return [get, put, remove].every((method) => typeof method === 'function') && typeof shared === 'boolean'
}, 'must be a StorageAdapter: with get, put and delete, and with shared, which is true or false')

export const path = only<string>(
  (value) => typeof value === 'string' && /^(?:\/[\w~!$&'()*+,;=:@-][\w.~!$&'()*+,;=:@-]*)+$/.test(value),
  'must be a path such as /nextcloud: with a slash at its start, none at its end, and nothing encoded',
)

export const agent = only<Exclude<HttpOptions['agent'], undefined>>(
  (value) => typeof value === 'function' || (typeof value === 'object' && value !== null),
  'must be an http.Agent or a function that returns one',
)
