import { readFileSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const { exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { default: string } | string>
}

/** KB of JavaScript that an app loads with each entry, its dependencies aside. Raise one only for what users get for it. */
const BUDGET: Readonly<Record<string, number>> = {
  '.': 615,
  './sqlite': 25,
  './postgres': 20,
  './mysql': 22,
  './redis': 21,
  './testing': 93,
  './authorization-server': 700,
  './opentelemetry': 20,
  './mcp-v1': 28,
  './mcp-v2': 31,
}

/** What an entry loads, as it is built, without what is loaded only when it is used. */
async function loadedBy(file: string): Promise<number> {
  const { metafile } = await build({
    entryPoints: [path.join(root, file)],
    ...{ bundle: true, splitting: true, format: 'esm', platform: 'node', packages: 'external' },
    ...{ metafile: true, write: false, outdir: 'out', logLevel: 'error' },
  })
  const outputs = metafile.outputs
  const seen = new Set<string>()
  const follow = (output: string): number => {
    if (seen.has(output) || outputs[output] === undefined) return 0
    seen.add(output)
    const { bytes, imports } = outputs[output]
    return imports
      .filter(({ kind }) => kind === 'import-statement')
      .reduce((sum, { path: next }) => sum + follow(next), bytes)
  }
  const entry = Object.keys(outputs).find((output) => outputs[output]?.entryPoint !== undefined) ?? ''
  return Math.ceil(follow(entry) / 1_000)
}

describe('each entry is within its budget', () => {
  const entries = Object.entries(exports).flatMap(([name, entry]) =>
    typeof entry === 'string' ? [] : [[name, entry.default] as const],
  )

  it.each(entries)('%s', async (name, file) => {
    const loaded = await loadedBy(file)
    expect(loaded).toBeGreaterThan(0)
    expect(loaded).toBeLessThanOrEqual(BUDGET[name] ?? 0)
  })
})
