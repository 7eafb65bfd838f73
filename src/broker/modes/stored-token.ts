import type { Clock } from '../../clock.js'
import type { SharedAccessToken } from '../../grants/grant.js'
import type { Secret } from '../../nextcloud/credential.js'
import { tokenLife, type Timing } from '../token-cache.js'
import type { FreshToken, Have } from './mode.js'

/** Returns a token that another instance has stored, as long as it lives and is not one that will not do; else undefined. */
export function livingToken(
  shared: SharedAccessToken | undefined,
  { notThis, ahead }: Pick<Have, 'notThis' | 'ahead'>,
  timing: Timing,
  clock: Clock,
): Pick<FreshToken, 'secret' | 'expiresIn' | 'sentAt'> | undefined {
  if (shared === undefined || (notThis?.scheme === 'Bearer' && shared.token === notThis.token)) return undefined
  const now = clock.monotonic()
  const { token, expiresIn } = shared
  // The time is by another machine's clock; this one may be behind.
  const sentAt = now - Math.max(0, clock.now() - shared.sentAt)
  const life = tokenLife({ expiresIn, sentAt }, timing)
  if (life === undefined || now >= life.ownEnd - (ahead === true ? life.ahead : 0)) return undefined
  return { secret: { scheme: 'Bearer', token }, expiresIn, sentAt }
}

export function bearerOf(shared: SharedAccessToken | undefined): Secret | undefined {
  return shared && { scheme: 'Bearer', token: shared.token }
}
