import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { globSync } from 'tinyglobby'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const run = promisify(execFile)
const root = path.resolve(import.meta.dirname, '../..')
const tsc = path.join(root, 'node_modules/typescript/bin/tsc')
/** The value by which this TypeScript lets an old `moduleResolution` pass. */
const IGNORED = `${ts.versionMajorMinor.split('.')[0] ?? ''}.0`
/** What every use of the package prints: the middleware answers, the metadata is served, an unknown option is named. */
const USED = { denied: 401, resource: 'https://mcp.example.com/mcp', refused: 'typo' }
/** What every use of its subpaths prints: each adapter refuses an unknown option, and memory passes the contract. */
const SUBPATHS = {
  refused: ['typo', 'typo', 'typo', 'typo', 'typo'],
  stored: 'value',
  tests: 98,
  failed: [],
  id: 'bob',
}

let scratch: string
let files: string[]

/** A folder of a user's, with the packed package and its four dependencies, and nothing of this repository's own. */
beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'packed-'))
  const packed = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch], { cwd: root })
  const [tarball] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }]
  files = tarball.files.map((file) => file.path)
  await writeFile(path.join(scratch, 'package.json'), JSON.stringify({ private: true }))
  await run(
    'npm',
    ['install', '--prefer-offline', '--no-audit', '--no-fund', '--omit=peer', path.join(scratch, tarball.filename)],
    { cwd: scratch },
  )
  const modules = path.join(scratch, 'node_modules')
  for (const name of ['express', '@types'])
    await symlink(path.join(root, 'node_modules', name), path.join(modules, name))
  await cp(path.join(import.meta.dirname, 'fixtures'), scratch, { recursive: true })
}, 180_000)

afterAll(() => rm(scratch, { recursive: true, force: true }))

async function used(file: string): Promise<unknown> {
  const { stdout } = await run(process.execPath, [file], { cwd: scratch })
  return JSON.parse(stdout)
}

describe('the packed package', () => {
  it('holds the build and the documents, and nothing else', () => {
    const others = files.filter((file) => !/^dist\/.+\.(js|d\.ts)$/.test(file))
    const pages = globSync(['docs/*.md', 'docs/errors/*.md'], { cwd: root })
    expect(pages).toContain('docs/reliability.md')
    expect(others.sort()).toEqual(
      [
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'SECURITY.md',
        ...pages,
        'examples/keycloak/call-tool.mjs',
        'examples/keycloak/realm.json',
        'package.json',
      ].sort(),
    )
    expect(files).toContain('dist/index.js')
    expect(files).toContain('dist/index.d.ts')
  })

  it('holds every page that its README links to', async () => {
    const text = await readFile(path.join(root, 'README.md'), 'utf8')
    const links = [...text.matchAll(/\]\(([^)#\s]+)/g)].map(([, link = '']) => link)
    expect(links.length).toBeGreaterThan(20)
    expect(links.filter((link) => !files.includes(link))).toEqual([])
  })

  it('has the classes by their names, in errors and their stacks', async () => {
    await writeFile(
      path.join(scratch, 'names.mjs'),
      `import * as all from 'mcp-nextcloud-auth'
      const classes = Object.entries(all).filter(([name]) => /^[A-Z]/.test(name))
      let thrown
      try { all.mcpAuth({}) } catch (error) { thrown = error }
      console.log(JSON.stringify({ names: classes.map(([name, { name: own }]) => [name, own]), thrown: [thrown.name, thrown.stack.split(':')[0]] }))`,
    )
    const { names, thrown } = (await used('names.mjs')) as { names: [string, string][]; thrown: string[] }

    expect(names.length).toBeGreaterThan(10)
    expect(names.map(([, own]) => own)).toEqual(names.map(([name]) => name))
    expect(thrown).toEqual(['ConfigurationError', 'ConfigurationError'])
  })

  it('names the types of each subpath for the resolution that knows no exports', async () => {
    const text = await readFile(path.join(root, 'package.json'), 'utf8')
    const { exports, typesVersions } = JSON.parse(text) as {
      exports: Record<string, { types?: string }>
      typesVersions: unknown
    }
    const subpaths = Object.entries(exports).filter(([name, { types }]) => name !== '.' && types !== undefined)
    expect(typesVersions).toEqual({
      '*': Object.fromEntries(subpaths.map(([name, { types }]) => [name.slice(2), [types]])),
    })
  })

  it('brings no more than the four dependencies and what those need', async () => {
    const installed = (await readdir(path.join(scratch, 'node_modules'))).filter((name) => !name.startsWith('.'))
    expect(installed.sort()).toEqual(
      [
        '@types',
        'data-uri-to-buffer',
        'express',
        'fetch-blob',
        'formdata-polyfill',
        'jose',
        'lru-cache',
        'mcp-nextcloud-auth',
        'node-domexception',
        'node-fetch',
        'oauth4webapi',
        'web-streams-polyfill',
      ].sort(),
    )
  })

  it('works from an ES module', async () => {
    expect(await used('use.mjs')).toEqual(USED)
  })

  it('works from CommonJS with require()', async () => {
    expect(await used('use.cjs')).toEqual(USED)
  })

  it('brings a command that makes a key', async () => {
    const { stdout } = await run(path.join(scratch, 'node_modules/.bin/mcp-nextcloud-auth'), ['keygen'])
    expect(stdout).toMatch(/^[\w-]{43}\n$/)
  })

  it('brings a command that checks a set-up, without any driver of a database', async () => {
    const command = path.join(scratch, 'node_modules/.bin/mcp-nextcloud-auth')
    const args = ['doctor', '--issuer', 'http://127.0.0.1:1', '--resource', 'http://127.0.0.1:1/mcp', '--json']
    const { code, stdout } = (await run(command, args).catch((error: unknown) => error)) as {
      code: number
      stdout: string
    }
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      checks: expect.arrayContaining([
        expect.objectContaining({ id: 'issuer.reachable', status: 'failed' }),
      ]) as unknown,
    })
  })

  it('gives its subpaths to an ES module', async () => {
    expect(await used('subpaths.mjs')).toEqual(SUBPATHS)
  })

  it('gives its subpaths to CommonJS with require()', async () => {
    expect(await used('subpaths.cjs')).toEqual(SUBPATHS)
  })

  it('loads without oidc-provider, which its sign-in alone needs, and says so', async () => {
    await writeFile(
      path.join(scratch, 'sign-in.mjs'),
      `import 'mcp-nextcloud-auth'
      import { nextcloudSignIn } from 'mcp-nextcloud-auth/authorization-server'
      const error = await nextcloudSignIn({ resource: 'https://mcp.example.com/mcp', nextcloud: {} }).catch((error) => error)
      console.log(JSON.stringify([error.name, error.message]))`,
    )
    expect(await used('sign-in.mjs')).toEqual([
      'ConfigurationError',
      expect.stringContaining('npm install oidc-provider') as unknown,
    ])
  })

  it('brings a command that serves, and names all that it needs for that in one line', async () => {
    const command = path.join(scratch, 'node_modules/.bin/mcp-nextcloud-auth')
    const env = {
      ...process.env,
      NEXTCLOUD_MCP_SERVER_URL: 'http://127.0.0.1:1/mcp',
      NEXTCLOUD_HOST: 'http://127.0.0.1:1',
      NEXTCLOUD_OIDC_CLIENT_ID: 'id',
      NEXTCLOUD_OIDC_CLIENT_SECRET: 'secret-canary',
    }
    const failure = (await run(command, ['serve'], { cwd: scratch, env }).catch((error: unknown) => error)) as {
      code: number
      stderr: string
    }
    expect(failure.code).toBe(1)
    const [, line = ''] = /^(npm install .*)$/m.exec(failure.stderr) ?? []
    const { peerDependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
      peerDependencies: Record<string, string>
    }
    const named = line
      .split(' ')
      .slice(2)
      .map((name) => name.replace(/(?<=.)@\d+$/, ''))
    const others = ['@modelcontextprotocol/sdk', '@opentelemetry/api', 'mysql2']
    const peers = Object.keys(peerDependencies).filter((name) => !others.includes(name))
    expect(named.filter((name) => name !== 'better-sqlite3').sort()).toEqual(['mcp-nextcloud-auth', ...peers].sort())
    expect(failure.stderr).not.toContain('secret-canary')
  })

  const peers = [
    ['mcp-v1', '@modelcontextprotocol/sdk'],
    ['mcp-v2', '@modelcontextprotocol/server'],
    ['opentelemetry', '@opentelemetry/api'],
  ] as const
  it.each(peers)(
    'gives %s to an app that has its one peer alone, in JavaScript and TypeScript',
    async (entry, peer) => {
      const folder = await mkdtemp(path.join(scratch, `${entry}-`))
      const modules = path.join(folder, 'node_modules')
      await mkdir(path.dirname(path.join(modules, peer)), { recursive: true })
      await symlink(path.join(root, 'node_modules', peer), path.join(modules, peer))
      await symlink(path.join(root, 'node_modules/zod'), path.join(modules, 'zod'))
      // A copy, since a link would lead to a folder where no peer is.
      await cp(path.join(scratch, 'node_modules/mcp-nextcloud-auth'), path.join(modules, 'mcp-nextcloud-auth'), {
        recursive: true,
      })
      await writeFile(path.join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
      for (const extension of ['mjs', 'ts']) {
        await cp(path.join(scratch, `${entry}.${extension}`), path.join(folder, `${entry}.${extension}`))
      }
      // The types of the SDKs themselves are not this package's to check.
      const options = { target: 'es2022', module: 'nodenext', strict: true, skipLibCheck: true, types: ['node'] }
      await writeFile(
        path.join(folder, 'tsconfig.json'),
        JSON.stringify({ compilerOptions: { ...options, outDir: 'out', rootDir: '.' }, files: [`${entry}.ts`] }),
      )
      await run(process.execPath, [tsc, '-p', folder]).catch((error: unknown) => {
        throw new Error((error as { stdout: string }).stdout)
      })

      const expected = { tool: 'function', refused: 'typo' }
      expect(await used(path.join(folder, `${entry}.mjs`))).toEqual(expected)
      expect(await used(path.join(folder, 'out', `${entry}.js`))).toEqual(expected)
    },
  )

  const compilations = [
    ['NodeNext, an ES module', 'module', { module: 'nodenext' }, 'express'],
    ['NodeNext, CommonJS', 'commonjs', { module: 'nodenext' }, 'express'],
    ['module CommonJS', 'commonjs', { module: 'commonjs', moduleResolution: 'bundler' }, 'express'],
    [
      'module CommonJS, with the resolution that knows no exports',
      'commonjs',
      { module: 'commonjs', moduleResolution: 'node10', skipLibCheck: true, ignoreDeprecations: IGNORED },
      'express',
    ],
    ['NodeNext, CommonJS, the types of Express 4', 'commonjs', { module: 'nodenext' }, 'express4'],
  ] as const
  it.each(compilations)('compiles and works in TypeScript: %s', async (_name, type, compilerOptions, express) => {
    const folder = await mkdtemp(path.join(scratch, 'ts-'))
    await writeFile(path.join(folder, 'package.json'), JSON.stringify({ private: true, type }))
    const options = {
      target: 'es2022',
      lib: ['es2022'],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      types: ['node'],
      outDir: 'out',
      rootDir: '.',
      ...compilerOptions,
      paths: { express: [`./node_modules/@types/${express}`] },
    }
    await writeFile(
      path.join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: options, files: ['use.ts', 'subpaths.ts'] }),
    )
    await mkdir(path.join(folder, 'node_modules/@types'), { recursive: true })
    await symlink(path.join(root, 'node_modules/@types', express), path.join(folder, 'node_modules/@types', express))
    for (const file of ['use.ts', 'subpaths.ts']) await cp(path.join(scratch, file), path.join(folder, file))
    const compiled = await run(process.execPath, [tsc, '-p', folder, '--listFiles']).catch((error: unknown) => {
      throw new Error((error as { stdout: string }).stdout)
    })
    expect(compiled.stdout).toContain(`/@types/${express}/index.d.ts`)
    expect(await used(path.join(folder, 'out/use.js'))).toEqual(USED)
    expect(await used(path.join(folder, 'out/subpaths.js'))).toEqual(SUBPATHS)
  })
})
