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

/**
 * Returns the one command that brings everything. The package itself is part of it, because npx takes the one of a folder only where it is
 * installed there.
 *
 * @param missing better-sqlite3, which has to be compiled on some machines, is part of it only if it is needed
 */
export function installCommand(missing: readonly string[]): string {
  const needed = Object.entries(PACKAGES).filter(([name]) => name !== 'better-sqlite3' || missing.includes(name))
  return `npm install mcp-nextcloud-auth ${needed.map(([name, major]) => `${name}@${major}`).join(' ')}`
}

/** Returns the names of packages that are not there. better-sqlite3 is not needed where Node has SQLite itself. */
export async function missingPackages(names: readonly string[] = Object.keys(PACKAGES)): Promise<readonly string[]> {
  const missing: string[] = []
  for (const name of names) {
    try {
      if (name === 'better-sqlite3') await sqliteDriver()
      // They are not loaded: oidc-provider writes a notice when it is.
      else import.meta.resolve(name)
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw error
      missing.push(name)
    }
  }
  return missing
}
