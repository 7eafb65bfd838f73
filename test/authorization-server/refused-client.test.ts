import { describe, expect, it } from 'vitest'
import { blamesClient, refusesGrant } from '../../src/authorization-server/token-error.js'
import { TokenRequestError, type TokenRequestFailure } from '../../src/errors/errors.js'

const refused = (failure: TokenRequestFailure) => new TokenRequestError('Refused', failure)

describe('a refused token request', () => {
  it.each<[TokenRequestFailure, boolean]>([
    [{ error: 'invalid_client' }, true],
    [{ error: 'access_denied', httpStatus: 401 }, true],
    [{ error: 'unauthorized_client', errorDescription: 'Invalid client or Invalid client credentials' }, true],
    [
      { error: 'invalid_request', errorDescription: 'AADSTS7000222: The provided client secret keys are expired.' },
      true,
    ],
    [{ error: 'invalid_request', errorDescription: 'AADSTS700016: Application not found' }, true],
    [{ error: 'invalid_grant', errorDescription: 'AADSTS9002313: Invalid request', httpStatus: 400 }, false],
    [{ error: 'unauthorized_client', httpStatus: 400 }, false],
  ])('blames the client, or not: %j is %s', (failure, blames) => {
    expect(blamesClient(refused(failure))).toBe(blames)
  })

  it.each<[TokenRequestFailure, boolean]>([
    [{ error: 'unauthorized_client' }, true],
    [{ error: 'unsupported_grant_type' }, true],
    [{ error: 'invalid_request', errorDescription: 'Standard token exchange is not enabled for the client' }, true],
    [{ error: 'invalid_request', errorDescription: 'Invalid token' }, false],
    [{}, false],
  ])('refuses the grant, or not: %j is %s', (failure, refuses) => {
    expect(refusesGrant(refused(failure))).toBe(refuses)
  })
})
