import type { Environment } from '../options.js'
import type { Kind, KindOf } from './kinds.js'
import { type Given, readObject } from './values.js'

/** One option, as far as reading it goes. */
export interface Readable {
  readonly kind: Kind<unknown>
  /** The default, as it could be given. */
  readonly default?: unknown
  readonly environment?: string
}

/** An option that is an object of options. */
interface ReadableGroup {
  readonly members: Readables
  /** Whether it may be false. */
  readonly orFalse?: true
  readonly environment?: never
}

/** The options of one object, by name. */
export type Readables = Readonly<{ [name: string]: Readable | ReadableGroup }>

/** One option of `mcpAuth()`: its type check, default, environment variable, flag and documentation. */
export interface Declaration extends Readable {
  /** The default in words, for an option without one value as its default. */
  readonly otherwise?: string
  /** Flag of the doctor with its placeholder: `clock-tolerance <seconds>`. */
  readonly flag?: string
  /** Whether the value must not be shown. */
  readonly secret?: true
  /** A phrase for the documentation. */
  readonly says: string
}

export interface Group extends ReadableGroup {
  readonly members: Declarations
  readonly otherwise?: string
  /** A phrase for the documentation. Missing: its members say it all. */
  readonly says?: string
}

export type Declarations = Readonly<{ [name: string]: Declaration | Group }>

/** Declarations of all options of an interface and of no others, of the types that they have there. */
export type Declared<O> = { readonly [K in keyof O]-?: DeclarationOf<Exclude<O[K], undefined>> }
type DeclarationOf<G> = (Declaration & { readonly kind: KindOf<unknown, G>; readonly default?: G }) | GroupOf<G>
type GroupOf<G> = G extends object ? Group & { readonly members: Declared<G> } : never

type ValueOf<D> = D extends { members: infer M; orFalse: true }
  ? Values<M> | false
  : D extends { members: infer M }
    ? Values<M>
    : D extends { kind: Kind<infer T> }
      ? T | (D extends { default: unknown } ? never : undefined)
      : never

/** The values of declared options, with their defaults. */
export type Values<D> = { readonly [K in keyof D]: ValueOf<D[K]> }

/** The paths of declared options: `http` and `http.timeout`. */
export type Paths<D> = {
  [K in keyof D & string]: K | (D[K] extends { members: infer M } ? `${K}.${keyof M & string}` : never)
}[keyof D & string]

export interface Options<D> {
  readonly values: Values<D>
  /** An option by its path, such as `http.timeout`, as it was given: for what only several options together can tell. */
  readonly given: (path: Paths<D>) => Given
}

/**
 * Reads the options of one object by their declarations.
 *
 * @throws {ConfigurationError} an option is unknown or of the wrong type
 */
export function readOptions<D extends Readables>(
  readables: D,
  source: unknown,
  environment: Environment = {},
): Options<D> {
  const all = new Map<string, Given>()
  const values = readMembers(readables, { value: source, option: '' }, environment, all) as Values<D>
  return { values, given: (path) => all.get(path) ?? { value: undefined, name: path, option: path } }
}

function readMembers(
  readables: Readables,
  { value, option }: Pick<Given, 'value' | 'option'>,
  environment: Environment,
  all: Map<string, Given>,
): object {
  const lookUp = readObject(value, readables, environment, option === '' ? '' : `${option}.`)
  const entries = Object.entries(readables).map(([name, readable]) => {
    const given = lookUp(name)
    all.set(given.option, given)
    if ('kind' in readable) return [name, valueOf(given, readable)]
    const isOff = readable.orFalse === true && given.value === false
    return [name, isOff ? false : readMembers(readable.members, given, environment, all)]
  })
  return Object.fromEntries(entries) as object
}

function valueOf(given: Given, { kind, default: otherwise }: Readable): unknown {
  const value = given.value === undefined ? otherwise : given.value
  return value === undefined ? undefined : kind.check({ ...given, value })
}
