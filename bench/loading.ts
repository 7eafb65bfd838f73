import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { glob } from 'tinyglobby'
import type { Form, Measurement } from './figures.js'
import { lifeOf } from './processes.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MEGABYTE = 1_000_000

/** The time that importing the package adds to a process that does nothing else. */
export async function measureLoading({ quick }: Form): Promise<Measurement> {
  const folder = await mkdtemp(path.join(tmpdir(), 'bench-'))
  const entry = new URL('../dist/index.js', import.meta.url).href
  await writeFile(path.join(folder, 'empty.mjs'), '')
  await writeFile(path.join(folder, 'import.mjs'), `import '${entry}'\n`)
  const values: number[] = []
  for (let repeat = 0; repeat < (quick ? 9 : 25); repeat += 1) {
    const empty = await lifeOf('empty.mjs', folder)
    values.push((await lifeOf('import.mjs', folder)) - empty)
  }
  await rm(folder, { recursive: true })
  return {
    id: 'import',
    work: "import 'mcp-nextcloud-auth'",
    figure: 'ms over an empty process',
    values,
    goal: { atMost: 60 },
    absolute: true,
    places: 1,
  }
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
}

/** The files of the package and of all that it depends on. */
export async function measureInstalledSize(): Promise<Measurement> {
  const folders = new Set<string>()
  const add = async (folder: string): Promise<void> => {
    const manifest = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8')) as Manifest
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      const found = createRequire(path.join(folder, 'package.json')).resolve.paths(name) ?? []
      const installed = await firstFolder(found.map((modules) => path.join(modules, name)))
      if (folders.has(installed)) continue
      folders.add(installed)
      await add(installed)
    }
  }
  await add(ROOT)
  const files = await Promise.all([
    glob(['dist/**', 'package.json', '*.md', 'docs/*.md', 'LICENSE'], { cwd: ROOT, absolute: true }),
    ...[...folders].map((folder) => glob('**', { cwd: folder, absolute: true, dot: true, ignore: 'node_modules/**' })),
  ])
  const sizes = await Promise.all(files.flat().map(async (file) => (await stat(file)).size))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  return {
    id: 'installed-size',
    work: 'installed, with dependencies',
    figure: 'MB',
    values: [bytes / MEGABYTE],
  }
}

async function firstFolder(folders: readonly string[]): Promise<string> {
  for (const folder of folders) {
    const found = await stat(folder).catch(() => undefined)
    if (found?.isDirectory() === true) return folder
  }
  throw new Error(`None of ${folders.join(', ')} is there`)
}
