import { ConfigurationError } from '../errors/errors.js'
import type { Environment } from '../options.js'

/** RFC 6749 §3.3 scope-token: it also keeps scopes safe inside a quoted challenge parameter. */
const SCOPE_TOKEN = /^[\x21\x23-\x5B\x5D-\x7E]+$/

/** Characters. A longer name is no misspelt option, and would cost time. */
const LONGEST_NAME = 40
/** Letters of a name that may be wrong, at most; in a short one fewer. */
const MOST_WRONG = 3
const LETTERS_PER_MISTAKE = 3

export const isScopeToken = (value: unknown): value is string => typeof value === 'string' && SCOPE_TOKEN.test(value)

/** One option as it was given: its value, and a name to complain about that says where the value came from. */
export interface Given {
  readonly value: unknown
  readonly name: string
  readonly option: string
}

/** Throws the error for an option, naming it and, where the value came from there, its environment variable. */
export function refuse(given: Given, problem: string): never {
  throw new ConfigurationError(`${given.name} ${problem}`, given.option)
}

/** The options of one object, with their environment variables; an unknown key is refused by name. */
export function readObject(
  source: unknown,
  known: Readonly<Record<string, true>>,
  environment: Environment,
  prefix = '',
): (key: string, variable?: string) => Given {
  if (source !== undefined && !isPlainObject(source)) {
    throw new ConfigurationError(
      `${prefix.slice(0, -1) || 'options'} must be an object`,
      prefix.slice(0, -1) || undefined,
    )
  }
  for (const key of Object.keys(source ?? {})) {
    if (Object.hasOwn(known, key)) continue
    const near = nearName(key, Object.keys(known))
    const advice = near === undefined ? '' : `: did you mean ${prefix}${near}?`
    throw new ConfigurationError(`${prefix}${key} is not an option${advice}`, `${prefix}${key}`)
  }
  return (key, variable) => {
    const option = `${prefix}${key}`
    const value = source?.[key]
    if (value !== undefined) return { value, name: option, option }
    const text = variable === undefined ? undefined : environment[variable]
    // An empty variable is what a compose file makes of one that is not set.
    if (variable === undefined || text === undefined || text.trim() === '')
      return { value: undefined, name: option, option }
    return { value: text.trim(), name: `${option} (environment variable ${variable})`, option }
  }
}

/** The name that was most likely meant, for an error message; undefined when none is near. */
export function nearName(given: string, names: readonly string[]): string | undefined {
  if (given.length > LONGEST_NAME) return undefined
  const letters = plain(given)
  let nearest: string | undefined
  let tolerated = Math.min(MOST_WRONG, Math.floor(letters.length / LETTERS_PER_MISTAKE))
  for (const name of names) {
    const wrong = editDistance(letters, plain(name))
    if (wrong > tolerated) continue
    nearest = name
    // From now on only what is nearer.
    tolerated = wrong - 1
  }
  return nearest
}

/** `jwks_uri` and `jwksURI` are ways to write `jwksUri`. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z\d]/g, '')
}

/** Letters to put in, leave out or replace (Levenshtein). */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (const [index, letter] of Array.from(one).entries()) {
    const next = [index + 1]
    for (const [at, otherLetter] of Array.from(other).entries()) {
      const replaced = (row[at] ?? 0) + (letter === otherLetter ? 0 : 1)
      next.push(Math.min(replaced, (row[at + 1] ?? 0) + 1, (next[at] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof URL)
}

export function optionalString(given: Given): string | undefined {
  if (given.value === undefined) return undefined
  if (typeof given.value !== 'string' || given.value === '') refuse(given, 'must be a string that is not empty')
  return given.value
}

export function optionalFunction(given: Given): ((...args: never[]) => unknown) | undefined {
  if (given.value === undefined) return undefined
  if (typeof given.value !== 'function') refuse(given, 'must be a function')
  return given.value as (...args: never[]) => unknown
}

export function optionalBoolean(given: Given, otherwise: boolean): boolean {
  if (given.value === undefined) return otherwise
  if (typeof given.value !== 'boolean') refuse(given, 'must be true or false')
  return given.value
}

/** A number of `unit` between 0 (or `least`) and `most`. */
export function optionalNumber(
  given: Given,
  otherwise: number,
  bounds: { unit: string; least?: number; most?: number; whole?: boolean },
): number {
  const { unit, least = 0, most = 2_147_483_647, whole = true } = bounds
  if (given.value === undefined) return otherwise
  const value = given.value
  if (typeof value !== 'number' || !(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
    refuse(given, `must be a ${whole ? 'whole ' : ''}number of ${unit} from ${least} to ${most}`)
  }
  return value
}

/** A list of strings; a single string counts as a list of one, and a variable is split at its commas. */
export function optionalStrings(given: Given, split?: 'commas'): readonly string[] | undefined {
  if (given.value === undefined) return undefined
  let list = given.value
  if (typeof list === 'string') list = split === 'commas' ? list.split(',').map((item) => item.trim()) : [list]
  if (!Array.isArray(list) || list.length === 0 || !list.every((item) => typeof item === 'string' && item !== '')) {
    refuse(given, 'must be a list of strings, with no empty list and no empty string')
  }
  return Object.freeze([...(list as string[])])
}

export function optionalScopes(given: Given): readonly string[] | undefined {
  if (given.value === undefined) return undefined
  const list: unknown = given.value
  if (!Array.isArray(list) || !list.every(isScopeToken)) {
    refuse(given, 'must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3)')
  }
  return Object.freeze([...new Set(list)])
}

/** An http or https URL without credentials and fragment. */
export function optionalUrl(given: Given): URL | undefined {
  if (given.value === undefined) return undefined
  const value = given.value instanceof URL ? given.value.href : given.value
  if (typeof value !== 'string' || !URL.canParse(value)) refuse(given, 'must be an absolute URL')
  const url = new URL(value)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') refuse(given, 'must be an http or https URL')
  if (url.username !== '' || url.password !== '') refuse(given, 'must not hold a user name or password')
  if (url.hash !== '' || value.includes('#')) refuse(given, 'must not have a fragment')
  return url
}

/** Whether plain http is harmless because it never leaves this machine. */
export function isLoopback(url: URL): boolean {
  return url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(url.hostname)
}

export function isSecure(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url))
}
