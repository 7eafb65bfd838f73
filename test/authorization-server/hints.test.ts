import { expect, it } from 'vitest'
import { hintForGrant } from '../../src/authorization-server/hints.js'

it.each([
  ['authorization_code', 'switch the authorization code flow and refresh tokens on for this client at the provider'],
  ['client_credentials', 'switch that grant on for this client at the provider'],
])('a grant that the server does not offer has advice: %s', (grantType, hint) => {
  expect(hintForGrant(grantType)).toBe(hint)
})
