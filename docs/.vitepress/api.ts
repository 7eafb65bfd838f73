import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Application, type TypeDocOptions } from 'typedoc'
import type { PluginOptions } from 'typedoc-plugin-markdown'
import { ROOT } from './pages.js'

const OUT = path.join(ROOT, '.cache/api')

const { name: PACKAGE, exports } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  name: string
  exports: Record<string, { readonly default: string } | string>
}

/** Name of a page → the source of the entry that it is about. */
const SOURCES = new Map(
  Object.entries(exports).flatMap(([name, entry]) =>
    typeof entry === 'string'
      ? []
      : [[path.posix.join(PACKAGE, name), entry.default.replace('./dist/', '').replace(/\.js$/, '')] as const],
  ),
)

const pageOf = (entry: string): string => entry.replace(`${PACKAGE}/`, '')

/** The entries of the package, as an app names them, with their pages. */
export const API = [...SOURCES.keys()].map((text) => ({ text, link: `/api/${pageOf(text)}` }))

const OPTIONS: TypeDocOptions & Partial<PluginOptions> = {
  entryPoints: [...SOURCES.values()].map((source) => `${ROOT}/src/${source}.ts`),
  tsconfig: `${ROOT}/tsconfig.build.json`,
  plugin: ['typedoc-plugin-markdown'],
  router: 'module',
  useHTMLAnchors: true,
  out: OUT,
  readme: 'none',
  logLevel: 'Warn',
  validation: false,
  // `npm run typecheck` looks for them.
  skipErrorChecking: true,
  excludeInternal: true,
  excludeExternals: true,
  disableSources: true,
  hideBreadcrumbs: true,
  hidePageHeader: true,
}

/** Writes the reference of each entry from its docstrings, and returns it as Markdown. */
export async function apiPages(): Promise<{ params: { entry: string }; content: string }[]> {
  const app = await Application.bootstrapWithPlugins(OPTIONS)
  const project = await app.convert()
  if (project === undefined) throw new Error('The reference of the API cannot be made')
  for (const [entry, source] of SOURCES) {
    // TypeDoc names an entry, its page and its file for the source.
    const module = project.children?.find(({ name }) => name === source)
    if (module === undefined) throw new Error(`TypeDoc has no ${source}`)
    module.name = pageOf(entry)
  }
  await app.generateOutputs(project)
  return [...SOURCES.keys()].map((entry) => {
    const page = readFileSync(path.join(OUT, `${pageOf(entry)}.md`), 'utf8')
    return { params: { entry: pageOf(entry) }, content: page.replace(/^# .*/, `# ${entry}`) }
  })
}
