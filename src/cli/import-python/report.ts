import { inOneLine } from '../../errors/secrecy.js'
import { ANY_CLIENT } from '../../grants/grant.js'
import type { StoreSetUp } from '../store-set-up.js'
import type { TableTally, Tally } from './import-rows.js'
import { OUTCOMES, SECRETS, type Order, type Outcome } from './rows.js'

interface Way {
  readonly from: string
  readonly target: StoreSetUp
  readonly order: Order
}

/** Returns the counts of an import, and what the operator has to know of it. No secret is in it. */
export function report(tally: Tally, way: Way): string {
  const { order, from, target } = way
  const { config, store, issuer, settings } = target
  const clients = order.clients.includes(ANY_CLIENT) ? 'any MCP client' : `MCP clients ${order.clients.join(', ')}`
  return [
    `From ${from} to ${store.name}`,
    `for ${config.resource}, client ${config.client?.id ?? '(none)'}, ${settings.nextcloud}, users of ${issuer}, ${clients}`,
    '',
    ...tally.tables.flatMap(countsOf),
    ...tally.restricted.map(([subject, scopes]) => `Restricted: ${inOneLine(subject)} (${inOneLine(scopes)})`),
    ...remarks(tally, way),
    ...(order.isRehearsal ? ['Nothing was written: --dry-run'] : []),
    '',
  ].join('\n')
}

function countsOf({ title, rows, counts }: TableTally): string[] {
  const names = Object.keys(OUTCOMES) as Outcome[]
  const told = names.filter((outcome) => counts.has(outcome))
  return [
    `${title}: ${rows}`,
    ...told.map((outcome) => `  ${String(counts.get(outcome)).padStart(6)}  ${OUTCOMES[outcome]}`),
  ]
}

const NOT_ASKED =
  "Whose account each app password opens is as the Python server's store says: Nextcloud was not asked, and connect.identity neither."

/** What nobody can tell from the Python server's store. */
function remarks({ tables, clientId }: Tally, { target }: Way): string[] {
  const count = (outcome: Outcome): number => tables.reduce((sum, { counts }) => sum + (counts.get(outcome) ?? 0), 0)
  const { config, settings } = target
  return [
    ...(count('imported') + count('unrestricted') > 0 && SECRETS[settings.credential].table === 'app_passwords'
      ? [NOT_ASKED]
      : []),
    ...(count('ofClient') > 0 ? [`The Python server's client was ${inOneLine(clientId ?? '')}.`] : []),
    ...(clientId === undefined && SECRETS[settings.credential].table === 'refresh_tokens' && count('imported') > 0
      ? [
          `That store does not say which client the refresh tokens are of: ${config.client?.id ?? ''} is taken to be it.`,
        ]
      : []),
  ]
}
