import type { Config } from '../../config/config.js'
import { SealedValueError } from '../../errors/errors.js'
import { ifError } from '../../errors/if-error.js'
import { readStored } from '../../grants/adoption.js'
import { isLiving, ttlOf, type Grant, type Identity } from '../../grants/grant.js'
import type { ListedGrant } from '../../grants/grant-pages.js'
import { isSameOwner, recordKey } from '../../grants/record-key.js'
import type { Records } from '../../grants/records.js'
import { forgetUses } from '../../grants/uses.js'
import { Misuse, textOf, type Surroundings } from '../command-line.js'
import type { Values } from '../options.js'
import { openSetUp } from '../store-set-up.js'
import { FORMER, PAGE, type Call } from './list.js'
import { ENDINGS, moveDeletions, type Move, type Place } from './move-deletions.js'

/** Outcomes of a connection, in the order in which they are told. */
const OUTCOMES = {
  moved: 'moved',
  kept: 'connected already where they would go: kept, and left where they were',
  endedThere: 'ended since where they would go: left',
  foreign: 'have a record where they would go that the keys do not open: left',
  bound: 'refresh tokens, which are bound to client and issuer: left, these users connect again',
  ended: 'ended: left, there is nothing to move',
  busy: 'in renewal, or changed at the moment: left, run this again',
  former: `of a version before 0.4: ${FORMER}`,
  ...ENDINGS,
} as const

type Outcome = keyof typeof OUTCOMES

/** Exit status of a program that Ctrl-C ends. */
const STOPPED = 130

/** Moves connections of one configuration to another, in pages, and prints what became of them. */
export async function moveGrants({ setUp, values }: Call, surroundings: Surroundings): Promise<number> {
  const { grants, config, issuer, store } = openSetUp(setUp, surroundings)
  const to = { owner: grants.owner, issuer }
  const from = placeBefore(values, to, config)
  const isBound = from.owner.clientId !== to.owner.clientId || from.issuer !== to.issuer
  const move: Move = { records: grants.records, from, to, isBound, isRehearsal: values['dry-run'] === true }
  const counts = new Map<Outcome, number>()
  const count = (outcome: Outcome): unknown => counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  const { isStopped, end } = surroundings.stoppable()
  const isConcerned = (grant: Grant): boolean => grant.identity === undefined || isOf(from, grant)
  let looked = 0
  let sealed = 0
  try {
    for (let after: string | undefined, more = true; more && !isStopped();) {
      const page = await grants.store.all({ after, limit: PAGE }, isConcerned)
      sealed += page.sealed
      for (const listed of page.grants) {
        if (isStopped()) break
        count(await moveOne(move, listed))
        looked += 1
        if (looked % 500 === 0) surroundings.complain(`${looked} looked at, ${counts.get('moved') ?? 0} moved\n`)
      }
      after = page.next
      more = page.next !== undefined
    }
    if (!isStopped()) await moveDeletions(move, surroundings.clock, count)
  } finally {
    end()
  }
  surroundings.print(report(move, store.name, { counts, sealed, isStopped: isStopped() }))
  return isStopped() ? STOPPED : 0
}

/** Returns the configuration that connections are moved from: what is not named is as it is now. */
function placeBefore(values: Values, to: Place, { nextcloud }: Config): Place {
  const given = (name: string): string | undefined => textOf(values[`from-${name}`])
  const url = given('nextcloud-url')
  if (url !== undefined && !URL.canParse(url)) throw new Misuse('--from-nextcloud-url is no URL')
  const { clientId, resource } = to.owner
  const from: Place = {
    owner: {
      clientId: given('client-id') ?? clientId,
      resource: given('resource') ?? resource,
      nextcloud: url === undefined ? to.owner.nextcloud : new URL(url).href.replace(/(?<!\/)\/*$/, '/'),
    },
    issuer: given('issuer') ?? to.issuer,
  }
  if (isSameOwner(from.owner, to.owner) && from.issuer === to.issuer) {
    const now = `${resource}, client ${clientId}, ${nextcloud?.url.href ?? ''}, issuer ${to.issuer}`
    throw new Misuse(`--from-… must name what has changed; options and environment name ${now} now`)
  }
  return from
}

const isOf = ({ owner, issuer }: Place, grant: Grant): boolean =>
  isSameOwner(grant.owner, owner) && grant.identity?.issuer === issuer

async function moveOne(move: Move, { key, version, grant }: ListedGrant): Promise<Outcome> {
  const { records, from, to, isBound, isRehearsal } = move
  if (grant.identity === undefined) return 'former'
  if (grant.state === 'presented') return 'busy'
  if (!isLiving(grant) && grant.appPassword === undefined) return 'ended'
  if (grant.refreshToken !== undefined && isBound) return 'bound'
  const moved = movedGrant(grant, grant.identity, to, isBound)
  const target = recordKey('grant', to.owner, to.issuer, grant.identity.subject)
  const there = await standingAt(records, target, moved)
  if (there !== 'same' && there !== undefined) return there
  if (isRehearsal) return 'moved'
  const written = there === 'same' ? undefined : await records.write(target, moved, null, ttlOf(moved))
  if (written === null) return 'busy'
  if (await records.remove(key, version)) {
    // A note of use is of little use elsewhere, and its loss costs nothing.
    await forgetUses(records, from.owner, grant.identity, undefined).catch(() => undefined)
    return 'moved'
  }
  // The instance that changed it may have spent the refresh token.
  if (written !== undefined) await records.remove(target, written)
  return 'busy'
}

/** The grant as it is there. An access token is asked for again. */
function movedGrant(grant: Grant, { subject }: Identity, { owner, issuer }: Place, isBound: boolean): Grant {
  const { appPassword } = grant
  const moved: Grant & { accessToken?: unknown } = {
    ...grant,
    identity: { issuer, subject },
    owner,
    ...(appPassword && { appPassword: { ...appPassword, nextcloud: owner.nextcloud } }),
    // No other client can end them, and no other issuer may see them.
    ...(isBound && { replaced: undefined }),
  }
  delete moved.accessToken
  return moved
}

/** What is there where a grant would go: `same` if it is itself, which a move that was broken off has written. */
async function standingAt(
  records: Records,
  key: string,
  { fingerprint, generation }: Grant,
): Promise<'same' | 'kept' | 'endedThere' | 'foreign' | undefined> {
  const stored = await readStored(records, key).catch(ifError(SealedValueError, () => 'foreign' as const))
  if (stored === undefined || stored === 'foreign') return stored
  if (!isLiving(stored.grant)) return 'endedThere'
  return stored.grant.fingerprint === fingerprint && stored.grant.generation === generation ? 'same' : 'kept'
}

function report(
  { from, to, isRehearsal }: Move,
  store: string,
  { counts, sealed, isStopped }: { readonly counts: ReadonlyMap<Outcome, number>; sealed: number; isStopped: boolean },
): string {
  const placed = ({ owner, issuer }: Place): string =>
    `resource ${owner.resource}, client ${owner.clientId}, Nextcloud ${owner.nextcloud}, issuer ${issuer}`
  const names = (Object.keys(OUTCOMES) as Outcome[]).filter((outcome) => counts.has(outcome))
  return [
    `In ${store}`,
    `from ${placed(from)}`,
    `to   ${placed(to)}`,
    '',
    ...names.map((outcome) => `  ${String(counts.get(outcome)).padStart(6)}  ${OUTCOMES[outcome]}`),
    ...(names.length === 0 ? ['there are no connections of that configuration (grants list shows what there is)'] : []),
    ...(sealed > 0 ? [`${sealed} records are not opened by the keys, and were passed by`] : []),
    ...(isRehearsal ? ['Nothing was written: --dry-run'] : []),
    ...(isStopped ? ['Stopped: run this again to go on'] : []),
    '',
  ].join('\n')
}
