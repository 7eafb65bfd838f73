import { expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'
import { CLIENT, LEAST } from '../support/refusal.js'
import { NEXTCLOUD, openGrants } from '../support/world.js'

const open = (storage: MemoryStorage, encryptionKey?: string) =>
  openGrants({ ...LEAST, ...CLIENT, storage, encryptionKey, nextcloud: { url: NEXTCLOUD } }, storage, manualClock())

it('without a key, all who share a store in memory share the key that it has, and no others do', async () => {
  const [storage, other] = [new MemoryStorage(), new MemoryStorage()]
  const sealed = await open(storage).records.seal('record', 'value')
  await storage.put('record', sealed, null)
  await other.put('record', sealed, null)
  const refused = { code: 'ERR_STORAGE_SEALED' }

  expect(await open(storage).records.read('record')).toMatchObject({ value: 'value' })
  await expect(open(other).records.read('record')).rejects.toMatchObject(refused)
  await expect(open(storage, ENCRYPTION_KEY).records.read('record')).rejects.toMatchObject(refused)
})
