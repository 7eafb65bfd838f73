import { empty, escaped, fieldsOf, fresh, json, page, seeOther, type Asked, type Told } from './exchange.js'
import { accountOf, rememberPassword, type NextcloudState, type Session } from './state.js'

const COOKIE = 'nc_session_id'

/** Finds the browser of a request. */
export function sessionOf(state: NextcloudState, { headers }: Asked): Session | undefined {
  return state.sessions.get(new RegExp(`(?:^|; )${COOKIE}=([^;]+)`).exec(headers.cookie ?? '')?.[1] ?? '')
}

export function newSession(state: NextcloudState, uid?: string, loginName = uid ?? ''): Session {
  const session: Session = { id: fresh(32), requestToken: fresh(89), uid, loginName, kept: new Map() }
  state.sessions.set(session.id, session)
  return session
}

/** The `Cookie` header of a browser. */
export const cookieOf = ({ id }: Session): string => `${COOKIE}=${id}`

/** Gives a browser that has no session one, with the answer. */
export function withSession(state: NextcloudState, asked: Asked, answer: (session: Session) => Told): Told {
  const known = sessionOf(state, asked)
  if (known !== undefined) return answer(known)
  const session = newSession(state)
  const told = answer(session)
  return { ...told, headers: { ...told.headers, 'set-cookie': `${cookieOf(session)}; Path=/; HttpOnly; SameSite=Lax` } }
}

export function clearSession(session: Session): void {
  session.uid = undefined
  session.loginName = ''
}

/** Sends a browser to the sign-in; who asks for JSON is told that nobody is signed in. */
export function loginPage({ headers }: Asked, returnTo: string): Told {
  if ((headers.accept ?? '').startsWith('application/json'))
    return json(401, { message: 'Current user is not logged in' })
  const encoded = encodeURIComponent(returnTo).replaceAll('%2F', '/').replaceAll('%3A', ':').replaceAll('%3F', '?')
  return seeOther(`/login?redirect_url=${encoded}`)
}

/** The sign-in page, and what it sends. */
export function login(state: NextcloudState, asked: Asked): Told | undefined {
  const { method, path, query } = asked
  if (path === '/' || path === '/index.php' || path === '') return empty(302, { location: `${asked.base}/login` })
  if (path !== '/login') return undefined
  return withSession(state, asked, (session) => {
    if (method !== 'POST') return signInForm(session, query.get('redirect_url') ?? '')
    const form = fieldsOf(asked)
    if (form.get('requesttoken') !== session.requestToken) return seeOther('/login')
    const account = accountOf(state, form.get('user') ?? '')
    if (account?.password !== form.get('password') || !account.enabled) return seeOther('/login')
    session.uid = account.uid
    session.loginName = form.get('user') ?? account.uid
    rememberPassword(state, account)
    return seeOther(asked.base + (form.get('redirect_url') ?? '/'))
  })
}

function signInForm({ requestToken }: Session, returnTo: string): Told {
  const fields = `<input name="user"><input type="password" name="password"><input type="hidden" name="requesttoken" value="${requestToken}"><input type="hidden" name="redirect_url" value="${escaped(returnTo)}">`
  return page(200, `<form method="post" action="/login">${fields}</form>`, {}, 'Login – Nextcloud')
}
