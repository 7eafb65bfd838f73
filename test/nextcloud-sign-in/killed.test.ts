import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { McpAuthEvent } from '../../src/index.js'
import { compileProgram } from '../support/compiled-program.js'
import type { Asked } from '../../src/testing/nextcloud/exchange.js'
import { fresh } from '../../src/testing/nextcloud/exchange.js'
import { startStandIn, type Disturbance } from '../support/nextcloud/stand-in.js'
import { ACCOUNT_PASSWORD, addAccount } from '../support/nextcloud/state.js'
import { createVisitor } from '../support/nextcloud/visitor.js'
import { until } from '../support/promises.js'
import { REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import type { FromSignInProcess, SignInProcessOptions } from '../support/killed-process.js'

const PROGRAM = fileURLToPath(new URL('../support/killed-process.ts', import.meta.url))
const TOKEN = '/index.php/apps/oauth2/api/v1/token'
const MINUTE = 60_000

let folder: string
let program: string
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'killed-'))
  program = await compileProgram(PROGRAM, folder)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function start(options: SignInProcessOptions) {
  const child = fork(program, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, SIGN_IN: JSON.stringify(options) },
  })
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    if (!hasEnded(child)) await once(child, 'exit')
  }
  onTestFinished(kill)
  const events: McpAuthEvent[] = []
  const origin = await new Promise<string>((resolve, reject) => {
    child.on('message', (message: FromSignInProcess) => {
      if ('event' in message) events.push(message.event)
      else resolve(message.listening)
    })
    child.once('exit', () => reject(new Error('The process has ended')))
  })
  return { origin, url: `${origin}/mcp`, events, kill }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null

/** Alice is back from Nextcloud with a code. `kill` ends the process that is about to take it. */
async function setUp() {
  const on: { answer: (asked: Asked) => unknown } = { answer: () => undefined }
  const nextcloud = await startStandIn({ onAnswer: (asked) => on.answer(asked) })
  onTestFinished(nextcloud.close)
  const client = { id: 1, name: 'MCP', clientId: fresh(64), secret: fresh(64), redirectUris: [''] }
  nextcloud.state.oauth2Clients.push(client)
  const own = { url: nextcloud.url, clientId: client.clientId, clientSecret: client.secret }
  const options = { file: path.join(folder, `${fresh(8)}.db`), nextcloud: own }
  const first = await start(options)
  const callback = `${first.origin}/nextcloud/callback`
  client.redirectUris = [callback]
  addAccount(nextcloud.state, 'alice')
  const visitor = () => createVisitor({ name: 'alice', password: ACCOUNT_PASSWORD })
  const app = await registeredClient(first)
  const alice = visitor()
  const back = await alice.until(app.authorizationUrl(), callback)
  return {
    nextcloud,
    on,
    kill: first.kill,
    /** The browser brings the code; the process ends meanwhile. */
    bring: () =>
      alice.until(back, REDIRECT_URI).then(
        () => 'answered',
        () => 'broken',
      ),
    /** Another process on the same store, some minutes later. */
    another: () => start({ ...options, origin: first.origin, ahead: 6 * MINUTE }),
    alive: () => nextcloud.state.tokens.filter(({ kind }) => kind === 'oauth2').length,
  }
}

describe('a process that is killed in the middle of a sign-in', () => {
  it('before Nextcloud has the code leaves nothing: another one redeems it, and ends what comes', async () => {
    const { nextcloud, kill, bring, another, alive } = await setUp()
    let killed: Promise<void> | undefined
    const atToken: Disturbance = ({ path }) => {
      if (path !== TOKEN || killed !== undefined) return undefined
      killed = kill()
      return 0
    }
    nextcloud.disturb(atToken)

    expect(await bring()).toBe('broken')
    await killed
    nextcloud.disturb(undefined)
    const { events } = await another()

    await until(() => events.some(({ type }) => type === 'grant.revoked'))
    expect(events).toContainEqual(expect.objectContaining({ type: 'grant.revoked', subject: 'alice', revoked: true }))
    expect([alive(), nextcloud.requests.filter(({ method }) => method === 'DELETE').length]).toEqual([0, 1])
  })

  it('before it has the answer is told of: nobody has the tokens, and the session can be ended in Nextcloud', async () => {
    const { on, kill, bring, another, alive, nextcloud } = await setUp()
    on.answer = async ({ path }) => {
      if (path === TOKEN) await kill()
    }

    expect(await bring()).toBe('broken')
    on.answer = () => undefined
    expect(alive()).toBe(1)
    const next = await another()

    await until(() => next.events.some(({ type }) => type === 'connect.failed'))
    expect(next.events.filter(({ type }) => type === 'connect.failed')).toEqual([
      expect.objectContaining({ hint: expect.stringMatching(/answer of Nextcloud was lost/) as string }),
    ])
    expect(nextcloud.requests.filter(({ path }) => path === TOKEN)).toHaveLength(2)
  })

  it.each([
    ['before it has asked who it is', (path: string) => path.includes('/cloud/user')],
    ['while it asks for the pages that follow', undefined],
  ] as const)('%s leaves no token alive that is not a connection', async (_when, isThen) => {
    const { on, kill, bring, another, alive } = await setUp()
    on.answer = async ({ path }) => {
      if (isThen?.(path) === true) await kill()
    }

    expect(await bring()).toBe(isThen === undefined ? 'answered' : 'broken')
    await kill()
    on.answer = () => undefined
    const { events } = await another()

    await until(() => (isThen === undefined ? true : events.some(({ type }) => type === 'grant.revoked')))
    expect(alive()).toBe(isThen === undefined ? 1 : 0)
    expect(events.filter(({ type }) => type === 'connect.failed')).toEqual([])
  })
})
