/** better-sqlite3, or undefined where npm could not install it: no prebuilt binary for this machine, and no compiler. */
export const Database = await load()

async function load() {
  try {
    const { default: BetterSqlite3 } = await import('better-sqlite3')
    // The binary is looked for only now: it is missing where install scripts are not allowed to run.
    new BetterSqlite3(':memory:').close()
    return BetterSqlite3
  } catch {
    return undefined
  }
}
