import { setTimeout as sleep } from 'node:timers/promises'
import { send } from '../support/answers.js'
import type { Family } from '../support/refresh-tokens.js'
import { createTestBrowser } from '../support/test-browser.js'
import type { SoakServer } from './authorization-server.js'
import { GRANT_CHECK, type Disturbances, type Group } from './group.js'
import type { Judge } from './judge.js'

/** Milliseconds for which an instance that has not looked yet may serve what has ended, with some for a clock that ticks. */
const SEEN_AFTER = GRANT_CHECK * 1_000 + 1_000
/** Milliseconds for which an MCP client keeps its token: shorter than a signing key is published after another replaced it. */
const TOKEN_KEPT = 5_000
const MOST_TRIES = 40

/** A person with an MCP client, who works, disconnects and connects again. */
export interface User {
  /** Works until it is over. */
  readonly live: (isOver: () => boolean) => Promise<void>
  /** Whether the user is connected, and each process serves them. */
  readonly check: (port: number) => Promise<void>
  readonly isConnected: () => boolean
  /** Milliseconds since the epoch at which a connection was made or ended last. */
  readonly changedAt: () => number
  readonly subject: string
}

interface UserRooms {
  readonly judge: Judge
  readonly server: SoakServer
  readonly group: Group
  readonly disturbances: Disturbances
}

interface State {
  readonly subject: string
  /** `changing` while it cannot be known. */
  connection: 'connected' | 'disconnected' | 'changing'
  /** Changes with each change. */
  version: number
  changedAt: number
  /** Families that the user has ended: when, in milliseconds since the epoch. */
  readonly ended: Map<Family, number>
  token: string
  tokenAt: number
}

interface Answered {
  /** With which it was asked. */
  readonly mcpToken: string
  readonly status: number | 'broken'
  readonly json: Record<string, unknown>
  /** The code of a failure, and what the operator is told of it. */
  readonly failure?: string
}

export function createUser(rooms: UserRooms, subject: string): User {
  const { judge, server, group } = rooms
  const state: State = {
    subject,
    connection: 'changing',
    version: 0,
    changedAt: -Infinity,
    ended: new Map(),
    token: '',
    tokenAt: -Infinity,
  }

  async function token(): Promise<string> {
    if (Date.now() - state.tokenAt > TOKEN_KEPT) {
      state.token = await server.mint(subject, group.resource)
      state.tokenAt = Date.now()
    }
    return state.token
  }

  async function request(method: string, path: string, origin = group.front.origin): Promise<Answered> {
    const mcpToken = await token()
    const headers = [['Authorization', `Bearer ${mcpToken}`]] as const
    try {
      const { response, text } = await send(origin, { method, path, headers })
      return {
        mcpToken,
        status: response.statusCode ?? 0,
        json: jsonOf(text),
        failure: String(response.headers['x-failure'] ?? ''),
      }
    } catch {
      return { mcpToken, status: 'broken', json: {} }
    }
  }

  async function call(origin?: string): Promise<Answered> {
    const { version, connection } = state
    const from = Date.now()
    const answered = await request('GET', '/mcp', origin)
    const settled = version === state.version ? connection : 'changing'
    judgeCall(rooms, state, { ...answered, from, settled })
    return answered
  }

  /** Calls where tokens are exchanged and shared, whatever the user's connection is. */
  async function exchange(): Promise<void> {
    const from = Date.now()
    judgeExchange(rooms, state, { ...(await request('GET', '/exchange')), from })
  }

  function change(connection: State['connection']): void {
    state.connection = connection
    state.version += 1
    state.changedAt = Date.now()
  }

  /** Repeats what a fault may have kept from coming about. */
  async function insist(what: string, attempt: () => Promise<boolean>): Promise<void> {
    change('changing')
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      if (await attempt()) return
      await sleep(1_000)
    }
    judge.violation(`${what} does not come about`, subject)
  }

  async function disconnect(): Promise<void> {
    let calls: Promise<unknown> | undefined
    await insist('a disconnection', async () => {
      calls ??= Promise.all([call(), call()])
      const { status } = await request('POST', '/nextcloud/disconnect')
      if (status === 401) judge.violation('a good token is a 401', `${subject}: POST /nextcloud/disconnect`)
      return status === 200
    })
    const now = Date.now()
    for (const family of server.familiesOf(subject)) if (!state.ended.has(family)) state.ended.set(family, now)
    change('disconnected')
    judge.count('disconnections')
    await calls
  }

  /** Up to where the person comes back from the authorization server. */
  async function agree() {
    const { json } = await request('GET', '/mcp/link')
    if (typeof json['link'] !== 'string') return undefined
    const browser = createTestBrowser(group.front.origin)
    const page = await browser.open(json['link'])
    if (page.status !== 200) return undefined
    const { refreshTo } = await browser.press(page, { answer: 'yes' })
    return refreshTo && { browser, callback: await server.authorize(refreshTo, subject) }
  }

  async function connect(): Promise<void> {
    await insist('a connection', async () => {
      const arrival = await agree().catch(() => undefined)
      const page = await arrival?.browser.open(arrival.callback).catch(() => undefined)
      return page?.status === 200
    })
    change('connected')
    judge.count('connections')
  }

  /** The user goes to connect again, disconnects elsewhere, and only then comes back: nothing may come of that. */
  async function disconnectOnTheWay(): Promise<void> {
    change('changing')
    const arrival = await agree().catch(() => undefined)
    await disconnect()
    if (arrival === undefined) return
    await arrival.browser.open(arrival.callback).catch(() => undefined)
    judge.count('disconnections while a connection was under way')
  }

  async function act(): Promise<void> {
    const lot = Math.random() * 100
    if (state.connection === 'disconnected') {
      if (lot < 25) await connect()
    } else if (lot < 3) await disconnect()
    else if (lot < 5) await disconnectOnTheWay()
    else if (lot < 7) await connect()
  }

  return {
    subject,
    isConnected: () => state.connection === 'connected',
    changedAt: () => (state.connection === 'changing' ? -Infinity : state.changedAt),
    async live(isOver) {
      await connect()
      while (!isOver()) {
        const [, ...answers] = await Promise.all([exchange(), call(), call()])
        const isLost = answers.some(({ status, json }) => status === 403 && json['reason'] !== 'never')
        const { family, lost } = latest(server, subject)
        if (state.connection === 'connected' && isLost && family !== undefined && lost) {
          judge.count('connections lost with an answer')
          await connect()
        } else if (!judge.calm()) await act()
        if (Math.random() < 0.02) await strangersCall(rooms, subject)
        await sleep(200 + Math.random() * 400)
      }
    },
    async check(port) {
      const { status } = await call(`http://127.0.0.1:${port}`)
      judge.count(status === 200 ? 'last calls with a token' : 'last calls without one')
    },
  }
}

function latest(server: SoakServer, subject: string) {
  const family = server.familiesOf(subject).at(-1)
  return { family, lost: family !== undefined && server.isLost(family) }
}

function judgeCall(
  rooms: UserRooms,
  state: State,
  {
    status,
    json,
    failure = '',
    from,
    settled,
  }: Answered & { readonly from: number; readonly settled: State['connection'] },
): void {
  const { judge, server, group } = rooms
  const { subject } = state
  const excused = judge.excuses([group.kind, subject], from, Date.now())
  judge.count(excused ? 'calls within a fault and 20 s after it' : 'calls outside of faults')
  judge.count(`answers: ${status} ${failure.split(' ')[0] ?? ''}`)
  if (status === 200) return judgeToken(rooms, state, { token: String(json['token']), from })
  if (status === 'broken') return
  const told = `${subject} at ${group.kind}: ${status} ${failure || JSON.stringify(json)}`
  if (status === 403) {
    if (settled === 'connected' && !latest(server, subject).lost) judge.violation('a connection is lost', told)
  } else if (status === 401) judge.violation('a good token is a 401', told)
  else if (status < 500) judge.violation('an answer that must not be', told)
  else if (!excused) judge.violation('an outage outside of a fault', told)
}

function judgeToken(
  { judge, server, group, disturbances }: UserRooms,
  { subject, ended }: State,
  { token, from }: { readonly token: string; readonly from: number },
): void {
  const issued = server.issuedAs(token)
  if (issued?.subject !== subject)
    judge.violation('a wrong token', `${subject} got one of ${issued?.subject ?? 'nobody'}`)
  if (issued === undefined) return
  if (issued.endsAt < from) judge.violation('a token that had expired', `${subject}: ${from - issued.endsAt} ms before`)
  const endedAt = ended.get(issued.family) ?? Infinity
  if (endedAt + SEEN_AFTER < from && !disturbances.wasCutOff(group.kind, endedAt, Date.now())) {
    judge.violation('a token of a connection that had ended', `${subject}: ${from - endedAt} ms before`)
  }
}

function judgeExchange(
  { judge, server, group }: UserRooms,
  { subject }: State,
  { status, json, failure = '', from, mcpToken }: Answered & { readonly from: number },
): void {
  judge.count(`answers where tokens are shared: ${status} ${failure.split(' ')[0] ?? ''}`)
  if (status === 'broken') return
  const told = `${subject} at ${group.kind}: ${status} ${failure || JSON.stringify(json)}`
  if (status >= 500) {
    if (!judge.excuses([group.kind, subject], from, Date.now())) judge.violation('an outage outside of a fault', told)
    return
  }
  if (status !== 200) return judge.violation('an answer that must not be, where tokens are shared', told)
  const exchanged = server.exchangedFor(String(json['token']))
  if (exchanged === undefined || exchanged.mcpToken !== mcpToken)
    judge.violation('a token that was exchanged for another', told)
  else if (exchanged.endsAt < from)
    judge.violation('a token that had expired', `${subject}: ${from - exchanged.endsAt} ms before, shared`)
}

/** A token under the key of a stranger, which nobody has published: it costs a look for new keys. */
async function strangersCall({ judge, server, group }: UserRooms, subject: string): Promise<void> {
  const headers = [['Authorization', `Bearer ${await server.forge(subject, group.resource)}`]] as const
  const answer = await send(group.front.origin, { path: '/mcp', headers }).catch(() => undefined)
  judge.count('tokens of strangers')
  if (answer?.response.statusCode === 200) judge.violation("a stranger's token passes", subject)
}

function jsonOf(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return {}
  }
}
