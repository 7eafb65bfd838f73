import type { Environment } from '../options.js'
import type { Kind, KindOf } from './kinds.js'
import { type Given, readObject } from './values.js'

/** One option: its type check, default, environment variable and flag. */
export interface Declaration {
  readonly kind: Kind<unknown>
  /** The default, as it could be given. */
  readonly default?: unknown
  /** The environment variables that stand in for it: the first that is set counts. */
  readonly environment?: string | readonly string[]
  /** Flag of the doctor with its placeholder: `clock-tolerance <seconds>`. */
  readonly flag?: string
}

/** An option that is an object of options. */
interface Group {
  readonly members: Declarations
  /** Whether it may be false. */
  readonly orFalse?: true
  readonly environment?: never
}

/** The options of one object, by name. */
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
export function readOptions<D extends Declarations>(
  declarations: D,
  source: unknown,
  environment: Environment = {},
): Options<D> {
  const all = new Map<string, Given>()
  const members = readMembers(declarations, { value: source, option: '' }, { environment, all })
  return {
    values: members as Values<D>,
    given: (path) => all.get(path) ?? { value: undefined, name: path, option: path },
  }
}

interface Reading {
  readonly environment: Environment
  /** Every option that has been looked up, by its path. */
  readonly all: Map<string, Given>
}

function readMembers(declarations: Declarations, object: Pick<Given, 'value' | 'option'>, reading: Reading): object {
  const lookUp = readObject(object, declarations, reading.environment)
  const entries = Object.entries(declarations).map(([name, declaration]) => {
    const given = lookUp(name)
    reading.all.set(given.option, given)
    if ('kind' in declaration) return [name, valueOf(given, declaration)]
    const isOff = declaration.orFalse === true && given.value === false
    return [name, isOff ? false : readMembers(declaration.members, given, reading)]
  })
  return Object.fromEntries(entries) as object
}

function valueOf(given: Given, { kind, default: otherwise }: Declaration): unknown {
  const value = given.value === undefined ? otherwise : meantBy(given, kind)
  return value === undefined ? undefined : kind.check({ ...given, value })
}

/** Returns the value as it was given. A variable of the environment is text, which the kind reads. */
function meantBy({ value, variable }: Given, { fromText }: Kind<unknown>): unknown {
  return variable === undefined || fromText === undefined ? value : fromText(String(value))
}
