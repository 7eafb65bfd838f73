import { decodeProtectedHeader } from 'jose'
import { expect, it, onTestFinished } from 'vitest'
import { startNextcloud } from '../../examples/demo/nextcloud.js'
import { openMiddleware } from './support/middleware.js'
import { createRealm, type Realm } from './support/realm.js'
import { signIn } from './support/tokens.js'

const KEY_PROVIDER = 'org.keycloak.keys.KeyProvider'

/** What "Add provider" does on the tab "Keys" of the realm's settings. */
async function addKey(realm: Realm, name: string, priority: number): Promise<unknown> {
  return realm.admin('POST', '/components', {
    name,
    providerId: 'rsa-generated',
    providerType: KEY_PROVIDER,
    config: { priority: [String(priority)], algorithm: ['RS256'], active: ['true'], enabled: ['true'] },
  })
}

async function removeKey(realm: Realm, name: string): Promise<unknown> {
  const components = (await realm.admin('GET', `/components?type=${KEY_PROVIDER}`)) as { id: string; name: string }[]
  return realm.admin('DELETE', `/components/${components.find((one) => one.name === name)!.id}`)
}

const keyOf = (token: string) => decodeProtectedHeader(token).kid

it('no request fails while the realm gets a new key, tokens are signed with it, and the old one goes', async () => {
  const realm = await createRealm()
  const nextcloud = await startNextcloud({ issuer: realm.issuer, clientId: 'nextcloud' })
  onTestFinished(() => nextcloud.close())
  const { auth } = openMiddleware(realm, {
    nextcloud: { url: nextcloud.url },
    // Verified and exchanged anew each time, so that the keys are looked at.
    cache: { verifiedTokens: 0, nextcloudTokens: 0 },
  })
  const first = await signIn(realm)
  /** What MCP clients hold: each has a living token. */
  const held = [first.token]
  const statuses: number[] = []
  const rotation = { over: false }
  const traffic = async (): Promise<void> => {
    while (!rotation.over) {
      const who = await auth.verify(held[statuses.length % held.length]!)
      statuses.push((await auth.nextcloudFetch(who, '/ocs/v2.php/cloud/user')).status)
    }
  }
  /** Resolves when there have been so many more requests. */
  const requests = (count: number) => {
    const wanted = statuses.length + count
    return expect.poll(() => statuses.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(wanted)
  }
  const running = Promise.all([traffic(), traffic()])
  running.catch(() => undefined)
  try {
    await requests(4)
    await addKey(realm, 'the-new-key', 200)
    await requests(4)
    const second = await signIn(realm)
    expect(keyOf(second.token)).not.toBe(keyOf(first.token))
    held.push(second.token)
    await requests(6)
    // Nobody holds a token of the old key any longer.
    held.shift()
    await requests(2)
    await removeKey(realm, 'rsa-generated')
    await requests(4)
    const third = await signIn(realm)
    expect(keyOf(third.token)).toBe(keyOf(second.token))
    held.push(third.token)
    await requests(4)
  } finally {
    rotation.over = true
    await running
  }
  expect(new Set(statuses)).toEqual(new Set([200]))
  expect(auth.stats().rejected).toEqual({})
})

it('a token of a key that has gone is refused once the new keys are known', async () => {
  const realm = await createRealm()
  const first = await signIn(realm)
  const { auth } = openMiddleware(realm, { cache: { verifiedTokens: 0 } })
  await auth.verify(first.token)
  await addKey(realm, 'the-new-key', 200)
  await removeKey(realm, 'rsa-generated')
  await auth.verify((await signIn(realm)).token)
  await expect(auth.verify(first.token)).rejects.toMatchObject({ status: 401, reason: 'key' })
})
