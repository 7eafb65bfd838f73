import { readFileSync } from 'node:fs'
import path from 'node:path'
import { globSync } from 'tinyglobby'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
/** What a snippet of a few lines takes for granted. */
const TAKEN_FOR_GRANTED = `
import express, { type RequestHandler } from 'express'
import type { McpAuth, McpAuthInfo } from 'mcp-nextcloud-auth'
declare const auth: McpAuth
declare const app: ReturnType<typeof express>
declare const yourHandler: RequestHandler, handler: RequestHandler
declare const authInfo: McpAuthInfo
export {}
{`

interface Snippet {
  readonly from: string
  readonly code: string
}

const snippets: Snippet[] = [
  ...fenced('README.md'),
  ...globSync('src/**/*.ts', { cwd: root }).flatMap((file) => examples(file)),
]

function fenced(file: string): Snippet[] {
  const text = readFileSync(path.join(root, file), 'utf8')
  return [...text.matchAll(/^```ts\n(.*?)^```/gms)].map((match, index) => ({
    from: `${file} ${index + 1}`,
    code: match[1] ?? '',
  }))
}

/** The `@example` blocks of docstrings. */
function examples(file: string): Snippet[] {
  const text = readFileSync(path.join(root, file), 'utf8')
  return [...text.matchAll(/^ *\* @example\n(.*?)^ *\*\//gms)].map((match, index) => ({
    from: `${file} ${index + 1}`,
    code: (match[1] ?? '').replaceAll(/^ *\* ?/gm, ''),
  }))
}

/** What the compiler says about a snippet as a user's own file would stand in a project with strict options. */
function compile({ code }: Snippet): string[] {
  const standsAlone = code.includes('mcpAuth({') && code.includes('import ')
  const imports = code.includes('mcpAuth({') && !standsAlone ? `import { mcpAuth } from 'mcp-nextcloud-auth'\n` : ''
  const file = path.join(root, 'snippet.ts')
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    noEmit: true,
    types: ['node'],
  }
  const host = ts.createCompilerHost(options)
  const disk = { ...host }
  const source = standsAlone ? code : `${imports}${TAKEN_FOR_GRANTED}\n${code}\n}`
  host.fileExists = (name) => name === file || disk.fileExists(name)
  host.readFile = (name) => (name === file ? source : disk.readFile(name))
  host.getSourceFile = (name, ...rest) =>
    name === file
      ? ts.createSourceFile(name, source, options.target ?? ts.ScriptTarget.ES2022)
      : disk.getSourceFile(name, ...rest)
  return ts
    .getPreEmitDiagnostics(ts.createProgram([file], options, host))
    .map((diagnostic) => ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'))
}

describe('snippets in the documentation', () => {
  it('are found in the README and in the docstrings', () => {
    expect(snippets.filter(({ from }) => from.startsWith('README')).length).toBeGreaterThanOrEqual(3)
    expect(snippets.filter(({ from }) => from.startsWith('src')).length).toBeGreaterThanOrEqual(2)
  })

  it.each(snippets.map((snippet) => [snippet.from, snippet] as const))('compile: %s', (_from, snippet) => {
    expect(compile(snippet)).toEqual([])
  })
})
