import { expect, it } from 'vitest'
import type { PageRooms } from '../../src/connect/connect-rooms.js'
import { whyNoGrant } from '../../src/connect/store-grant.js'

const PURPOSE = { identity: { issuer: 'https://idp.example', subject: 'alice' }, clientId: 'mcp-client' }

it('whoever signs in connects nothing where neither the app, nor an ID token, nor a rule says who it is', async () => {
  const rooms = { connect: {}, nextcloud: { preset: 'generic' } } as PageRooms
  const tokens = {
    access: { accessToken: 'access', expiresIn: 300, sentAt: 0 },
    ...{ refreshToken: 'refresh', refreshExpiresIn: undefined, scopes: undefined, idToken: undefined, members: {} },
  }

  expect(await whyNoGrant(rooms, tokens, PURPOSE, false)).toEqual(PURPOSE.identity)
  expect(await whyNoGrant(rooms, tokens, PURPOSE, true)).toBeUndefined()
})
