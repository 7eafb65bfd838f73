import type { Grant } from '../../../src/grants/grant.js'
import { plainValue } from './plain-process.js'
import type { Session } from './server.js'
import { rest, type Deed, type World } from './world.js'

/** Milliseconds until everything that is tried again has been tried again. */
const HOURS = 3 * 3_600_000
/** Milliseconds for which another instance may serve a token after a disconnection: `cache.grantCheck`. */
const GRANT_CHECK = 10_000

/** Lets the world come to rest, with a process that has just started, and returns the rules that were broken. */
export async function brokenRules(world: World, users: readonly string[]): Promise<readonly string[]> {
  await rest(world, HOURS)
  world.instance('Z').deletions.start()
  await rest(world, HOURS)
  const unfinished = world.deeds.filter(({ at, outcome }) => outcome === undefined && world.scheduler.isAlive(at))
  for (const { at, what } of unfinished) world.broken.push(`${at} never comes to an end with ${what}`)
  for (const user of users) await checkUser(world, user)
  for (const deed of world.deeds) checkDeed(world, deed)
  return [...new Set(world.broken)]
}

async function checkUser(world: World, user: string): Promise<void> {
  const { server, store, broken, kind, troubled } = world
  const entry = store.entry(world.grantKey(user))
  const grant = entry && (plainValue(entry.value) as Grant)
  const state = grant?.state
  const isLiving = state === 'active' || state === 'presented'
  const sessions = server.sessions.filter((session) => session.user === user && !isLost(world, session))
  const living = sessions.filter(({ alive }) => alive)
  const kept = store.keys().map((key) => JSON.stringify(plainValue(store.entry(key)?.value ?? '')))
  for (const { secrets } of living) {
    const last = JSON.stringify(secrets.at(-1))
    // A server that revokes a token ends what came for it, too.
    const standing = kind === 'revoked' ? secrets.map((secret) => JSON.stringify(secret)) : [last]
    if (!kept.some((value) => standing.some((secret) => value.includes(secret))))
      broken.push(`${last} of ${user} lives, and nobody knows`)
    // A disconnection that failed is repeated by its user. Its tombstone has what must end.
    const isLeft = troubled.size > 0 && standing.some((secret) => JSON.stringify(grant).includes(secret))
    if (state === 'disconnected' && !isLeft) broken.push(`${last} of ${user} outlives the connection`)
    const own = grant?.appPassword?.password ?? grant?.refreshToken
    if (isLiving && kind !== 'revoked' && secrets.at(-1) !== own)
      broken.push(`${last} of ${user} outlives its replacement`)
  }
  const isSpoilt = server.sessions.some((session) => session.user === user && isLost(world, session))
  if (isSpoilt) return
  if (state === 'needs-reconnect') broken.push(`the connection of ${user} is lost`)
  if (!isLiving) return
  const secret = grant?.appPassword?.password ?? grant?.refreshToken
  if (!living.some(({ secrets }) => secrets.at(-1) === secret))
    broken.push(`${user} is connected by ${secret}, which is dead`)
  const client = grant?.clients[0]
  world.ask({ at: 'Z', what: 'another token', user, ...(client !== undefined && { client }) })
  await rest(world, 60_000)
  if (world.deeds.at(-1)?.outcome !== 'done') broken.push(`the connection of ${user} does not serve`)
}

/** Whether nobody can be blamed for what becomes of a session: an answer was lost, with its process or on its way, or a token was presented twice. */
function isLost({ kind, server, store, scheduler }: World, { secrets }: Session): boolean {
  const { given, received, spends } = server
  return secrets.some((secret) => {
    const arrivals = spends.filter(({ token, arrived }) => token === secret && arrived).length
    if (!received.has(secret) || (arrivals > 1 && kind !== 'ends alone')) return true
    if (scheduler.isAlive(given.get(secret) ?? '')) return false
    return !store.written.some((value) => JSON.stringify(plainValue(value)).includes(JSON.stringify(secret)))
  })
}

function checkDeed(world: World, deed: Deed): void {
  const { broken } = world
  if (deed.outcome !== 'done') return
  if (isToken(deed) && !agreedTo(world, deed, -1)) broken.push(`${deed.user} never agreed to ${deed.client}`)
  if (deed.what !== 'disconnect' && deed.what !== 'no') return
  const concerns = (other: Deed): boolean =>
    other.user === deed.user && (deed.client === undefined || other.client === deed.client)
  for (const other of world.deeds) {
    if (!concerns(other) || other.outcome !== 'done') continue
    const isOlder = other.agreed < deed.begun && other.given > deed.ended
    if (other.what === 'connect' && isOlder)
      broken.push(`${deed.what} at ${deed.begun} did not end a connection under way`)
    if (deed.what === 'disconnect' && isToken(other) && isServedAfter(world, deed, other))
      broken.push(`${other.at} serves ${other.user} after the disconnection at ${deed.at}`)
  }
  if (deed.what === 'disconnect') checkEnd(world, deed)
}

const isToken = ({ what }: Deed): boolean => what === 'token' || what === 'another token' || what === 'refused'

/** Whether a token was given out after a disconnection that nobody has undone. */
function isServedAfter(world: World, deed: Deed, other: Deed): boolean {
  if (other.begun < deed.ended || agreedTo(world, other, deed.begun)) return false
  // An instance whose store fails serves on, as far as it knows.
  return other.at === deed.at || (other.begunAt > deed.endedAt + GRANT_CHECK && world.troubled.size === 0)
}

/** Whether a user has said yes to a client after a moment. */
function agreedTo({ deeds }: World, { user, client }: Pick<Deed, 'user' | 'client'>, after: number): boolean {
  return deeds.some(
    (deed) =>
      deed.what === 'connect' &&
      deed.user === user &&
      (client === undefined || deed.client === client) &&
      deed.agreed !== Infinity &&
      deed.agreed > after,
  )
}

/** Rule: what was disconnected stays so until its user says yes again. */
function checkEnd(world: World, deed: Deed): void {
  const entry = world.store.entry(world.grantKey(deed.user))
  const grant = entry && (plainValue(entry.value) as Grant)
  if (grant === undefined || (grant.state !== 'active' && grant.state !== 'presented')) return
  for (const client of grant.clients) {
    if (deed.client !== undefined && deed.client !== client) continue
    if (!agreedTo(world, { user: deed.user, client }, deed.begun))
      world.broken.push(`${deed.user} is connected again without a word`)
  }
  if (grant.clients.length === 0) world.broken.push(`${deed.user} is connected to nothing`)
}
