import { expect, it } from 'vitest'
import { createEvents } from '../../src/events.js'
import { createGrants } from '../../src/grants/open-grants.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { OWNER } from './opened.js'

function open(storage: MemoryStorage, ...encryptionKeys: Uint8Array[]) {
  const clock = manualClock()
  return createGrants({
    config: { client: undefined, resource: OWNER.resource, http: { timeout: 5_000 } },
    grants: { encryptionKeys, credential: 'refresh-token', nextcloud: 'https://cloud.example.com/' },
    storage,
    clock,
    events: createEvents(undefined, clock),
  })
}

it('without a key, all who share a store in memory share the key that it has, and no others do', async () => {
  const [storage, other] = [new MemoryStorage(), new MemoryStorage()]
  const sealed = await open(storage).records.seal('record', 'value')
  await storage.put('record', sealed, null)
  await other.put('record', sealed, null)

  expect(await open(storage).records.read('record')).toMatchObject({ value: 'value' })
  await expect(open(other).records.read('record')).rejects.toMatchObject({ code: 'ERR_STORAGE_SEALED' })
  await expect(open(storage, new Uint8Array(32)).records.read('record')).rejects.toMatchObject({
    code: 'ERR_STORAGE_SEALED',
  })
})
