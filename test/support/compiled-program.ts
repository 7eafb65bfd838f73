import { symlinkSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

/** The program has to be below a folder with the packages that it imports. */
const PACKAGES = fileURLToPath(new URL('../../node_modules/', import.meta.url))

/** Makes one file of a program and all its sources in an empty folder, which starts in a fraction of the time. */
export async function compileProgram(program: string, folder: string): Promise<string> {
  symlinkSync(PACKAGES, path.join(folder, 'node_modules'))
  await build({
    configFile: false,
    logLevel: 'silent',
    build: { ssr: program, outDir: folder, target: 'node20', minify: false },
  })
  return path.join(folder, path.basename(program).replace(/\.ts$/, '.js'))
}
