export { storageContract } from './storage-contract.js'
export type {
  StorageContractOptions,
  StorageAdapter,
  StoredEntry,
  TestFunctions,
  UnavailableStores,
} from './storage-contract.js'
export { fakeProvider } from './fake-provider.js'
export type {
  FakeProvider,
  FakeProviderOptions,
  FakeProviderParty,
  FakeTokenClaims,
  FakeTokenOptions,
} from './fake-provider.js'
export { fakeNextcloud } from './fake-nextcloud.js'
export type { FakeAccount, FakeNextcloud, FakeNextcloudOptions, FakeNote, FakeRequest } from './fake-nextcloud.js'
