import { Database } from '@mcp-nextcloud-auth/sqlite-driver'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { freshDatabase } from './shared-servers.js'

/** The key that the Python server's stores in `test/fixtures/python-server` are sealed with. */
export const PYTHON_KEY = 'cHl0aG9uLXNlcnZlci1rZXktZm9yLXRlc3RzLW9ubHk='
/** The key of the one row that was left from before. */
export const LOST_PYTHON_KEY = 'bG9zdC1rZXktb2YtdGhlLXB5dGhvbi1zZXJ2ZXIteHg='
/** The client that the Python server registered for itself. */
export const PYTHON_CLIENT = 'python-client'
/** The mark that every secret in those stores has. */
export const CANARY = 'canary'

const fixture = (name: string): string =>
  readFileSync(path.resolve(import.meta.dirname, '../fixtures/python-server', name), 'utf8')

/** Makes the store of the Python server in a file of SQLite, with more SQL where it is given. */
export function makePythonFile(file: string, sql = ''): string {
  const database = new Database!(file)
  database.exec(fixture('sqlite.sql') + sql)
  database.close()
  return file
}

/** Makes it in an empty database of PostgreSQL, and returns its URL. */
export async function makePythonDatabase(sql = ''): Promise<string> {
  const url = await freshDatabase()
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(fixture('postgres.sql') + sql)
  await client.end()
  return url
}
