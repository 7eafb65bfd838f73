import path from 'node:path'
import type { Environment } from '../options.js'
import { isLoopback } from '../config/values.js'

/** What `serve` is told by the environment. */
export interface ServeSettings {
  /** URL of the MCP endpoint, as clients know it. */
  readonly resource: string
  readonly nextcloudUrl: string
  readonly nextcloudPublicUrl: string | undefined
  readonly clientId: string
  readonly clientSecret: string
  readonly host: string
  readonly port: number
  /** The folder for the database and the key. */
  readonly data: string
  /** Undefined: there is a file of it in the folder. */
  readonly encryptionKey: string | undefined
}

/** The address at which Nextcloud gives its code back, which its administrator enters there. */
export const redirectUriOf = ({ resource }: Pick<ServeSettings, 'resource'>): string =>
  `${new URL(resource).origin}/nextcloud/callback`

/** Says that apps on this computer would not find the server, unless something leads from one port to the other. Undefined: they do. */
export function portDoubt({
  resource,
  host,
  port,
}: Pick<ServeSettings, 'resource' | 'host' | 'port'>): { readonly found: string; readonly fix: string } | undefined {
  const address = new URL(resource)
  const named = Number(address.port === '' ? 80 : address.port)
  const hostname = host === '::1' ? '[::1]' : host
  // A proxy speaks https for it, and a container may have another port outside.
  const isOpen = address.protocol === 'https:' || !isLoopback(address) || !isLoopback({ hostname })
  if (isOpen || port === 0 || port === named) return undefined
  return {
    found: `NEXTCLOUD_MCP_SERVER_URL has port ${named}, and this server listens on ${port}`,
    fix: `set PORT=${named}, unless a proxy leads from one to the other`,
  }
}

/** Variable → its meaning. The first four must be set. */
export const VARIABLES: Readonly<Record<string, string>> = {
  NEXTCLOUD_MCP_SERVER_URL: 'URL of this server as apps will know it, such as https://mcp.example.com/mcp',
  NEXTCLOUD_HOST: 'URL of your Nextcloud, such as https://cloud.example.com',
  NEXTCLOUD_OIDC_CLIENT_ID: 'client id from Nextcloud: Administration settings, Security, OAuth 2.0 clients',
  NEXTCLOUD_OIDC_CLIENT_SECRET: 'client secret from Nextcloud, which is shown beside the client id',
  PORT: 'port to listen on; 3000 without it',
  HOST: 'address to listen on; 127.0.0.1 without it, 0.0.0.0 in a container',
  MCP_DATA: 'folder for the database and its key; ./data without it',
  TOKEN_ENCRYPTION_KEY: 'the key (mcp-nextcloud-auth keygen); without it, one is made in that folder',
  NEXTCLOUD_PUBLIC_URL: 'URL of your Nextcloud in browsers, where it is another one',
}

const NEEDED = Object.entries(VARIABLES).slice(0, 4)
/** First segments of paths that this server has for itself. */
const TAKEN = ['oauth', 'nextcloud', 'health', '.well-known']

/** @returns the settings, or sentences that say what is wrong with them; none holds a secret */
export function readSettings(
  environment: Environment,
  directory: string,
):
  | { readonly settings: ServeSettings; readonly faults?: undefined }
  | { readonly settings?: undefined; readonly faults: readonly string[] } {
  const text = (name: string) => environment[name]?.trim() ?? ''
  const value = (name: string) => text(name) || undefined
  const port = Number(value('PORT') ?? 3000)
  const faults = [
    ...NEEDED.filter(([name]) => text(name) === '').map(([name, meaning]) => `${name} is not set: ${meaning}`),
    ...urlFaults(value),
    ...credentialFaults(value),
    ...(Number.isInteger(port) && port >= 0 && port < 65_536 ? [] : ['PORT must be a number up to 65535']),
  ]
  const settings = {
    resource: text('NEXTCLOUD_MCP_SERVER_URL'),
    nextcloudUrl: text('NEXTCLOUD_HOST'),
    nextcloudPublicUrl: value('NEXTCLOUD_PUBLIC_URL'),
    clientId: text('NEXTCLOUD_OIDC_CLIENT_ID'),
    clientSecret: text('NEXTCLOUD_OIDC_CLIENT_SECRET'),
    host: value('HOST') ?? '127.0.0.1',
    port,
    data: path.resolve(directory, value('MCP_DATA') ?? 'data'),
    encryptionKey: value('TOKEN_ENCRYPTION_KEY'),
  }
  return faults.length > 0 ? { faults } : { settings }
}

function urlFaults(value: (name: string) => string | undefined): string[] {
  const faults = ['NEXTCLOUD_MCP_SERVER_URL', 'NEXTCLOUD_HOST', 'NEXTCLOUD_PUBLIC_URL'].flatMap((name) => {
    const given = value(name)
    const isWeb = given === undefined || (URL.canParse(given) && /^https?:$/.test(new URL(given).protocol))
    return isWeb ? [] : [`${name} must be a URL with https:// or http:// at its start`]
  })
  const resource = value('NEXTCLOUD_MCP_SERVER_URL')
  if (faults.length > 0 || resource === undefined) return faults
  const { pathname, search, hash } = new URL(resource)
  const [, first = ''] = pathname.split('/')
  if (first === '' || TAKEN.includes(first) || search !== '' || hash !== '') {
    faults.push(`NEXTCLOUD_MCP_SERVER_URL must have a path of its own, such as ${new URL(resource).origin}/mcp`)
  }
  return faults
}

const [CLIENT_ID, CLIENT_SECRET] = ['NEXTCLOUD_OIDC_CLIENT_ID', 'NEXTCLOUD_OIDC_CLIENT_SECRET'] as const
const MADE_IN = 'Administration settings, Security, OAuth 2.0 clients'
/** Blanks, quotation marks, and the dots that stand for the value in instructions. */
const PASTED_ALONG = /[\s'"`\u2018-\u201F\u00AB\u00BB\u2026]/u

/** What is pasted along with an id or a secret, which has letters and digits only. */
function credentialFaults(value: (name: string) => string | undefined): string[] {
  const faults = [CLIENT_ID, CLIENT_SECRET]
    .filter((name) => PASTED_ALONG.test(value(name) ?? ''))
    .map((name) => `${name} has a blank, a quotation mark or … in it: paste the value of ${MADE_IN} alone`)
  const secret = value(CLIENT_SECRET)
  if (secret === undefined || secret !== value(CLIENT_ID)) return faults
  return [...faults, `${CLIENT_SECRET} is the same as ${CLIENT_ID}: Nextcloud shows two values`]
}

/** Characters of an id, and of a secret, as Nextcloud makes them. */
const LENGTH = 64

/** Says of an id and a secret that they do not look like Nextcloud's, without a value: `serve` goes on, and its doctor fails. */
export function credentialDoubts({
  clientId,
  clientSecret,
}: Pick<ServeSettings, 'clientId' | 'clientSecret'>): string[] {
  const given = [
    [CLIENT_ID, clientId],
    [CLIENT_SECRET, clientSecret],
  ] as const
  return given
    .filter(([, value]) => value.length !== LENGTH || !/^[A-Za-z\d]+$/.test(value))
    .map(([name, value]) => {
      const found = value.length === LENGTH ? 'other characters' : `${value.length} characters`
      return `${name} has ${found}, and Nextcloud makes it of ${LENGTH} letters and digits`
    })
}
