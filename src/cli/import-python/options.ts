import { variableOf } from '../../config/declarations.js'
import { CLIENT_SECRET_HELP, helpLine as line, SET_UP_HELP, SET_UP_OPTIONS, STORAGE_HELP } from '../options.js'

export const IMPORT_OPTIONS: typeof SET_UP_OPTIONS = {
  ...SET_UP_OPTIONS,
  clients: { type: 'string', multiple: true },
  restricted: { type: 'string' },
  'key-file': { type: 'string' },
  accounts: { type: 'string' },
  after: { type: 'string' },
  'dry-run': { type: 'boolean' },
}

export const IMPORT_HELP = `Usage: mcp-nextcloud-auth import-python <tokens.db | postgres://…> [options]

Imports the app passwords and refresh tokens of a Python nextcloud-mcp-server, so that its users need not connect
again. The first argument is what TOKEN_STORAGE_DB or DATABASE_URL names there. That store is only read. Who is
connected here already is kept, so the command can be run again. Nextcloud is asked whose account each app password
opens, and only the user's own is imported. Stop the Python server first: two servers that renew one refresh token
end it. Exit status: 0 done, 1 something is wrong or Nextcloud was not asked about all, 2 misuse.

Import:
${line('--clients <id,…|any>', 'the MCP clients that the imported connections serve (required).')}
${line('', 'any: each client that a user signs in with, now and later, which')}
${line('', 'is what the Python server did')}
${line('--restricted <skip|import>', 'app passwords that their users restricted to scopes: leave them')}
${line('', '(default), or import them without the restriction')}
${line('--key-file <file>', "the Python server's key from a file, or - for standard input;")}
${line('', 'several by commas. Default: the variable below')}
${line('--accounts <file>', 'lines subject,userid: the account in Nextcloud of each user.')}
${line('', 'Default: --identity, or else sub (the subject is the user id)')}
${line('--after <subject>', 'begin after this user')}
${line('--dry-run', 'read, ask Nextcloud, count, and write nothing')}

Secrets:
${line(`${variableOf('encryptionKey')} (environment)`, 'the keys that the storage is sealed with, and the Python')}
${line('', "server's, unless --key-file names those: one key may be both")}
${line(`${variableOf('clientSecret')} (environment)`, "this server's client secret")}
${CLIENT_SECRET_HELP}

${STORAGE_HELP}

${SET_UP_HELP}

  -h, --help  print this text
`
