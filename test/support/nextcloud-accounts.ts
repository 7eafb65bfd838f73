import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { listen } from './hosts.js'

/** One request that came in. */
export interface AccountsRequest {
  readonly method: string
  /** Without its query. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** An app password that Nextcloud knows. */
export interface KnownAppPassword {
  readonly uid: string
  readonly loginName: string
  readonly password: string
  /** The name of the client, as among the devices and sessions of the account. */
  readonly name: string
}

/** What a person sees and does at Nextcloud, as an account or not signed in. */
export interface NextcloudVisit {
  readonly status: number
  readonly text: string
  readonly location: string | undefined
}

/**
 * A Nextcloud that takes no bearer token: Login Flow v2, app passwords, and OCS and DAV with Basic authentication. Its answers are
 * those that ClientFlowLoginV2Controller, LoginFlowV2Service and AppPasswordController of Nextcloud's server give.
 */
export interface NextcloudAccounts {
  readonly url: string
  readonly requests: AccountsRequest[]
  readonly received: (path: string) => readonly AccountsRequest[]
  /** What lives, oldest first. */
  readonly appPasswords: KnownAppPassword[]
  /** Flows that were begun. */
  readonly begun: () => number
  /** Opens the address of a flow, signed in as an account, or not at all. */
  readonly open: (login: string | URL, uid?: string) => Promise<NextcloudVisit>
  /** Opens it and presses "Grant access". */
  readonly grant: (login: string | URL, uid: string, loginName?: string) => Promise<NextcloudVisit>
  /** The user deletes every app password in the security settings. */
  readonly deleteAll: () => void
  /** From now on, every request for which this gives a status is answered with that; undefined ends it. */
  readonly disturb: (status: ((request: AccountsRequest) => number | undefined) | undefined) => void
  /** From now on, this is changed in what flows answer. */
  readonly change: (answers: { start?: object; poll?: object }) => void
}

interface Flow {
  readonly loginToken: string
  readonly pollToken: string
  readonly name: string
  readonly endsAt: number
  made: KnownAppPassword | undefined
}

const FLOW_LIFE = 20 * 60_000
/** Wrong credentials within the time, from which on every one is turned away unread. */
const MOST_WRONG = 10
const WRONG_LIFE = 30 * 60_000

/** @param now milliseconds since the epoch */
export async function startNextcloudAccounts(now: () => number): Promise<NextcloudAccounts> {
  const requests: AccountsRequest[] = []
  const appPasswords: KnownAppPassword[] = []
  let flows: Flow[] = []
  let wrong: number[] = []
  let begun = 0
  let disturbance: ((request: AccountsRequest) => number | undefined) | undefined
  let changes: { start?: object; poll?: object } = {}
  /** State tokens of grant pages, by account. */
  const states = new Map<string, { readonly uid: string; readonly flow: Flow }>()

  const json = (status: number, body: unknown, headers = {}) => ({ status, headers, body: JSON.stringify(body) })
  const live = (token: string, field: 'loginToken' | 'pollToken') =>
    flows.find((flow) => flow[field] === token && now() < flow.endsAt)
  const uidOf = ({ headers }: AccountsRequest) => /(?:^|; )nc_session=([^;]+)/.exec(headers.cookie ?? '')?.[1]

  function start({ headers }: AccountsRequest) {
    const flow: Flow = {
      loginToken: fresh(128),
      pollToken: fresh(128),
      name: headers['user-agent'] ?? '',
      endsAt: now() + FLOW_LIFE,
      made: undefined,
    }
    flows.push(flow)
    begun += 1
    return json(200, {
      poll: { token: flow.pollToken, endpoint: `${app.url}/login/v2/poll` },
      login: `${app.url}/login/v2/flow/${flow.loginToken}`,
      ...changes.start,
    })
  }

  function poll({ body }: AccountsRequest) {
    const flow = live(new URLSearchParams(body).get('token') ?? '', 'pollToken')
    if (flow?.made === undefined) return json(404, [])
    flows = flows.filter((other) => other !== flow)
    const { loginName, password } = flow.made
    return json(200, { server: app.url, loginName, appPassword: password, ...changes.poll })
  }

  function grantPage(request: AccountsRequest, loginToken: string) {
    const flow = live(loginToken, 'loginToken')
    if (flow === undefined) return { status: 403, headers: {}, body: 'Your login token is invalid or has expired' }
    const uid = uidOf(request)
    if (uid === undefined) return { status: 303, headers: { location: `${app.url}/login` }, body: '' }
    const state = fresh(64)
    states.set(state, { uid, flow })
    const body = `<p>You are about to grant ${flow.name} access to your account (${uid}).</p><input name="stateToken" value="${state}">`
    return { status: 200, headers: {}, body }
  }

  function grant(request: AccountsRequest) {
    const form = new URLSearchParams(request.body)
    const state = states.get(form.get('stateToken') ?? '')
    states.delete(form.get('stateToken') ?? '')
    if (state === undefined || state.uid !== uidOf(request)) {
      return { status: 403, headers: {}, body: 'State token does not match' }
    }
    const { uid, flow } = state
    const loginName = form.get('loginName') ?? uid
    flow.made = { uid, loginName, password: fresh(72), name: flow.name }
    appPasswords.push(flow.made)
    return { status: 200, headers: {}, body: 'Account connected' }
  }

  /** The app password of a request; or how it is turned away. */
  function authenticate({ headers }: AccountsRequest) {
    if (headers['ocs-apirequest'] !== 'true') return json(412, { message: 'CSRF check failed' })
    wrong = wrong.filter((at) => now() < at + WRONG_LIFE)
    if (wrong.length >= MOST_WRONG) return json(429, { message: 'Reached maximum delay' }, { 'retry-after': '1800' })
    const [, credentials = ''] = /^Basic (.+)$/.exec(headers.authorization ?? '') ?? []
    const given = Buffer.from(credentials, 'base64').toString()
    const known = appPasswords.find(({ loginName, password }) => given === `${loginName}:${password}`)
    if (known !== undefined) return known
    wrong.push(now())
    return json(401, {
      ocs: { meta: { status: 'failure', statuscode: 997, message: 'Current user is not logged in' }, data: [] },
    })
  }

  function answer(request: AccountsRequest) {
    const { method, path } = request
    const route = `${method} ${path}`
    if (route === 'POST /index.php/login/v2') return start(request)
    if (route === 'POST /index.php/login/v2/poll') return poll(request)
    if (route === 'POST /login/v2/grant') return grant(request)
    const [, loginToken] = /^GET \/login\/v2\/flow\/(\w+)$/.exec(route) ?? []
    if (loginToken !== undefined) return grantPage(request, loginToken)
    const known = authenticate(request)
    if ('status' in known) return known
    if (route === 'DELETE /ocs/v2.php/core/apppassword') {
      appPasswords.splice(appPasswords.indexOf(known), 1)
      return json(200, { ocs: { meta: { statuscode: 200 }, data: [] } })
    }
    if (path.startsWith('/index.php/apps/closed/')) return json(401, { message: 'Not for apps' })
    return json(200, { ocs: { meta: { statuscode: 200 }, data: { id: known.uid } } })
  }

  const app = await listen((req, res) => {
    void text(req).then((body) => {
      const [path = ''] = (req.url ?? '').split('?')
      const request = { method: req.method ?? '', path, headers: req.headers, body }
      requests.push(request)
      const disturbed = disturbance?.(request)
      // No answer at all.
      if (disturbed === 0) return req.socket.destroy()
      const given = disturbed === undefined ? answer(request) : { status: disturbed, headers: {}, body: '' }
      return res.writeHead(given.status, { 'content-type': 'application/json', ...given.headers }).end(given.body)
    })
  })
  onTestFinished(() => app.close())

  async function visit(url: string | URL, uid: string | undefined, form?: Record<string, string>) {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: uid === undefined ? {} : { cookie: `nc_session=${uid}` },
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
    })
    const location = response.headers.get('location') ?? undefined
    return { status: response.status, text: await response.text(), location }
  }

  return {
    url: app.url,
    requests,
    received: (path) => requests.filter((request) => request.path === path),
    appPasswords,
    begun: () => begun,
    open: visit,
    async grant(login, uid, loginName = uid) {
      const page = await visit(login, uid)
      const stateToken = /name="stateToken" value="(\w+)"/.exec(page.text)?.[1]
      if (stateToken === undefined) return page
      return visit(`${app.url}/login/v2/grant`, uid, { stateToken, loginName })
    },
    deleteAll: () => void appPasswords.splice(0),
    disturb(given) {
      disturbance = given
    },
    change(given) {
      changes = given
    },
  }
}

const fresh = (length: number): string => randomBytes(length).toString('hex').slice(0, length)
