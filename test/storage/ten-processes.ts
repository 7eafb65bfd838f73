import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

/** An entry of the built package, to import in a script. */
export const built = (entry: string): string =>
  JSON.stringify(path.resolve(import.meta.dirname, `../../dist/storage/${entry}.js`))

/** Runs a module in ten processes at once; what each writes. */
export async function inTenProcesses(script: string): Promise<string[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'processes-'))
  const file = path.join(folder, 'script.mjs')
  writeFileSync(file, script)
  const run = () => promisify(execFile)(process.execPath, ['--no-warnings', file])
  try {
    return (await Promise.all(Array.from({ length: 10 }, run))).map(({ stdout }) => stdout.trim())
  } finally {
    rmSync(folder, { recursive: true })
  }
}
