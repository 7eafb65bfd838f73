import { ConfigurationError } from '../errors/errors.js'
import type { Environment } from '../options.js'
import { DECLARATIONS, OPTIONS, variablesOf } from './declarations.js'
import type { Declarations } from './read-options.js'
import { type Given, isPlainObject, readObject, refuse } from './values.js'

/** The options of one issuer, those of the top level included. */
export interface Entry {
  readonly options: unknown
  readonly environment: Environment
  /** The name for messages: `issuers[1]`. Undefined: there is one issuer, at the top level. */
  readonly name: string | undefined
  readonly isFirst: boolean
}

/** Options that are of one issuer. The entry's `preset` is `nextcloud.preset` of the top level. */
const OF_ISSUER = {
  issuer: {},
  discoveryUrl: {},
  authorizationServer: {},
  audience: {},
  clientId: {},
  clientSecret: {},
  clientAuth: {},
  introspection: {},
  missingAudience: {},
  preset: {},
}
/** Options that say where one server is. Two issuers that shared them would answer for each other's tokens. */
const PLACES = ['discoveryUrl', 'authorizationServer'] as const
/** An entry with one of these proves who it is with nothing of the top level. */
const CLIENT = ['clientId', 'clientSecret', 'clientAuth'] as const

/**
 * Returns the options of each issuer: those of its entry, and of the top level what the entry leaves out.
 *
 * @throws {ConfigurationError} `issuers` is not a list of such entries, or contradicts another option
 */
export function readEntries(options: unknown, environment: Environment): readonly [Entry, ...Entry[]] {
  if (!isPlainObject(options) || options['issuers'] === undefined)
    return [{ options, environment, name: undefined, isFirst: true }]
  const { issuers, ...top } = options
  const given = { value: issuers, name: 'issuers', option: 'issuers' }
  OPTIONS.issuers.kind.check(given)
  const list = issuers as readonly Readonly<Record<string, unknown>>[]
  if (top['issuer'] !== undefined) refuse(given, 'contradicts issuer: give one of them')
  for (const [index, entry] of list.entries()) checkEntry(entry, `issuers[${index}]`)
  checkDistinct(list)
  for (const place of PLACES) {
    const without = list.filter((entry) => entry[place] === undefined)
    if (top[place] === undefined || without.length < 2) continue
    const option = { value: top[place], name: place, option: place }
    refuse(
      option,
      `is of one authorization server: give it in the entries of issuers, of which ${without.length} lack it`,
    )
  }
  const rest = without(environment, ['issuer', 'discoveryUrl'])
  return list.map((entry, index) => ({
    options: withTop(entry, top),
    environment: entry['clientId'] === undefined ? rest : without(rest, ['clientSecret']),
    name: `issuers[${index}]`,
    isFirst: index === 0,
  })) as [Entry, ...Entry[]]
}

/** Checks the names and types in an entry. */
function checkEntry(entry: Readonly<Record<string, unknown>>, name: string): void {
  readObject({ value: entry, option: name }, OF_ISSUER, {})
  const { authorizationServer, preset, ...plain } = entry
  const endpoints: Declarations = OPTIONS.authorizationServer.members
  const lookUp = readObject({ value: authorizationServer, option: `${name}.authorizationServer` }, endpoints, {})
  for (const endpoint of Object.keys(endpoints)) check(lookUp(endpoint), `authorizationServer.${endpoint}`)
  for (const [key, value] of Object.entries(plain))
    check({ value, name: `${name}.${key}`, option: `${name}.${key}` }, key)
  check({ value: preset, name: `${name}.preset`, option: `${name}.preset` }, 'nextcloud.preset')
  if (entry['issuer'] === undefined)
    refuse({ value: undefined, name: `${name}.issuer`, option: `${name}.issuer` }, 'is required')
}

function check(given: Given, option: string): void {
  if (given.value !== undefined) DECLARATIONS.get(option)?.kind.check(given)
}

/** A token could not tell which of two entries is meant. */
function checkDistinct(list: readonly Readonly<Record<string, unknown>>[]): void {
  const seen = new Map<unknown, number>()
  for (const [index, { issuer }] of list.entries()) {
    const before = seen.get(issuer)
    const option = `issuers[${index}].issuer`
    if (before !== undefined) refuse({ value: issuer, name: option, option }, `is that of issuers[${before}], too`)
    seen.set(issuer, index)
  }
}

function withTop(entry: Readonly<Record<string, unknown>>, top: Readonly<Record<string, unknown>>): object {
  const { preset, ...own } = Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined))
  const hasOwn = CLIENT.some((name) => own[name] !== undefined)
  const { nextcloud } = top
  return {
    ...top,
    // The secret of one client is not for the server of another, and clientAuth stands in for a secret.
    ...(hasOwn && { clientSecret: undefined, clientAuth: undefined }),
    ...own,
    ...(preset !== undefined && {
      nextcloud: nextcloud === undefined || isPlainObject(nextcloud) ? { ...nextcloud, preset } : nextcloud,
    }),
  }
}

/** Without the variables that stand in for these options. */
function without(environment: Environment, options: readonly string[]): Environment {
  const variables = options.flatMap(variablesOf)
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !variables.includes(name)))
}

const OWN_SECRET = '. An entry with a clientId takes no secret from the top level or the environment: give its own'

/** Runs the reading of one entry, and says in its errors which entry it is. */
export function ofEntry<T>({ name, options }: Entry, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (name === undefined || !(error instanceof ConfigurationError)) throw error
    const { option = '', message } = error
    const part = option === 'nextcloud.preset' ? 'preset' : option
    const isOfIssuer = Object.hasOwn(OF_ISSUER, part.replace(/\..*/, ''))
    const { issuer } = options as { readonly issuer?: unknown }
    const hint = part === 'clientSecret' ? OWN_SECRET : ''
    throw isOfIssuer
      ? new ConfigurationError(`${name} (${String(issuer)}): ${message}${hint}`, `${name}.${part}`)
      : error
  }
}
