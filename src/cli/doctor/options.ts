import type { ParseArgsConfig } from 'node:util'

/** How the text of an option becomes a value. */
type Form = 'text' | 'list' | 'number' | 'pairs' | 'introspection'

interface DoctorOption {
  /** Path of the option of `mcpAuth()` that it stands for. */
  readonly option: string
  readonly form: Form
  readonly variable?: string
  readonly placeholder: string
}

const text = (option: string, placeholder: string, variable?: string): DoctorOption => ({
  option,
  form: 'text',
  placeholder,
  ...(variable !== undefined && { variable }),
})
const list = (option: string, placeholder: string, variable?: string): DoctorOption => ({
  ...text(option, placeholder, variable),
  form: 'list',
})

/** Options that stand for those of `mcpAuth()`. A list is separated by commas, or the option is given several times. */
const CONFIG_OPTIONS: Readonly<Record<string, DoctorOption>> = {
  issuer: text('issuer', 'url', 'OIDC_ISSUER'),
  'discovery-url': text('discoveryUrl', 'url', 'OIDC_DISCOVERY_URL'),
  resource: text('resource', 'url', 'NEXTCLOUD_MCP_SERVER_URL'),
  'client-id': text('clientId', 'id', 'OIDC_CLIENT_ID'),
  audience: list('audience', 'aud,…'),
  'required-scopes': list('requiredScopes', 'scope,…'),
  'allowed-clients': list('allowedClients', 'id,…', 'ALLOWED_MCP_CLIENTS'),
  algorithms: list('algorithms', 'alg,…'),
  'clock-tolerance': { option: 'clockTolerance', form: 'number', placeholder: 'seconds' },
  introspection: { option: 'introspection', form: 'introspection', placeholder: 'opaque-only|always|false' },
  'jwks-uri': text('authorizationServer.jwksUri', 'url'),
  'token-endpoint': text('authorizationServer.tokenEndpoint', 'url'),
  'introspection-endpoint': text('authorizationServer.introspectionEndpoint', 'url'),
  'authorization-endpoint': text('authorizationServer.authorizationEndpoint', 'url'),
  'nextcloud-url': text('nextcloud.url', 'url', 'NEXTCLOUD_HOST'),
  mode: text('nextcloud.mode', 'mode', 'ENABLE_TOKEN_EXCHANGE'),
  'nextcloud-audience': list('nextcloud.audience', 'aud,…', 'NEXTCLOUD_RESOURCE_URI'),
  'nextcloud-resource': list('nextcloud.resource', 'uri,…'),
  'nextcloud-scopes': list('nextcloud.scopes', 'scope,…'),
  'nextcloud-parameter': { option: 'nextcloud.parameters', form: 'pairs', placeholder: 'name=value' },
  preset: text('nextcloud.preset', 'name'),
  'connect-path': text('connect.path', 'path'),
  'connect-scopes': list('connect.scopes', 'scope,…'),
  timeout: { option: 'http.timeout', form: 'number', placeholder: 'ms' },
}

/** Variables of options that the command line does not have, since they hold secrets. */
const SECRET_VARIABLES: Readonly<Record<string, string>> = {
  clientSecret: 'OIDC_CLIENT_SECRET',
  encryptionKey: 'TOKEN_ENCRYPTION_KEY',
}
/** Where the store is, in place of `--storage`, whose URL may hold a password. */
export const STORAGE_VARIABLE = 'DOCTOR_STORAGE'

/** Options of the doctor's own. */
const OWN_OPTIONS = {
  token: { type: 'string' },
  'token-file': { type: 'string' },
  'client-secret-file': { type: 'string' },
  storage: { type: 'string' },
  'storage-table': { type: 'string' },
  'storage-prefix': { type: 'string' },
  json: { type: 'boolean' },
} satisfies NonNullable<ParseArgsConfig['options']>

export const DOCTOR_OPTIONS: NonNullable<ParseArgsConfig['options']> = {
  ...Object.fromEntries(
    Object.entries(CONFIG_OPTIONS).map(([name, { form }]) => [
      name,
      { type: 'string' as const, multiple: form === 'list' || form === 'pairs' },
    ]),
  ),
  ...OWN_OPTIONS,
}

/** What the command line says, by the name of the option. */
export type Values = Readonly<Record<string, unknown>>

/** The options of `mcpAuth()` that the command line gives, which `readConfig` has yet to judge. */
export function configOptions(values: Values): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const [name, { option, form }] of Object.entries(CONFIG_OPTIONS)) {
    const given = values[name]
    if (given === undefined) continue
    const [first = '', second] = option.split('.')
    const value = valueOf(form, given)
    if (second === undefined) options[first] = value
    else options[first] = { ...(options[first] as object | undefined), [second]: value }
  }
  return options
}

function valueOf(form: Form, given: unknown): unknown {
  const texts = [given].flat().map(String)
  if (form === 'list') return texts.flatMap((item) => item.split(',')).map((item) => item.trim())
  if (form === 'pairs') {
    return Object.fromEntries(texts.map((pair) => [pair.split('=')[0], pair.slice(pair.indexOf('=') + 1)]))
  }
  const [value = ''] = texts
  if (form === 'number') return value.trim() === '' ? NaN : Number(value)
  return form === 'introspection' && value === 'false' ? false : value
}

/** Where an option of `mcpAuth()` can be given: `--issuer, OIDC_ISSUER or the option issuer`. */
export function waysToGive(option: string): string {
  const flag = Object.entries(CONFIG_OPTIONS).find(([, known]) => known.option === option)
  const secretFlag = option === 'clientSecret' ? '--client-secret-file' : option === 'storage' ? '--storage' : undefined
  const ways = [
    flag === undefined ? secretFlag : `--${flag[0]}`,
    flag?.[1].variable ?? SECRET_VARIABLES[option],
    `the option ${option}`,
  ].filter((way) => way !== undefined)
  return ways.length === 1 ? ways.join() : `${ways.slice(0, -1).join(', ')} or ${ways.at(-1) ?? ''}`
}

const line = (left: string, right = ''): string => `  ${left.padEnd(44)}${right}`.trimEnd()

export const DOCTOR_HELP = `Usage: mcp-nextcloud-auth doctor [options]

Checks a set-up from end to end and says what to change. Options that are not given come from the environment,
as they do for mcpAuth(). Exit status: 0 all is well, 1 something is wrong, 2 misuse.

Secrets:
${line('OIDC_CLIENT_SECRET (environment)', "this server's client secret")}
${line('TOKEN_ENCRYPTION_KEY (environment)', 'the keys that the storage is sealed with')}
${line('--client-secret-file <file>', 'the client secret from a file, or - for standard input')}
${line('--token-file <file>', 'an MCP token to try, from a file, or - for standard input')}
${line('--token <token>', 'the same; but every user of this machine can see a')}
${line('', 'command line, and the shell keeps it: use --token-file')}

Storage:
${line('--storage <url>', 'sqlite:./file.db, redis://… or postgres://…; a password in it')}
${line('', `can be seen too: use ${STORAGE_VARIABLE} (environment) then`)}
${line('--storage-table <name>', 'table of SQLite and PostgreSQL, where it is another')}
${line('--storage-prefix <text>', 'prefix of Redis, where it is another')}

Set-up, as for mcpAuth():
${Object.entries(CONFIG_OPTIONS)
  .map(([name, { placeholder, option, variable }]) =>
    line(`--${name} <${placeholder}>`, `${option}${variable === undefined ? '' : ` (${variable})`}`),
  )
  .join('\n')}

Output:
${line('--json', 'a JSON document in place of lines')}
${line('-h, --help', 'print this text')}
`
