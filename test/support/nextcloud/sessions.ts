import {
  empty,
  fieldsOf,
  fresh,
  json,
  page,
  seeOther,
  type Asked,
  type Told,
} from '../../../src/testing/nextcloud/exchange.js'
import { accountOf, rememberPassword, sessionOfCookie, type NextcloudState, type Session } from './state.js'

const COOKIE = 'nc_session_id'

/** Finds the browser of a request. */
export function sessionOf(state: NextcloudState, { headers }: Asked): Session | undefined {
  return sessionOfCookie(state, headers.cookie)
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
  const { method, path } = asked
  if (path === '/' || path === '/index.php' || path === '') return empty(302, { location: `${asked.base}/login` })
  if (path !== '/login') return undefined
  return withSession(state, asked, (session) => {
    if (method !== 'POST') return signInForm(session)
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

/** Returns the page of the sign-in. Its form is a script's; the script finds this token in the head. */
function signInForm({ requestToken }: Session): Told {
  const { body = '', ...told } = page(200, '', {}, 'Login – Nextcloud')
  return { ...told, body: body.toString().replace('<head>', `<head data-requesttoken="${requestToken}">`) }
}
