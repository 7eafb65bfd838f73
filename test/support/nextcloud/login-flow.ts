import {
  broken,
  empty,
  escaped,
  fieldsOf,
  forbidden,
  fresh,
  json,
  page,
  seeOther,
  signedIn,
} from '../../../src/testing/nextcloud/exchange.js'
import type { Asked, Told } from '../../../src/testing/nextcloud/exchange.js'
import { loginPage, sessionOf, withSession } from './sessions.js'
import { addToken, type AuthToken, type NextcloudState, type Session } from './state.js'

interface Flow {
  readonly loginToken: string
  readonly pollToken: string
  readonly name: string
  /** Milliseconds since the epoch. */
  readonly endsAt: number
  made: AuthToken | undefined
}

/** Login Flow v2: a link that a browser opens, and a token that asks for the app password which comes of it. */
export interface LoginFlow {
  /** Flows that were begun. */
  readonly begun: () => number
  /** Members that replace those of the answers, for a test. */
  readonly changes: { start?: object | undefined; poll?: object | undefined }
  readonly answer: (asked: Asked) => Told | undefined
}

/** Milliseconds. */
const LIFE = 20 * 60_000

const WARNING =
  '<h3>Security warning</h3><p>If you are not trying to set up a new device or app, someone is trying to trick you into granting them access to your data. In this case do not proceed and instead contact your system administrator.</p>'

/**
 * The page before the sign-in, of this flow and of the older one that the core app `oauth2` uses.
 *
 * @param more another form
 */
export function pickerPage(name: string, action: string, headers: Told['headers'] = {}, more = ''): Told {
  const words = `Please log in before granting <strong>${escaped(name)}</strong> access to your Nextcloud account.`
  // Its script opens `action` as it stands: sent as a form, a browser would drop the query.
  const form = `<form id="login-form" action="${escaped(action)}" method="get"><input type="submit" value="Log in" disabled></form>`
  return page(200, `<h2>Connect to your account</h2><p>${words}</p>${WARNING}${form}${more}`, headers)
}

/** The page after it. */
export function grantPage(
  session: Session,
  name: string,
  displayName: string,
  fields: Record<string, string>,
  action: string,
): Told {
  const inputs = Object.entries({ requesttoken: session.requestToken, ...fields }).map(
    ([field, value]) => `<input type="hidden" name="${field}" value="${escaped(value)}">`,
  )
  const words = `<p>Currently logged in as ${escaped(displayName)} (${escaped(session.uid ?? '')}).</p><p>You are about to grant <strong>${escaped(name)}</strong> access to your Nextcloud account.</p>`
  const form = `<form method="POST" action="${escaped(action)}">${inputs.join('')}<input type="submit" title="" value="Grant access"></form>`
  return page(200, `<h2>Account access</h2>${words}${form}`, signedIn(session.uid ?? ''))
}

export function createLoginFlow(state: NextcloudState): LoginFlow {
  let flows: Flow[] = []
  let begun = 0
  const changes: LoginFlow['changes'] = {}

  const live = (token: string | undefined, field: 'loginToken' | 'pollToken') =>
    flows.find((flow) => flow[field] === token && state.now() < flow.endsAt)

  function start({ headers, base }: Asked): Told {
    const flow: Flow = {
      loginToken: fresh(128),
      pollToken: fresh(128),
      name: headers['user-agent'] ?? 'unknown',
      endsAt: state.now() + LIFE,
      made: undefined,
    }
    flows.push(flow)
    begun += 1
    return json(200, {
      poll: { token: flow.pollToken, endpoint: `${base}/login/v2/poll` },
      login: `${base}/login/v2/flow/${flow.loginToken}`,
      ...changes.start,
    })
  }

  function poll(asked: Asked): Told {
    const token = fieldsOf(asked).get('token')
    if (token === null) return broken()
    const flow = live(token, 'pollToken')
    if (flow?.made === undefined) return json(404, [])
    flows = flows.filter((other) => other !== flow)
    const { loginName, password } = flow.made
    return json(200, { server: asked.base, loginName, appPassword: password, ...changes.poll })
  }

  /** The link itself. The token goes into the session of the browser. */
  function open(asked: Asked, loginToken: string): Told {
    if (live(loginToken, 'loginToken') === undefined) return invalid()
    return withSession(state, asked, (session) => {
      session.kept.set('login-token', loginToken)
      return seeOther(`${asked.base}/login/v2/flow?user=&direct=0`, whoIs(session))
    })
  }

  /** Answers with the flow of a browser, or refuses. */
  function inFlow(asked: Asked, answer: (flow: Flow, session: Session) => Told): Told {
    const session = sessionOf(state, asked)
    const flow = live(session?.kept.get('login-token'), 'loginToken')
    if (session === undefined || flow === undefined) return invalid()
    return answer(flow, session)
  }

  function firstPage(asked: Asked): Told {
    return inFlow(asked, (flow, session) => {
      const { allowedUserAgents } = state.settings
      if (allowedUserAgents.length > 0 && !allowedUserAgents.some((pattern) => pattern.test(flow.name)))
        return forbidden('Please use original client', whoIs(session))
      const stateToken = fresh(64)
      session.kept.set('state-token', stateToken)
      return pickerPage(
        flow.name,
        `${asked.base}/login/v2/grant?stateToken=${stateToken}&user=&direct=0`,
        whoIs(session),
        appTokenForm(`${asked.base}/login/v2/apptoken`, { stateToken, requesttoken: session.requestToken }),
      )
    })
  }

  /** "Alternative log in using app password": the very app password is what the flow gives. */
  function byAppToken(asked: Asked): Told {
    const form = fieldsOf(asked)
    const session = sessionOf(state, asked)
    if (session === undefined || form.get('requesttoken') !== session.requestToken)
      return page(412, '<h2>Access forbidden</h2><p>CSRF check failed</p>')
    if (form.get('stateToken') !== session.kept.get('state-token'))
      return forbidden('State token does not match', whoIs(session))
    return inFlow(asked, (flow) => {
      const token = state.tokens.find(({ password }) => password === form.get('password'))
      if (token?.loginName !== form.get('user')) return forbidden('Invalid app password', whoIs(session))
      flow.made = token
      return page(200, CONNECTED, whoIs(session))
    })
  }

  function grant(asked: Asked): Told {
    const session = sessionOf(state, asked)
    const isPost = asked.method === 'POST'
    if (session?.uid === undefined)
      return loginPage(asked, `/login/v2/grant?stateToken=${asked.query.get('stateToken') ?? ''}`)
    const account = state.accounts.get(session.uid)
    const form = isPost ? fieldsOf(asked) : asked.query
    if (isPost && form.get('requesttoken') !== session.requestToken)
      return page(412, '<h2>Access forbidden</h2><p>CSRF check failed</p>', whoIs(session))
    const expected = session.kept.get('state-token')
    if (expected === undefined || form.get('stateToken') !== expected)
      return forbidden('State token does not match', whoIs(session))
    return inFlow(asked, (flow) => {
      const fields = { stateToken: expected }
      if (!isPost)
        return grantPage(session, flow.name, account?.displayName ?? '', fields, `${asked.base}/login/v2/grant`)
      session.kept.delete('state-token')
      flow.made = addToken(state, {
        kind: 'app-password',
        uid: session.uid ?? '',
        loginName: session.loginName,
        name: flow.name,
      })
      return page(200, CONNECTED, whoIs(session))
    })
  }

  function answer(asked: Asked): Told | undefined {
    const { method, path } = asked
    if (path === '/login/v2') return method === 'POST' ? start(asked) : empty(405)
    if (path === '/login/v2/poll') return method === 'POST' ? poll(asked) : empty(405)
    if (path === '/login/v2/flow') return firstPage(asked)
    if (path === '/login/v2/grant') return grant(asked)
    if (path === '/login/v2/apptoken' && method === 'POST') return byAppToken(asked)
    const [, loginToken] = /^\/login\/v2\/flow\/(.+)$/.exec(path) ?? []
    return loginToken === undefined ? undefined : open(asked, loginToken)
  }

  return { begun: () => begun, changes, answer }
}

const CONNECTED = '<h2>Account connected</h2><p>Your client should now be connected! You can close this window.</p>'

function appTokenForm(action: string, hidden: Record<string, string>): string {
  const inputs = Object.entries(hidden).map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`)
  const typed = '<input type="text" name="user" id="user"><input type="password" name="password" id="password">'
  return `<form action="${escaped(action)}" method="post" id="app-token-login-field">${typed}${inputs.join('')}</form>`
}

const invalid = (): Told => forbidden('Your login token is invalid or has expired')
const whoIs = ({ uid }: Session) => (uid === undefined ? {} : signedIn(uid))
