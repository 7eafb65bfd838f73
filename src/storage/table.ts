import { type Given, optionalBoolean, optionalString, readObject, refuse } from '../config/values.js'
import { ConfigurationError } from '../errors/errors.js'

/** The table in which adapters over SQL keep their entries, unless told otherwise. */
export const DEFAULT_TABLE = 'mcp_nextcloud_auth'
/** Short enough that the name of the index fits PostgreSQL's 63 bytes too; `sqlite_` is SQLite's own. */
const IDENTIFIER = /^(?!sqlite_)[a-z_][a-z0-9_]{0,49}$/i

/** One write in so many also removes expired rows, so many at most. */
export const WRITES_PER_PURGE = 64
export const ROWS_PER_PURGE = 100

/** The table of an adapter, with names as they stand in SQL, quoted. */
export interface Table {
  /** As it was given. */
  readonly name: string
  readonly table: string
  readonly index: string
  readonly autoCreate: boolean
}

/** Reads the options of an adapter over SQL; a schema may stand in front of the table where there are `schemas`. */
export function readTable(options: object | undefined, schemas: 'schemas' | 'no schemas'): Table {
  const option = readObject(options, { table: true, autoCreate: true }, {})
  const { name, parts } = readName(option('table'), schemas)
  return {
    name,
    table: parts.map((part) => `"${part}"`).join('.'),
    index: `"${parts.at(-1) ?? ''}_expires_at"`,
    autoCreate: optionalBoolean(option('autoCreate'), true),
  }
}

/** Checks the name first: SQL has no parameters for identifiers. */
function readName(given: Given, schemas: 'schemas' | 'no schemas'): { name: string; parts: readonly string[] } {
  const name = optionalString(given) ?? DEFAULT_TABLE
  const parts = name.split('.')
  if (parts.length > (schemas === 'schemas' ? 2 : 1) || !parts.every((part) => IDENTIFIER.test(part))) {
    const form = schemas === 'schemas' ? 'a name or schema.name' : 'a name'
    refuse(given, `must be ${form}, each of at most 50 letters, digits and underscores, not starting with a digit`)
  }
  return { name, parts }
}

/** The error for a table that is missing and is not to be made. */
export function missingTable({ name }: Table, cause?: unknown): ConfigurationError {
  const missing = `The table ${name} is missing and autoCreate is false`
  return new ConfigurationError(`${missing}: call setup() once, as a user who may create tables`, 'autoCreate', cause)
}
