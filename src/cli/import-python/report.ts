import { inOneLine } from '../../errors/secrecy.js'
import { ANY_CLIENT } from '../../grants/grant.js'
import { shellWord } from '../../shell-word.js'
import type { StoreSetUp } from '../store-set-up.js'
import type { Accounts } from './accounts.js'
import { countOf, type TableTally, type Tally } from './import-rows.js'
import { OUTCOMES, SECRETS, type Order, type Outcome } from './rows.js'

interface Way {
  readonly from: string
  readonly target: StoreSetUp
  readonly accounts: Accounts | undefined
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
    ...(way.accounts === undefined
      ? []
      : [`Nextcloud is asked whose account each app password opens: by ${way.accounts.rule.name}`]),
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

const STOPPED = {
  refused:
    'Nextcloud refused three app passwords in a row, and no more was asked: after ten it turns away every one from this address. If they are of this Nextcloud and dead',
  full: 'Nextcloud refused eight app passwords, and no more was asked: after ten in 30 minutes it turns away every one from this address. After those 30 minutes',
  unasked: 'Nextcloud did not answer three times in a row, and no more was asked.',
}

/** The answers of Nextcloud, and what nobody can tell from the Python server's store. */
function remarks(tally: Tally, { target, accounts }: Way): string[] {
  const { config, settings } = target
  const { clientId } = tally
  const stopped = accounts?.stopped()
  return [
    ...(accounts?.strangers ?? []).map(
      ({ subject, opens, expected }) =>
        `Another account: ${inOneLine(subject)} is to have ${inOneLine(expected)}, and the app password opens ${inOneLine(opens)}`,
    ),
    ...(accounts?.rule.isAnyone === true
      ? ['connect.identity is anyone: whose account it is, the store alone says.']
      : []),
    ...(stopped === undefined
      ? []
      : [
          STOPPED[stopped.why] +
            (stopped.why === 'unasked' ? '' : `, go on with --after=${shellWord(inOneLine(stopped.at))}.`),
        ]),
    ...(countOf(tally, 'ofClient') > 0 ? [`The Python server's client was ${inOneLine(clientId ?? '')}.`] : []),
    ...(clientId === undefined &&
    SECRETS[settings.credential].table === 'refresh_tokens' &&
    countOf(tally, 'imported') > 0
      ? [
          `That store does not say which client the refresh tokens are of: ${config.client?.id ?? ''} is taken to be it.`,
        ]
      : []),
  ]
}
