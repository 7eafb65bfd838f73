import { sqliteDriver } from '../serve/data-folder.js'

/** The packages that `serve` is made of beside this one, with their major versions. */
export const PACKAGES: Readonly<Record<string, number>> = {
  'oidc-provider': 9,
  '@modelcontextprotocol/server': 2,
  '@modelcontextprotocol/node': 2,
  express: 5,
  helmet: 8,
  'express-rate-limit': 8,
  zod: 4,
  'better-sqlite3': 12,
}

/** Returns the names of packages that are not there. better-sqlite3 is not needed where Node has SQLite itself. */
export async function missingPackages(): Promise<readonly string[]> {
  const missing: string[] = []
  for (const name of Object.keys(PACKAGES)) {
    const load = name === 'better-sqlite3' ? sqliteDriver : () => import(name)
    try {
      await load()
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw error
      missing.push(name)
    }
  }
  return missing
}
