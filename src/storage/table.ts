import { text, truth } from '../config/kinds.js'
import { readOptions } from '../config/read-options.js'
import { refuse } from '../config/values.js'
import { ConfigurationError } from '../errors/errors.js'

/** The table in which adapters over SQL keep their entries, unless told otherwise. */
const DEFAULT_TABLE = 'mcp_nextcloud_auth'
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

const OPTIONS = { table: { kind: text, default: DEFAULT_TABLE }, autoCreate: { kind: truth, default: true } }

/**
 * Reads the options of an adapter over SQL; a schema may stand in front of the table where there are `schemas`.
 *
 * @param quote the mark on both sides of a name
 */
export function readTable(options: object | undefined, schemas: 'schemas' | 'no schemas', quote = '"'): Table {
  const { values, given } = readOptions(OPTIONS, options)
  const { table: name, autoCreate } = values
  const parts = name.split('.')
  // Checked before use, because SQL has no parameters for identifiers.
  if (parts.length > (schemas === 'schemas' ? 2 : 1) || !parts.every((part) => IDENTIFIER.test(part))) {
    const form = schemas === 'schemas' ? 'a name or schema.name' : 'a name'
    const letters = 'each of at most 50 letters, digits and underscores, not starting with a digit'
    refuse(given('table'), `must be ${form}, ${letters}`)
  }
  return {
    name,
    table: parts.map((part) => `${quote}${part}${quote}`).join('.'),
    index: `${quote}${parts.slice(-1).join()}_expires_at${quote}`,
    autoCreate,
  }
}

/** The error for a table that is missing and is not to be made. */
export function missingTable({ name }: Table, cause?: unknown): ConfigurationError {
  const missing = `The table ${name} is missing and autoCreate is false`
  return new ConfigurationError(`${missing}: call setup() once, as a user who may create tables`, 'autoCreate', cause)
}
