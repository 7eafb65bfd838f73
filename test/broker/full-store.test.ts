import { expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import { failureOf } from '../support/promises.js'
import { world } from '../support/world.js'

it('a store in memory that is full of links lets connected users renew their grants, over and over', async () => {
  const { auth, clock, connect, refreshTokens } = await world({
    mode: 'refresh-token',
    storage: (time) => new MemoryStorage({ maxEntries: 40 }, time),
  })
  const users = ['alice', 'bob', 'carol']
  for (const subject of users) await connect(subject)
  const linkOf = (subject: string) => auth.createConnectUrl({ subject, clientId: 'mcp-client' })

  for (let rounds = 1; rounds <= 3; rounds += 1) {
    for (let index = 0; index < 40; index += 1) await linkOf(`stranger-${index}`).catch(() => undefined)
    expect(await failureOf(linkOf('one stranger more'))).toMatchObject({ code: 'ERR_STORAGE' })
    await Promise.all(users.map((subject) => auth.rotate({ subject })))
    expect(refreshTokens.presented).toHaveLength(rounds * users.length)
    clock.advance(600_000)
  }
})
