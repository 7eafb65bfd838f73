import { readFileSync } from 'node:fs'
import path from 'node:path'
import { globSync } from 'tinyglobby'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
/** What emits `error` on its own account, and ends a process in which nobody listens. */
const CLIENT =
  /\b(\w+) = (?:await )?(?:createClient(?:Pool)?|createCluster|createSentinel|new Redis|new Cluster|new (?:pg\.)?Pool)\(/g

/** Returns the names of the clients and pools that a text makes and gives no listener. */
function unheard(text: string): string[] {
  if (text.includes("from 'webdav'")) return [] // Its createClient() emits nothing.
  return [...text.matchAll(CLIENT)].flatMap((match) => {
    const [, name = ''] = match
    const statement = text.slice(match.index).split('\n', 1)[0] ?? ''
    return statement.includes(".on('error'") || text.includes(`${name}.on('error'`) ? [] : [name]
  })
}

/** Code that a reader copies: fenced blocks of pages, `@example` blocks, and whole files of the examples. */
function copied(file: string): string[] {
  const text = readFileSync(path.join(root, file), 'utf8')
  if (file.endsWith('.md')) return [...text.matchAll(/^```\w+\n(.*?)^```/gms)].map(([, code = '']) => code)
  if (file.startsWith('src/')) return [...text.matchAll(/^ *\* @example\n(.*?)^ *\*\//gms)].map(([, code = '']) => code)
  return [text]
}

describe('clients of stores in the documentation', () => {
  const files = globSync(['README.md', 'docs/**/*.md', 'examples/**/*.{md,ts,js,mjs}', 'src/**/*.ts'], {
    cwd: root,
    ignore: ['**/node_modules/**'],
  }).sort()

  it('are found, with a listener of their own or without', () => {
    expect(unheard('const a = createClient({ url })\nawait a.connect()')).toEqual(['a'])
    expect(unheard("const a = createClient()\nb.on('error', log)")).toEqual(['a'])
    expect(unheard("const a = new Redis(url)\na.on('error', log)")).toEqual([])
    expect(unheard("const a = createClient().on('error', log)")).toEqual([])
    expect(files.filter((file) => copied(file).some((code) => code.search(CLIENT) >= 0))).toEqual(
      expect.arrayContaining(['docs/operate.md', 'docs/scaling.md', 'examples/multi-instance/main.ts']),
    )
  })

  it('have an error listener, because an outage of the store would end the process of whoever copies them', () => {
    expect(files.flatMap((file) => copied(file).flatMap((code) => unheard(code).map((name) => [file, name])))).toEqual(
      [],
    )
  })
})
