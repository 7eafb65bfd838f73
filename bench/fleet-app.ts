/** A program: one instance of a fleet in token-exchange mode. Gets MCP tokens, says how many milliseconds its users waited, and ends with its parent. */
import { mcpAuth } from '../dist/index.js'
import { openStore, type StoreAddress } from '../test/support/stores.js'
import { CLIENT, RESOURCE } from './tokens.js'

export interface FleetApp {
  readonly issuer: string
  /** Absent: it shares nothing. */
  readonly store?: StoreAddress
  readonly encryptionKey: string
}

/** Users who call at one moment. */
const AT_ONCE = 10

const { issuer, store, encryptionKey } = JSON.parse(process.argv[2] ?? '') as FleetApp
process.on('disconnect', () => process.exit())
const shared = store && { storage: (await openStore(store)).adapter, encryptionKey }
const auth = mcpAuth({
  issuer,
  resource: RESOURCE,
  ...CLIENT,
  ...shared,
  nextcloud: { url: 'https://cloud.example.com', mode: 'token-exchange' },
  http: { timeout: 60_000 },
})

async function serve(tokens: readonly string[]): Promise<void> {
  const left = tokens.values()
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (const token of left) await auth.getNextcloudToken(await auth.verify(token))
  })
  await Promise.all(workers)
}

process.on('message', (tokens: readonly string[]) => {
  void serve(tokens).then(() => process.send?.('served'))
})
process.send?.('ready')
