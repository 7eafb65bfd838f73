import { describe, expect, it } from 'vitest'
import { NotProvisionedError } from '../../src/errors.js'
import { failureOf } from '../support/broker-setup.js'
import { setUpGrants } from '../support/grant-setup.js'

describe('a user who has connected Nextcloud', () => {
  it('gets an access token for the stored refresh token, whose successor is stored', async () => {
    const { as, open, connect, stored, refreshTokens } = await setUpGrants()
    const auth = open()
    const first = await connect()

    const token = await (await auth.verify(await as.mint())).extra.getNextcloudToken()

    expect(refreshTokens.accessTokens).toEqual([token])
    expect(refreshTokens.presented).toEqual([first])
    expect(await stored()).toMatchObject({
      state: 'active',
      refreshToken: refreshTokens.familyOf(first).tokens[1],
      accessToken: { token },
    })
  })
})

it('a user who has not is told so', async () => {
  const { as, open } = await setUpGrants()
  const info = await open().verify(await as.mint())

  const error = await failureOf(info.extra.getNextcloudToken())

  expect(error).toBeInstanceOf(NotProvisionedError)
  expect(error).toMatchObject({ reason: 'never', status: 403 })
})
