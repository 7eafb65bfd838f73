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
import { z } from 'zod'
declare const auth: McpAuth
declare const app: ReturnType<typeof express>
declare const yourHandler: RequestHandler, handler: RequestHandler
declare const authInfo: McpAuthInfo
declare const server: McpServer
export {}
{`

interface Snippet {
  readonly from: string
  readonly code: string
}

const snippets: Snippet[] = [
  ...fenced('README.md'),
  ...globSync('docs/*.md', { cwd: root })
    .sort()
    .flatMap((file) => fenced(file)),
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

/** The snippets of a page that begin with the name of a file, which the others of that page import. */
function named(page: string): [file: string, source: string][] {
  return snippets
    .filter(({ from }) => from.startsWith(`${page} `))
    .flatMap(({ code }) => {
      const name = /^\/\/ (\S+\.ts)\n/.exec(code)?.[1]
      return name === undefined ? [] : [[path.join(root, name), code] as [string, string]]
    })
}

/** What is on the disk, read and parsed once for all snippets. */
const parsed = new Map<string, ts.SourceFile | undefined>()

/** What the compiler says about a snippet as a user's own file would stand in a project with strict options. */
function compile({ code, from }: Snippet): string[] {
  const standsAlone =
    code.includes('import ') &&
    !code.includes('yourHandler') &&
    (from.startsWith('docs/') || /mcpAuth\(|storageContract\(/.test(code))
  const own = standsAlone ? '' : (/^(?:import .*\n)*/.exec(code)?.[0] ?? '')
  const version = from.includes('/v1.ts') ? 'v1' : 'v2'
  const imports = standsAlone
    ? ''
    : [
        own,
        ...(code.includes('mcpAuth(') && own === '' ? [`import { mcpAuth } from 'mcp-nextcloud-auth'`] : []),
        ...(code.includes('logEvents(') ? [`import { logEvents } from 'mcp-nextcloud-auth'`] : []),
        ...(code.includes('nextcloudPath`') ? [`import { nextcloudPath } from 'mcp-nextcloud-auth'`] : []),
        ...['withNextcloud', 'scopedTools']
          .filter((name) => code.includes(`${name}(`) && !own.includes(`{ ${name} }`))
          .map((name) => `import { ${name} } from 'mcp-nextcloud-auth/mcp-${version}'`),
        `import type { McpServer } from '@modelcontextprotocol/${version === 'v1' ? 'sdk/server/mcp.js' : 'server'}'`,
      ].join('\n')
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
  const source = standsAlone ? code : `${imports}${TAKEN_FOR_GRANTED}\n${code.slice(own.length)}\n}`
  const sources = new Map([...named(from.split(' ')[0] ?? ''), [file, source]])
  host.fileExists = (name) => sources.has(name) || disk.fileExists(name)
  host.readFile = (name) => sources.get(name) ?? disk.readFile(name)
  host.getSourceFile = (name, ...rest) => {
    const text = sources.get(name)
    if (text === undefined) {
      if (!parsed.has(name)) parsed.set(name, disk.getSourceFile(name, ...rest))
      return parsed.get(name)
    }
    return ts.createSourceFile(name, text, options.target ?? ts.ScriptTarget.ES2022)
  }
  return ts
    .getPreEmitDiagnostics(ts.createProgram([file], options, host))
    .map((diagnostic) => ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'))
}

describe('snippets in the documentation', () => {
  it('are found in the README, in the guides and in the docstrings', () => {
    expect(snippets.filter(({ from }) => from.startsWith('README')).length).toBe(2)
    expect(snippets.filter(({ from }) => from.startsWith('docs')).length).toBeGreaterThanOrEqual(5)
    expect(snippets.filter(({ from }) => from.startsWith('src')).length).toBeGreaterThanOrEqual(2)
  })

  it('mount an MCP endpoint for all methods, because a GET that no route has is a 404 to clients, and not a 401 or a 405', () => {
    const mounted = snippets.flatMap(({ code }) => code.match(/app\.\w+\(\s*'\/mcp'/g) ?? [])

    expect(mounted.length).toBeGreaterThanOrEqual(6)
    expect(mounted.filter((start) => !start.startsWith('app.all('))).toEqual([])
  })

  it.each(snippets.map((snippet) => [snippet.from, snippet] as const))('compile: %s', (_from, snippet) => {
    expect(compile(snippet)).toEqual([])
  })
})
