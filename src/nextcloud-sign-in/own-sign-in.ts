import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Provider } from 'oidc-provider'
import { readClaim } from '../connect/client-names.js'
import type { Identity } from '../grants/grant.js'
import type { OwnSignIn } from '../local-options.js'
import { createWatchers } from '../watchers.js'
import { leaveForNextcloud } from './leave.js'
import { endSession } from './model-adapter.js'
import { meaningOf } from './outage.js'
import { asIssuer } from './provider.js'
import { readSessions, SESSION_LIFE } from './sessions.js'
import type { SignInRooms } from './sign-in-rooms.js'
import { isEnded, isSameAccount, withdrawalsOf, type loginOf, type SignedInSession } from './withdrawn.js'

/**
 * Returns what the page of connections does with the sessions of this authorization server.
 *
 * @param known the rooms, once they are built
 */
export function createOwnSignIn(known: () => SignInRooms, codes: OwnSignIn['codes']): OwnSignIn {
  return {
    watchers: createWatchers(),
    codes,
    begin: (req) => leaveForNextcloud(known(), { visit: true }, req),
    sessions: (req, subject) => asOurs(listSessions(known(), req, subject)),
    end: (req, subject, which) => asOurs(endSessions(known(), req, { subject, which })),
    signOut: (req, res) => asOurs(signOut(known(), req, res)),
    claimOf: async (clientId) => {
      // The name in a metadata document stands on the page already.
      if (clientId.startsWith('https:')) return undefined
      const client = await (await known().provider()).Client.find(clientId).catch(() => undefined)
      return readClaim(client?.clientName)
    },
    withdrawalsOf,
    isSameAccount: (subject) => isSameAccount(known(), subject),
  }
}

/** Rejects with an outage of the store, and not with oidc-provider's word for it. */
async function asOurs<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw meaningOf(error)
  })
}

/** Returns the person who has signed in here in this browser. */
export async function userAt(rooms: SignInRooms, req: IncomingMessage): Promise<Identity | undefined> {
  const { session } = await asOurs(sessionAt(rooms, req))
  const { accountId } = session
  return accountId === undefined ? undefined : { issuer: rooms.issuer.origin, subject: accountId }
}

async function sessionAt(rooms: SignInRooms, req: IncomingMessage, res = new ServerResponse(req)) {
  const provider: Provider = await rooms.provider()
  asIssuer(rooms.issuer, req)
  const ctx = provider.createContext(req, res)
  const session = await provider.Session.get(ctx)
  if (!(await isOver(rooms, session))) return { provider, ctx, session }
  // Whoever has its cookie may be somebody else by now, and it must not come back once that is forgotten.
  await endSession(rooms.grants, session.uid)
  return { provider, ctx, session: new provider.Session() }
}

/** Whether a session is of before its person has taken everything back. */
async function isOver(rooms: SignInRooms, { accountId, amr }: SignedInSession): Promise<boolean> {
  return accountId !== undefined && isEnded(rooms, { issuer: rooms.issuer.origin, subject: accountId }, { amr })
}

async function listSessions(rooms: SignInRooms, req: IncomingMessage, subject: string) {
  const { provider, session: here } = await sessionAt(rooms, req)
  const noted = await readSessions({ ...rooms.grants, clock: rooms.clock }, subject)
  const living = await Promise.all(
    noted.map(async (session) => {
      const found = await provider.Session.findByUid(session.uid)
      return found?.accountId === subject && !(await isOver(rooms, found)) ? [session] : []
    }),
  )
  return living
    .flat()
    .map(({ uid, since, lastUsed }) => ({ id: uid, since, lastUsed, isHere: uid === here.uid }))
    .reverse()
}

async function endSessions(
  rooms: SignInRooms,
  req: IncomingMessage,
  { subject, which }: { readonly subject: string; readonly which: { readonly id: string } | 'others' },
): Promise<void> {
  const sessions = await listSessions(rooms, req, subject)
  const chosen = sessions.filter(({ id, isHere }) => (which === 'others' ? !isHere : id === which.id))
  for (const { id } of chosen) await endSession(rooms.grants, id)
}

async function signOut(rooms: SignInRooms, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { provider, ctx, session } = await sessionAt(rooms, req, res)
  await endSession(rooms.grants, session.uid)
  ctx.cookies.set(provider.cookieName('session'), null, COOKIE)
}

/** Signs a person in whom Nextcloud has named. The session is a fresh one: whoever planted one in the browser would share it. */
export async function startSession(
  rooms: SignInRooms,
  { req, res }: { readonly req: IncomingMessage; readonly res: ServerResponse },
  login: ReturnType<typeof loginOf>,
): Promise<void> {
  const { provider, ctx, session: before } = await sessionAt(rooms, req, res)
  if (before.accountId !== undefined) await endSession(rooms.grants, before.uid)
  const session = new provider.Session()
  session.loginAccount(login)
  await session.save(SESSION_LIFE / 1_000)
  ctx.cookies.set(provider.cookieName('session'), session.jti, { ...COOKIE, maxAge: SESSION_LIFE })
}

/** As oidc-provider sets it. */
const COOKIE = { signed: true, httpOnly: true, sameSite: 'lax', path: '/' } as const
