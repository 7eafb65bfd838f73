import type { IncomingMessage } from 'node:http'
import { digest, flowOf } from '../connect/cookies.js'
import type { PurposeOfSignIn, SignInRooms } from './sign-in-rooms.js'

/** Begins the way to Nextcloud in this browser: the address that it leads to, and the cookies that it is bound to. */
export async function leaveForNextcloud(
  { codeGrant, cookies, pending }: SignInRooms,
  purpose: PurposeOfSignIn,
  req: IncomingMessage,
): Promise<{ readonly url: string; readonly cookies: readonly string[] }> {
  const as = await codeGrant.metadata()
  const secrets = codeGrant.secrets()
  const url = await codeGrant.authorizationUrl(as, secrets, false)
  const cookie = cookies.issue(req, flowOf(secrets.state))
  const { verifier, state } = secrets
  await pending.create({ ...purpose, verifier, cookieHash: digest(cookie.value) }, state)
  return { url: url.href, cookies: cookie.headers }
}
