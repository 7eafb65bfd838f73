import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { recordedSuite } from '../testing/recorded-suite.js'

interface Skeleton {
  readonly Database: new () => object
  readonly YourStorage: new (database: object) => StorageAdapter & { sweep: () => Promise<void> }
}

const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/write-an-adapter.md'), 'utf8')

async function skeleton(language: 'ts' | 'js'): Promise<Skeleton> {
  const code = new RegExp(`^\`\`\`${language}\\n(// your-storage\\.${language}\\n.*?)^\`\`\``, 'ms').exec(page)?.[1]
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  const folder = mkdtempSync(path.join(tmpdir(), 'skeleton-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'your-storage.mjs')
  writeFileSync(file, ts.transpileModule(code!, { compilerOptions: options }).outputText)
  return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Skeleton
}

describe('the guide "Write an adapter"', () => {
  it.each(['ts', 'js'] as const)('has a skeleton that passes the contract: %s', async (language) => {
    const { Database, YourStorage } = await skeleton(language)
    const database = new Database()
    const { passed, failed } = await recordedSuite(() => new YourStorage(database), {
      unavailable: () => new YourStorage({ transaction: () => Promise.reject(new Error('closed')) }),
    })
    expect(failed).toEqual([])
    expect(passed.length).toBeGreaterThan(70)
  })

  it.each(['ts', 'js'] as const)(
    'has a sweep that deletes what has expired, and nothing else: %s',
    async (language) => {
      const { Database, YourStorage } = await skeleton(language)
      const database = new Database() as { transaction: <T>(work: (rows: Map<string, unknown>) => T) => Promise<T> }
      const storage = new YourStorage(database)
      await storage.put('forever', 'value', null)
      await storage.put('lives', 'value', null, 60_000)
      await storage.put('expired', 'value', null, -1)
      await storage.sweep()
      expect(await database.transaction((rows) => [...rows.keys()])).toEqual(['forever', 'lives'])
    },
  )
})
