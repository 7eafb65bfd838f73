// Fetches or compiles better-sqlite3, once. Nothing but tests and benchmarks needs it, so that `npm ci` need not.
// Where neither is possible, what needs it is left out.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'

const cwd = path.join(import.meta.dirname, '../../node_modules/better-sqlite3')
if (!existsSync(path.join(cwd, 'build/Release/better_sqlite3.node'))) {
  console.log('better-sqlite3 is fetched or compiled, once')
  spawnSync('npm', ['run', '--silent', 'install'], { cwd, stdio: 'ignore', shell: process.platform === 'win32' })
}
