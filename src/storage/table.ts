import { type Given, optionalString, refuse } from '../config/values.js'

/** Where adapters over SQL keep their entries, unless told otherwise. */
const DEFAULT_TABLE = 'mcp_nextcloud_auth'
/** Short enough that the name of the index fits PostgreSQL's 63 bytes too; `sqlite_` is SQLite's own. */
const IDENTIFIER = /^(?!sqlite_)[a-z_][a-z0-9_]{0,49}$/i

/** One write in so many also removes expired rows, so many at most. */
export const WRITES_PER_PURGE = 64
export const ROWS_PER_PURGE = 100

/** The name of a table as it stands in SQL, quoted. A name may be in no statement unchecked, since it cannot be a parameter. */
export interface TableName {
  readonly name: string
  readonly table: string
  readonly index: string
}

/** The option `table`, with a schema in front where `schemas` says that there are some. */
export function readTable(given: Given, schemas: 'schemas' | 'no schemas'): TableName {
  const name = optionalString(given) ?? DEFAULT_TABLE
  const parts = name.split('.')
  if (parts.length > (schemas === 'schemas' ? 2 : 1) || !parts.every((part) => IDENTIFIER.test(part))) {
    const form = schemas === 'schemas' ? 'a name or schema.name' : 'a name'
    refuse(given, `must be ${form}, each of at most 50 letters, digits and underscores, not starting with a digit`)
  }
  return {
    name,
    table: parts.map((part) => `"${part}"`).join('.'),
    index: `"${parts.at(-1) ?? ''}_expires_at"`,
  }
}
