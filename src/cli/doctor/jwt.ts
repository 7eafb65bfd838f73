import { decodeJwt, decodeProtectedHeader } from 'jose'
import type { Clock } from '../../clock.js'
import type { Claims } from '../../verify/claims.js'
import type { Secrets } from '../secrets.js'

/** A JWT whose signature is not verified. */
export interface DecodedJwt {
  readonly header: Claims
  readonly claims: Claims
}

/** Returns the contents of a JWT; undefined for any other token. */
export function decoded(token: string): DecodedJwt | undefined {
  try {
    return { header: { ...decodeProtectedHeader(token) }, claims: decodeJwt(token) }
  } catch {
    return undefined
  }
}

/** Claims that are shown with their values, because they tell nothing of a person beyond the subject. Of others only the names are. */
const SHOWN = ['iss', 'aud', 'sub', 'client_id', 'azp', 'cid', 'scope', 'scp', 'iat', 'nbf', 'exp', 'typ', 'token_use']

export function describeClaims(
  claims: Claims,
  { secrets, clock }: { readonly secrets: Secrets; readonly clock: Clock },
): string {
  const shown = SHOWN.filter((name) => name in claims).map((name) => {
    const value = claims[name]
    const isTime = ['iat', 'nbf', 'exp'].includes(name) && typeof value === 'number'
    return `${name} ${isTime ? relative(value, clock.now()) : secrets.quote(value)}`
  })
  const others = Object.keys(claims).filter((name) => !SHOWN.includes(name))
  return [...shown, ...(others.length === 0 ? [] : [`also ${secrets.quote(others.join(', '))}`])].join('; ')
}

function relative(seconds: number, now: number): string {
  const left = Math.round(seconds - now / 1_000)
  return left >= 0 ? `in ${left} s` : `${-left} s ago`
}
