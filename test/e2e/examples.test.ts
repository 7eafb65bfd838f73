import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { globSync } from 'tinyglobby'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { has } from '../support/left-out.js'

const run = promisify(execFile)
const root = path.resolve(import.meta.dirname, '../..')

const examples = [
  'background-sync/main.ts',
  ...globSync('*/check.ts', { cwd: path.join(root, 'examples') })
    .sort()
    .filter((file) => file !== 'multi-instance/check.ts' || has('Redis')),
]

it.each(examples)('the example %s does what it says, prints no secret and ends by itself', async (file) => {
  // Rejects where it ends with anything but 0.
  const { stdout, stderr } = await run(process.execPath, ['--import', 'tsx', `examples/${file}`], {
    cwd: root,
    timeout: 60_000,
    // Decorators are switched on there.
    env: {
      ...process.env,
      FORCE_COLOR: undefined,
      TSX_TSCONFIG_PATH: file.startsWith('nest/') ? 'examples/nest/tsconfig.json' : undefined,
    },
  })

  expect(stderr).toBe('')
  expect(stdout).toContain('  ok  ')
  expect(stdout).not.toMatch(/FAILED|eyJ[\w-]{8}|ticket=|code=/)
})

/** Its page is docs/keycloak.md, which has readers copy the whole folder. */
const WITHOUT_README = ['keycloak/']
const folders = globSync('*', { cwd: path.join(root, 'examples'), onlyDirectories: true }).sort()

it.each(folders.filter((folder) => !WITHOUT_README.includes(folder)))(
  'the example %s has a README of one screen, with a command',
  async (folder) => {
    const text = await readFile(path.join(root, 'examples', folder, 'README.md'), 'utf8')

    expect(text.split('\n').length).toBeLessThan(60)
    expect(text).toMatch(/^ *```sh\n/m)
  },
)

it('the example custom-adapter has the skeleton of its page', async () => {
  const page = await readFile(path.join(root, 'docs/write-an-adapter.md'), 'utf8')
  const example = await readFile(path.join(root, 'examples/custom-adapter/your-storage.ts'), 'utf8')

  expect(page).toContain(`// your-storage.ts\n${example}`)
})

it('the examples for other frameworks have one MCP server in common', async () => {
  const sources = ['connect', 'express4', 'fastify', 'hono', 'nest', 'next/lib'].map((folder) =>
    readFile(path.join(root, 'examples', folder, 'mcp.ts'), 'utf8'),
  )
  const [first, ...others] = await Promise.all(sources)

  for (const other of others) expect(other).toBe(first)
})

/** What the README of an example says to run in an app of one's own, line by line. */
async function commands(example: string): Promise<string[]> {
  const text = await readFile(path.join(root, 'examples', example, 'README.md'), 'utf8')
  const [, ofTheApp = ''] = text.split('In an app of your own')
  const blocks = [...ofTheApp.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block = '']) => block)
  return blocks.flatMap((block) => block.trim().split('\n')).map((line) => line.replace(/ *#.*/, ''))
}

describe.each([
  ['express-mcp', 'mcp-v1.ts'],
  ['existing-app', undefined],
  ['files', undefined],
  ['connect', undefined],
  ['fastify', undefined],
  ['hono', undefined],
  ['nest', undefined],
])('the example %s, copied into an app with nothing but what its README names,', (example, otherSdk) => {
  let app: string
  let said: string[]

  beforeEach(async () => {
    app = await mkdtemp(path.join(tmpdir(), 'copied-'))
    said = await commands(example)
    const source = path.join(root, 'examples', example)
    for (const file of await readdir(source)) {
      const isOfTheApp =
        (file.endsWith('.ts') && file !== 'check.ts') || (example === 'nest' && file === 'tsconfig.json')
      if (isOfTheApp) await copyFile(path.join(source, file), path.join(app, file))
    }
    expect(said).toContain('npm pkg set type=module')
    await writeFile(path.join(app, 'package.json'), '{ "type": "module" }')
    const installed = said.flatMap((line) => /^npm install (?:-D )?(.*)/.exec(line)?.[1]?.split(' ') ?? [])
    for (const name of installed) {
      const to = path.join(app, 'node_modules', name)
      await mkdir(path.dirname(to), { recursive: true })
      await symlink(name === 'mcp-nextcloud-auth' ? root : path.join(root, 'node_modules', name), to)
    }
  })
  afterEach(() => rm(app, { recursive: true }))

  const environment = {
    OIDC_ISSUER: 'https://idp.example.com',
    OIDC_CLIENT_ID: 'mcp-server',
    OIDC_CLIENT_SECRET: 'not-a-real-one',
    NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com/mcp',
    NEXTCLOUD_HOST: 'https://cloud.example.com',
  }
  const start = (given: object) => {
    expect(said).toContain('npx tsx main.ts')
    const env = { PATH: process.env['PATH'], PORT: '0', ...given }
    return spawn(process.execPath, ['--import', 'tsx', 'main.ts'], { cwd: app, env, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  it('starts', async () => {
    const server = start({
      ...environment,
      TOKEN_ENCRYPTION_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64'),
    })
    const ended = once(server, 'close')
    let output = ''
    const listening = new Promise<void>((resolve) => {
      for (const stream of [server.stdout, server.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text
          if (output.includes('Listening on')) resolve()
        })
      }
    })
    await Promise.race([listening, ended])
    server.kill()
    await ended

    expect(output).toContain('Listening on')
  })

  it('compiles under strict options', async () => {
    if (otherSdk !== undefined) {
      await rm(path.join(app, otherSdk))
      const main = path.join(app, 'main.ts')
      const source = await readFile(main, 'utf8')
      const kept = source.split('\n').filter((line) => !line.includes(otherSdk.replace('.ts', '.js')))
      await writeFile(main, kept.join('\n'))
    }
    const [, ...options] = said.find((line) => line.startsWith('npx tsc '))?.split(' ') ?? []
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc')

    // Rejects, with what the compiler says, where there is an error.
    await run(process.execPath, [tsc, ...options.slice(1)], { cwd: app })
    expect(await readdir(path.join(app, 'dist'))).toContain('main.js')
  })

  it('leaves no file behind where the configuration is wrong', async () => {
    const server = start({})
    const [code] = (await once(server, 'close')) as [number]

    expect(code).toBe(1)
    expect((await readdir(app)).filter((file) => file.includes('.db'))).toEqual([])
  })
})
