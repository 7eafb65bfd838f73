import type { IncomingMessage } from 'node:http'
import type { ConnectParts } from './connect-parts.js'
import { flowOf } from './cookies.js'
import { LOGIN_KNOWN_FOR, type Login } from './login-flow.js'
import type { Page } from './pages/pages.js'

/** The page that leads to Nextcloud and waits there, for the browser whose user is known by now. */
export function waitingPage(
  parts: ConnectParts,
  req: IncomingMessage,
  secret: string,
  { login, clientId: clientName }: Login,
): { readonly page: Page; readonly cookies: readonly string[] } {
  const { pages, cookies } = parts
  const flow = flowOf(secret)
  return {
    page: pages.waiting({ login, clientName, next: loginAddress(parts, flow) }),
    // The cookie itself is the secret: nobody else's browser has it, and no URL does.
    cookies: cookies.issue(req, flow, { value: secret, life: LOGIN_KNOWN_FOR }).headers,
  }
}

/** Where a login's page is. It names the cookie, and is of no use to a browser without it. */
export function loginAddress({ origin, connect }: Pick<ConnectParts, 'origin' | 'connect'>, flow: string): string {
  return `${origin}${connect.path}/login?flow=${flow}`
}
