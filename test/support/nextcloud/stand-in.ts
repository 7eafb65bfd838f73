import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { appRoutes } from '../../../src/testing/nextcloud/apps.js'
import { davRoutes } from '../../../src/testing/nextcloud/dav.js'
import { json, notFound, readRequest, type Asked, type Told } from '../../../src/testing/nextcloud/exchange.js'
import { gate, webServer } from './gates.js'
import { createLoginFlow, type LoginFlow } from './login-flow.js'
import { createOAuth2App, type OAuth2App } from './oauth2-app.js'
import { oauth2Clients } from './oauth2-clients.js'
import { runOcc } from './occ.js'
import { oidcApp } from './oidc-app.js'
import { ocsRoutes } from '../../../src/testing/nextcloud/ocs.js'
import { login } from './sessions.js'
import { addAccount, addProvider, createState, type Account, type NextcloudState } from './state.js'

/**
 * What a test does to requests instead of the stand-in. 0: the connection breaks; `lost`: it breaks once the request has been carried out;
 * `never`: there is no answer, and no end of the connection; `half`: the answer has no end; `broken`: the connection breaks in its middle.
 */
export type Disturbance = (request: Asked) => number | 'lost' | 'never' | 'half' | 'broken' | Told | undefined

/**
 * A Nextcloud of one process, as a client sees it: OCS, WebDAV, Notes, Login Flow v2, the core app `oauth2`, the app `oidc`, and
 * `user_oidc`. Its answers are those of Nextcloud 32: test/nextcloud/recordings.test.ts holds it to them.
 */
export interface NextcloudStandIn {
  readonly url: string
  readonly state: NextcloudState
  readonly flow: LoginFlow
  readonly oauth2: OAuth2App
  /** Requests in their order. */
  readonly requests: Asked[]
  /** Runs a command of `occ`; its output. */
  readonly occ: (args: readonly string[], environment?: Readonly<Record<string, string>>) => string
  /** From now on, requests for which this gives an answer get that; undefined ends it. */
  readonly disturb: (disturbance: Disturbance | undefined) => void
  readonly close: () => Promise<void>
}

export interface StandInOptions {
  /** Milliseconds since the epoch. Default: the clock of this machine. */
  readonly now?: () => number
  /** The folder that it is in, with a slash before and none behind. Default: none. */
  readonly folder?: string
  /** Default: any that is free. */
  readonly port?: number
  /** A provider whose tokens `user_oidc` takes: its issuer, Nextcloud's client id there, and the claim of user ids. */
  readonly provider?: { readonly issuer: string; readonly clientId: string; readonly uid?: string }
  /** Gives a new account what it has at first. */
  readonly welcome?: (account: Account) => void
  /** Hears of every answer, which waits for it. */
  readonly onAnswer?: (asked: Asked, told: Told) => unknown
}

export async function startStandIn({
  now = Date.now,
  folder = '',
  port = 0,
  provider,
  welcome,
  onAnswer = () => undefined,
}: StandInOptions = {}): Promise<NextcloudStandIn> {
  const state = createState(now, welcome)
  addAccount(state, 'admin').groups.add('admin')
  if (provider !== undefined) addProvider(state, provider)
  const flow = createLoginFlow(state)
  const oauth2 = createOAuth2App(state)
  const requests: Asked[] = []
  let disturbance: Disturbance | undefined

  async function answer(asked: Asked): Promise<Told> {
    if (!asked.target.startsWith(`${folder}/`)) return notFound()
    const early = webServer(asked) ?? gate(state, asked)
    if (early !== undefined) return early
    const route = { ...asked, path: asked.path.replace(/^\/index\.php(?=\/)/, '') }
    return (
      login(state, route) ??
      flow.answer(route) ??
      oauth2.answer(route) ??
      oauth2Clients(state, route) ??
      (await oidcApp(state, route)) ??
      (await ocsRoutes(state, asked)) ??
      (await davRoutes(state, asked)) ??
      wellKnown(route) ??
      (await appRoutes(state, route)) ??
      notFound()
    )
  }

  async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const asked = await readRequest(req, folder)
    requests.push(asked)
    const disturbed = disturbance?.(asked)
    if (disturbed === 'never') return
    if (disturbed === 'lost') await onAnswer(asked, await answer(asked))
    if (disturbed === 0 || disturbed === 'lost') {
      req.socket.destroy()
      return
    }
    if (disturbed === 'half' || disturbed === 'broken') {
      res
        .writeHead(200, { 'content-type': 'application/json' })
        .write('{', () => disturbed === 'broken' && res.destroy())
      return
    }
    const told =
      typeof disturbed === 'number' ? { status: disturbed, headers: { 'content-type': 'application/json' } } : disturbed
    const given = told ?? (await answer(asked))
    await onAnswer(asked, given)
    send(res, given)
  }

  // Longer than a busy machine may stop for: a client must not find its idle connection closed at the moment of use.
  const server = createServer({ keepAliveTimeout: 60_000 }, (req, res) => {
    handle(req, res).catch(() => res.destroy())
  }).listen({ port, host: '127.0.0.1', backlog: 4_096 })
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${folder}`,
    state,
    flow,
    oauth2,
    requests,
    occ: (args, environment) => runOcc(state, args, environment),
    disturb(given) {
      disturbance = given
    },
    async close() {
      if (!server.listening) return
      const closed = once(server.close(), 'close')
      server.closeAllConnections()
      await closed
    },
  }
}

function send(res: ServerResponse, { status, headers = {}, body }: Told): void {
  res.writeHead(status, { ...headers } as Record<string, string | string[]>).end(body)
}

function wellKnown({ path }: Asked): Told | undefined {
  const [, name] = /^\/\.well-known\/(.+)$/.exec(path) ?? []
  return name === undefined
    ? undefined
    : json(404, { message: `${name} not supported` }, { 'x-nextcloud-well-known': '1' })
}
