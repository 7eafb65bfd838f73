import { toEnd, type Credential, type Grant, type ReplacedToken } from './grant.js'

/** The tokens that a grant keeps of those before its own: beyond them the oldest is forgotten. */
const MOST_REPLACED = 8
/** Characters of them: a sealed record has 64 KiB for all. */
const MOST_CHARACTERS = 16_000

/**
 * Returns the tokens that a new grant keeps for its end, that of the grant before it among them: some authorization servers revoke
 * everything of that user and client, so that none may be revoked while another one is needed. One that ends alone is not kept.
 */
export function replacedBy(
  connection: Pick<Grant, 'refreshToken'>,
  before: Grant,
  endsAlone: boolean,
  now: number,
): readonly ReplacedToken[] | undefined {
  const { replaced = [], refreshEndsAt } = before
  const makesWay = connection.refreshToken === undefined || endsAlone ? undefined : toEnd(before)?.credential
  const last =
    makesWay !== undefined && 'refreshToken' in makesWay
      ? [{ refreshToken: makesWay.refreshToken, ...(refreshEndsAt !== undefined && { endsAt: refreshEndsAt }) }]
      : []
  // A write that was repeated may replace itself.
  const kept = [...replaced, ...last].filter((one) => isAlive(one, now) && one.refreshToken !== connection.refreshToken)
  const latest = kept.slice(-MOST_REPLACED).filter((_, at, all) => charactersOf(all.slice(at)) <= MOST_CHARACTERS)
  return latest.length === 0 ? undefined : latest
}

/** Returns the replaced tokens of a grant that have not ended by themselves. */
export function replacedIn({ replaced = [] }: Grant, now: number): readonly Credential[] {
  return replaced.filter((one) => isAlive(one, now)).map(({ refreshToken }) => ({ refreshToken }))
}

const isAlive = ({ endsAt }: ReplacedToken, now: number): boolean => endsAt === undefined || now < endsAt

const charactersOf = (tokens: readonly ReplacedToken[]): number =>
  tokens.reduce((sum, { refreshToken }) => sum + refreshToken.length, 0)
