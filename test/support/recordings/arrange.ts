import { addAccount, type NextcloudState } from '../nextcloud/state.js'
import { HOST, NEW_PASSWORD, PASSWORD, putFile, type Bed } from './bed.js'
import type { Exchange } from './recorded.js'

const FROM = '127.0.0.1'
/** Milliseconds. */
const AGED = 1_810_000

/** Puts everything in order: nobody is disabled, nothing is throttled, and nothing is left of the exchange before but files. */
export function settle({ nextcloud: { state }, alice }: Bed): void {
  Object.assign(state.settings, {
    maintenance: false,
    upgradeDue: false,
    trustedDomains: [HOST],
    twoFactor: 'nobody',
    allowedUserAgents: [],
    autoProvision: true,
    oidcProviderBearerValidation: false,
    dynamicRegistration: true,
  })
  state.settings.apps.add('user_oidc')
  Object.assign(state.providers[0]!, { checkBearer: true, bearerProvisioning: true })
  for (const account of state.accounts.values()) account.enabled = true
  Object.assign(alice(), { password: PASSWORD, quota: undefined })
  state.tokens.length = 0
  state.attempts = []
  state.locked.clear()
}

/** Makes the state that an exchange was recorded in. Credentials are there by now. */
export function arrange(bed: Bed, exchange: Exchange): void {
  const { id, given } = exchange
  const { state } = bed.nextcloud
  const says = (pattern: RegExp) => pattern.test(given)
  const { settings } = state
  settings.maintenance = says(/^maintenance mode on/)
  settings.upgradeDue = says(/an upgrade is due/)
  settings.twoFactor = says(/two-factor enforced/) ? 'everybody' : 'nobody'
  if (says(/allowed_user_agents/)) settings.allowedUserAgents = [/^Other client/]
  settings.autoProvision = !says(/auto_provision=false/)
  settings.oidcProviderBearerValidation = says(/oidc_provider_bearer_validation=true/) || /-after-expired/.test(id)
  settings.dynamicRegistration = says(/registration on|registered|registration aged/)
  if (says(/user_oidc is not enabled/)) settings.apps.delete('user_oidc')
  Object.assign(state.providers[0]!, {
    checkBearer: !says(/check-bearer=0/),
    bearerProvisioning: !says(/bearer-provisioning=0|^as before/),
  })
  if (says(/disabled/) && !says(/enabled again/)) disable(bed, given)
  if (says(/quota of alice/)) quota(bed)
  if (says(/holds the lock/)) state.locked.add('alice/rec/a.txt')
  if (/-unknown-(?:no-)?provision$|-unknown-bearer-provision$/.test(id) && !says(/as before/))
    state.accounts.delete('bob')
  throttle(state, exchange)
  passwords(bed, given)
}

function disable({ nextcloud: { state }, alice }: Bed, given: string): void {
  const account = given.includes('one of user_oidc') ? state.accounts.get('frank')! : alice()
  account.enabled = false
}

function quota({ alice }: Bed): void {
  putFile(alice().files, ['large.txt'], 'x'.repeat(1_024))
  alice().quota = 1_024
}

function throttle(state: NextcloudState, { id, given }: Exchange): void {
  const add = (count: number, action: string, name: string, at = state.now()) => {
    for (let made = 0; made < count; made += 1) state.attempts.push({ action, address: FROM, name, at })
  }
  const [, wrong = '0'] = /^(\d+) wrong Basic requests of this address, all for alice/.exec(given) ?? []
  add(Number(wrong), 'login', 'alice')
  if (given.startsWith('more than 10 wrong')) add(11, 'login', 'alice')
  if (given.includes('6 for names that do not exist')) {
    add(6, 'login', 'alice')
    add(6, 'login', 'nobody')
  }
  if (given.includes('aged by 1,810 seconds in the database') && id.includes('throttle'))
    add(12, 'login', 'alice', state.now() - AGED)
  if (!id.includes('oauth2')) return
  const [, bad = '0'] = /^(\d+) of them from this address/.exec(given) ?? []
  add(given.startsWith('token endpoint of core oauth2 throttled') ? 12 : Number(bad), 'oauth2GetToken', '')
}

/** The account password, which changes after the app password was made. */
function passwords({ nextcloud: { state }, alice }: Bed, given: string): void {
  if (!given.includes('account password was changed') && !given.startsWith('account password changed')) return
  alice().password = NEW_PASSWORD
  for (const token of state.tokens) {
    if (given.includes('last check aged')) token.checkedAt = 0
    if (given.includes('then a sign-in')) token.accountPassword = NEW_PASSWORD
  }
}

/** Files that requests between the recorded ones had made. */
export function beforehand({ alice, nextcloud: { state } }: Bed): void {
  putFile(alice().files, ['put-throttled-bearer.txt'])
  addAccount(state, 'admin')
}
