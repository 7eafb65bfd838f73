import type { Attack } from './attack.js'
import { claimAttacks } from './claims.js'
import { get } from './attack.js'
import { httpAttacks } from './http.js'
import { joseAttacks } from './jose.js'
import type { Forge } from './forge.js'

/** The attacks that are one request. */
export const CORPUS: readonly Attack[] = [...joseAttacks, ...claimAttacks, ...httpAttacks]

/** Requests that get through: who refuses them holds nothing. */
export const LET_IN: readonly (readonly [name: string, request: (forge: Forge) => string])[] = [
  ['a good token', ({ jwt }) => get(`Authorization: Bearer ${jwt()}`)],
  ['a good token of ES256', ({ jwt, keys: { ec } }) => get(`Authorization: Bearer ${jwt({ key: ec })}`)],
  [
    'a token for two audiences',
    ({ jwt, resource }) => get(`Authorization: Bearer ${jwt({ claims: { aud: ['account', resource] } })}`),
  ],
  [
    'a token with another scope beside',
    ({ jwt }) => get(`Authorization: Bearer ${jwt({ claims: { scope: 'openid notes:read' } })}`),
  ],
  ['the scheme in lower case', ({ jwt }) => get(`authorization: bearer ${jwt()}`)],
]
