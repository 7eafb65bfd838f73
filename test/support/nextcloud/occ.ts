import { fresh } from '../../../src/testing/nextcloud/exchange.js'
import { addAccount, addToken, removeToken, type NextcloudState, type OidcProvider } from './state.js'

/** What a command is called with: arguments in their order, and options. */
interface Call {
  readonly state: NextcloudState
  readonly given: readonly string[]
  readonly options: Readonly<Record<string, string>>
  /** `OC_PASS` in the environment. */
  readonly password: string
}

type Command = (call: Call) => string

const QUOTAS: Readonly<Record<string, number>> = { B: 1, KB: 1_024, MB: 1_048_576, GB: 1_073_741_824 }

function account({ state, given }: Call) {
  const found = state.accounts.get(given[0] ?? '')
  if (found === undefined) throw new Error('User does not exist')
  return found
}

const COMMANDS: Readonly<Record<string, Command>> = {
  'user:add': ({ state, given, options, password }) => {
    const displayName = options['display-name'] ?? given[0] ?? ''
    addAccount(state, given[0] ?? '', { password, displayName, email: options['email'] ?? null })
    return 'The account was created successfully'
  },
  'user:delete': ({ state, given }) => {
    const uid = given[0] ?? ''
    state.tokens.splice(0, state.tokens.length, ...state.tokens.filter((token) => token.uid !== uid))
    return state.accounts.delete(uid) ? 'The specified user was deleted' : ''
  },
  'user:disable': (call) => {
    account(call).enabled = false
    return 'The specified user is disabled'
  },
  'user:enable': (call) => {
    account(call).enabled = true
    return 'The specified user is enabled'
  },
  'user:resetpassword': (call) => {
    account(call).password = call.password
    return 'Successfully reset password'
  },
  'user:setting': (call) => {
    const [, app, key, value = ''] = call.given
    const [, number = '', unit = 'B'] = /^(\d+) ?(\w*)$/.exec(value) ?? []
    if (app === 'files' && key === 'quota')
      account(call).quota = number === '' ? undefined : Number(number) * (QUOTAS[unit] ?? 1)
    if (app === 'settings' && key === 'email') account(call).email = value
    return ''
  },
  'user:list': ({ state }) =>
    JSON.stringify(Object.fromEntries([...state.accounts].map(([uid, { displayName }]) => [uid, displayName]))),
  'user:auth-tokens:list': ({ state, given }) => {
    const own = state.tokens.filter(({ uid }) => uid === given[0])
    return JSON.stringify(own.map(({ id, loginName, name }) => ({ id, loginName, name })))
  },
  'user:auth-tokens:add': (call) => {
    const { uid } = account(call)
    const own = { accountPassword: undefined, name: 'cli' }
    return `app password:\n${addToken(call.state, { kind: 'app-password', uid, ...own }).password}`
  },
  'user:auth-tokens:delete': ({ state, given }) => {
    const token = state.tokens.find(({ id }) => id === Number(given[1]))
    if (token !== undefined) removeToken(state, token)
    return ''
  },
  'group:add': () => '',
  'group:delete': () => '',
  'group:adduser': ({ state, given: [group = '', uid = ''] }) => {
    state.accounts.get(uid)?.groups.add(group)
    return ''
  },
  'twofactorauth:enforce': ({ state, options }) => {
    const on = options['group'] === undefined ? ('everybody' as const) : options['group'].split(',')
    state.settings.twoFactor = 'on' in options ? on : 'nobody'
    return ''
  },
  'maintenance:mode': ({ state, options }) => {
    state.settings.maintenance = 'on' in options
    return ''
  },
  'config:system:set': ({ state, given, options }) => {
    setConfig(state, given, options['value'] ?? '')
    return ''
  },
  'config:system:get': ({ state, given: [name = ''] }) =>
    name === 'trusted_domains' ? (state.settings.trustedDomains ?? []).join('\n') : '',
  'config:system:delete': ({ state, given }) => {
    setConfig(state, given, '')
    return ''
  },
  'config:app:set': ({ state, given, options }) => {
    if (given[1] === 'dynamic_client_registration') state.settings.dynamicRegistration = options['value'] === 'true'
    return ''
  },
  'config:app:get': () => '',
  'config:app:delete': () => '',
  'app:enable': ({ state, given }) => {
    for (const app of given) state.settings.apps.add(app)
    return ''
  },
  'app:disable': ({ state, given }) => {
    for (const app of given) state.settings.apps.delete(app)
    return ''
  },
  'app:list': ({ state }) =>
    JSON.stringify({ enabled: Object.fromEntries([...state.settings.apps].map((app) => [app, '1'])), disabled: {} }),
  'security:bruteforce:reset': ({ state, given }) => {
    state.attempts = state.attempts.filter(({ address }) => address !== given[0])
    return ''
  },
  'user_oidc:provider': setProvider,
  'user_oidc:provider:delete': ({ state, given }) => {
    const at = state.providers.findIndex(({ name }) => name === given[0])
    if (at !== -1) state.providers.splice(at, 1)
    return ''
  },
  'oidc:create': ({ state, given: [name = '', ...redirectUris], options }) => {
    const client = {
      id: state.nextId(),
      name,
      clientId: options['client_id'] ?? fresh(64),
      secret: options['client_secret'] ?? fresh(64),
      redirectUris,
      isPublic: options['type'] === 'public',
      jwt: options['token_type'] === 'jwt',
      ...(options['resource_url'] !== undefined && { resourceUrl: options['resource_url'] }),
    }
    state.oidcClients.push(client)
    return JSON.stringify({ id: client.id, name, client_id: client.clientId, client_secret: client.secret })
  },
  'oidc:remove': ({ state, given: [id] }) => {
    const at = state.oidcClients.findIndex(({ clientId }) => clientId === id)
    if (at !== -1) state.oidcClients.splice(at, 1)
    return ''
  },
}

function setConfig({ settings }: NextcloudState, [name, member]: readonly string[], value: string): void {
  if (name === 'user_oidc' && member === 'auto_provision') settings.autoProvision = value !== 'false'
  if (name === 'user_oidc' && member === 'oidc_provider_bearer_validation')
    settings.oidcProviderBearerValidation = value === 'true'
  if (name === 'user_oidc' && member === undefined) {
    settings.autoProvision = true
    settings.oidcProviderBearerValidation = false
  }
  if (name !== 'core.login_flow_v2.allowed_user_agents') return
  const [, pattern] = /^\/(.*)\/$/.exec(value) ?? []
  settings.allowedUserAgents = pattern === undefined ? [] : [new RegExp(pattern)]
}

/** Makes a provider of `user_oidc`, or changes what is said of the one of that name. */
function setProvider({ state, given: [name = ''], options }: Call): string {
  const known = state.providers.find((provider) => provider.name === name)
  const provider = known ?? newProvider(state.providers.length + 1, name)
  const is = (option: string, before: boolean) => (option in options ? options[option] === '1' : before)
  Object.assign(provider, {
    clientId: options['clientid'] ?? provider.clientId,
    discoveryUri: options['discoveryuri'] ?? provider.discoveryUri,
    checkBearer: is('check-bearer', provider.checkBearer),
    bearerProvisioning: is('bearer-provisioning', provider.bearerProvisioning),
    mappingUid: options['mapping-uid'] ?? provider.mappingUid,
    uniqueUid: is('unique-uid', provider.uniqueUid),
  })
  if (known === undefined) state.providers.push(provider)
  return options['output'] === 'json' ? JSON.stringify({ id: provider.id, identifier: name }) : ''
}

const newProvider = (id: number, name: string): OidcProvider => ({
  id,
  name,
  clientId: '',
  discoveryUri: '',
  checkBearer: false,
  bearerProvisioning: false,
  mappingUid: 'sub',
  uniqueUid: true,
})

/** Runs one of the commands of `occ` that operators of this package and its tests need. Returns its output. */
export function runOcc(
  state: NextcloudState,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): string {
  const [name = '', ...rest] = args
  const command = COMMANDS[name]
  if (command === undefined) throw new Error(`The stand-in knows no occ ${name}`)
  const options: Record<string, string> = {}
  const given: string[] = []
  for (const argument of rest) {
    const [, option, value = ''] = /^--([\w-]+)(?:=(.*))?$/s.exec(argument) ?? []
    if (option === undefined) given.push(argument)
    else options[option] = value
  }
  return command({ state, given, options, password: environment['OC_PASS'] ?? '' })
}
