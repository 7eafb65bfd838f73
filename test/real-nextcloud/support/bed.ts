import { afterAll, beforeAll } from 'vitest'
import { openProvider, type Provider } from './provider.js'
import { closeTarget, openTarget, type Account, type Target } from './target.js'

/** The Nextcloud, the provider and the account of a test file, from its first hook on. */
export let target: Target
export let provider: Provider
export let account: Account

/** Opens them for the tests of a file. */
export function openBed(): void {
  beforeAll(async () => {
    target = await openTarget()
    provider = await openProvider(target)
    account = await target.createAccount()
  })
  afterAll(closeTarget)
}
