import { named } from '../config/declarations.js'
import { SealedValueError } from '../errors/errors.js'
import { withinBounds } from './agreed-clients.js'
import type { Grant } from './grant.js'
import { readWithdrawals } from './withdrawals.js'

/**
 * Returns the grant in a stored value, within the bounds of today.
 *
 * @throws {SealedValueError} the value is not a grant of a format that this version knows
 */
export function readGrant(value: unknown): Grant {
  const grant = value as Partial<Grant> | null
  if (typeof grant !== 'object' || grant?.format !== 1) throw new SealedValueError(named('encryptionKey'))
  const { withdrawals, ...read } = withinBounds(grant as Grant)
  return withdrawals === undefined ? read : { ...read, withdrawals: readWithdrawals(withdrawals) }
}
