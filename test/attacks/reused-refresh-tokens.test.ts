import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { registeredClient, type RegisteredClient, type TokenAnswer } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const refreshTokenIn = ({ body }: TokenAnswer): string => String(body['refresh_token'])

/** A thief who refreshes with a stolen token until there is no refresh left. Returns the newest token. */
async function useUp(client: RegisteredClient, stolen: string): Promise<string> {
  let token = stolen
  for (;;) {
    const answer = await client.refresh(token)
    if (answer.status !== 200) return token
    token = refreshTokenIn(answer)
  }
}

/** Alice's refresh token, which has been spent for longer than its grace by somebody who has a copy of it. */
async function stolen(spend: (client: RegisteredClient, token: string) => Promise<string>) {
  const clock = manualClock(Date.now())
  const server = await startSignInServer({ clock, storage: new MemoryStorage({}, clock) })
  const client = await registeredClient(server)
  const token = refreshTokenIn(await client.signIn(server.person('alice')))
  const newest = await spend(client, token)
  clock.advance(40_000)
  return { clock, server, client, token, newest }
}

const once = async (client: RegisteredClient, token: string) => refreshTokenIn(await client.refresh(token))

describe('a refresh token that comes back after it was spent ends its family', () => {
  it('also where the thief has used up the refreshes of the user', async () => {
    const { clock, server, client, token, newest } = await stolen(useUp)
    expect((await client.refresh(newest)).status).toBe(429)
    const asked = server.nextcloud.requests.length

    const victim = await client.refresh(token)

    expect([victim.status, victim.body['error']]).toEqual([400, 'invalid_grant'])
    expect(server.nextcloud.requests).toHaveLength(asked)
    clock.advance(600_000)
    const thief = await client.refresh(newest)
    expect([thief.status, thief.body['error']]).toEqual([400, 'invalid_grant'])
  })

  it('also while Nextcloud is unavailable', async () => {
    const { server, client, token, newest } = await stolen(once)
    server.nextcloud.disturb(() => 503)
    expect((await client.refresh(newest)).status).toBe(503)

    const victim = await client.refresh(token)
    server.nextcloud.disturb(undefined)

    expect([victim.status, victim.body['error']]).toEqual([400, 'invalid_grant'])
    expect((await client.refresh(newest)).body['error']).toBe('invalid_grant')
  })

  it('also where it is to be revoked, and the refreshes are used up', async () => {
    const { clock, server, client, token, newest } = await stolen(useUp)

    const body = new URLSearchParams({ client_id: client.clientId, token })
    expect((await fetch(`${server.origin}/oauth/revoke`, { method: 'POST', body })).status).toBe(200)

    clock.advance(600_000)
    expect((await client.refresh(newest)).body['error']).toBe('invalid_grant')
    expect(server.events.filter(({ type }) => type === 'token.rejected')).toEqual([])
  })

  it('and one event names the user and the client, and no token', async () => {
    const { server, client, token } = await stolen(once)

    for (const time of ['first', 'again']) expect([time, (await client.refresh(token)).status]).toEqual([time, 400])

    const events = server.events.filter(({ type }) => type === 'token.rejected')
    expect(events).toEqual([expect.objectContaining({ reason: 'reused', verified: true })])
    expect(JSON.stringify(events)).not.toContain(token.slice(0, 22))
    expect(events[0]).toHaveProperty(
      'message',
      expect.stringContaining(`a refresh token of "alice" at the client "${client.clientId}" came back`),
    )
  })
})
