import { ConfigurationError } from '../errors/errors.js'
import type { Environment } from '../options.js'

/** RFC 6749 §3.3 scope-token: it also keeps scopes safe inside a quoted challenge parameter. */
const SCOPE_TOKEN = /^[\x21\x23-\x5B\x5D-\x7E]+$/

/** Characters. A longer name is not a misspelt option, and would cost time. */
const LONGEST_NAME = 40
/** Letters of a name that may be wrong at most, and the letters of a short name for each wrong one. */
const MOST_WRONG = 3
const LETTERS_PER_MISTAKE = 3

export const isScopeToken = (value: unknown): value is string => typeof value === 'string' && SCOPE_TOKEN.test(value)

/** Returns the scopes that this server may name to clients: `offline_access` is not for a resource server (MCP 2026-07-28, authorization). */
export const advertisedScopes = (scopes: readonly string[]): readonly string[] =>
  scopes.filter((scope) => scope !== 'offline_access')

/** One option as it was given. */
export interface Given {
  readonly value: unknown
  /** The name for messages, which says if the value came from an environment variable. */
  readonly name: string
  readonly option: string
  /** The environment variable that the value came from. Undefined: the option itself was given, or nothing. */
  readonly variable?: string
}

/** Throws the error for an option, by the name of the option and of the environment variable that the value came from. */
export function refuse(given: Given, problem: string): never {
  throw new ConfigurationError(`${given.name} ${problem}`, given.option)
}

/**
 * Looks up the options of one object, and the environment variables of those that are not given.
 *
 * @param object the object as it was given; without a name (`option`), it is all of them together
 * @param known its options, with their environment variables, of which the first that is set counts
 * @throws {ConfigurationError} a key is unknown, or the object is not one
 */
export function readObject(
  { value: source, option: name }: Pick<Given, 'value' | 'option'>,
  known: Readonly<Record<string, { readonly environment?: string | readonly string[] }>>,
  environment: Environment,
): (key: string) => Given {
  if (source !== undefined && !isPlainObject(source)) {
    throw new ConfigurationError(`${name || 'options'} must be an object`, name || undefined)
  }
  const prefix = name === '' ? '' : `${name}.`
  for (const key of Object.keys(source ?? {})) {
    if (Object.hasOwn(known, key)) continue
    const near = nearName(key, Object.keys(known))
    const advice = near === undefined ? '' : `: did you mean ${prefix}${near}?`
    throw new ConfigurationError(`${prefix}${key} is not an option${advice}`, `${prefix}${key}`)
  }
  return (key) => {
    const option = `${prefix}${key}`
    const value = source?.[key]
    if (value !== undefined) return { value, name: option, option }
    for (const variable of [known[key]?.environment ?? []].flat()) {
      // A compose file makes an empty variable of one that is not set.
      const text = environment[variable]?.trim() ?? ''
      if (text !== '') return { value: text, name: nameWith(option, variable), option, variable }
    }
    return { value, name: option, option }
  }
}

/** An option's name and its environment variable, for messages. */
export const nameWith = (option: string, variable: string): string => `${option} (environment variable ${variable})`

/** The name that was most likely meant, for an error message. Undefined: no name is near. */
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
      const replaced = Number(row[at]) + (letter === otherLetter ? 0 : 1)
      next.push(Math.min(replaced, Number(row[at + 1]) + 1, Number(next[at]) + 1))
    }
    row = next
  }
  return Number(row.at(-1))
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof URL)
}

/** Names under `localhost` are loopback (RFC 6761 section 6.3). */
export function isLoopback({ hostname }: Pick<URL, 'hostname'>): boolean {
  return /(?:^|\.)localhost$/.test(hostname) || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}

/** Plain http is harmless where it never leaves this machine. */
export function isSecure(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url))
}

/** Returns the address of the metadata of a resource (RFC 9728 §3.1): the well-known part goes between host and path, and a lone slash is dropped. */
export function wellKnownUrl(resource: string): string {
  const { origin, pathname, search } = new URL(resource)
  return `${origin}/.well-known/oauth-protected-resource${pathname === '/' ? '' : pathname}${search}`
}

/** Whether an audience is the one that is wanted. Clients differ by one trailing slash in the audience that they ask for. */
export function sameUri(value: string, wanted: string): boolean {
  return withoutSlash(value) === withoutSlash(wanted)
}

function withoutSlash(uri: string): string {
  return uri.endsWith('/') ? uri.slice(0, -1) : uri
}
