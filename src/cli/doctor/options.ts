import { variableOf } from '../../config/declarations.js'
import { MCP_CLIENT_IDS } from './clients/mcp-clients.js'
import { CLIENT_SECRET_HELP, helpLine as line, SET_UP_HELP, SET_UP_OPTIONS, STORAGE_HELP } from '../options.js'

export const DOCTOR_OPTIONS: typeof SET_UP_OPTIONS = {
  ...SET_UP_OPTIONS,
  // Several are `issuers`.
  issuer: { type: 'string', multiple: true },
  token: { type: 'string' },
  'token-file': { type: 'string' },
  subject: { type: 'string' },
  serve: { type: 'boolean' },
  as: { type: 'string' },
  address: { type: 'string' },
  'as-client-id': { type: 'string' },
  json: { type: 'boolean' },
}

export const DOCTOR_HELP = `Usage: mcp-nextcloud-auth doctor [options]

Checks a set-up from end to end and says what to change. Options that are not given come from the environment,
as they do for mcpAuth(). Exit status: 0 all is well, 1 something is wrong, 2 misuse.

One Nextcloud and nothing else:
${line('--serve', 'the set-up of mcp-nextcloud-auth serve, by its variables and')}
${line('', 'the folder data; let the server run, and give no other option')}

The way of one MCP client, from the 401 to the sign-in page, in place of all checks:
${line('--as <client>', 'it fails where that client would, and says what to set:')}
${MCP_CLIENT_IDS.map((id) => line('', id)).join('\n')}
${line('--address <url>', 'the address that people give to it (resource)')}
${line('--as-client-id <id>', 'the client id that was made for it by hand')}

Secrets:
${line(`${variableOf('clientSecret')} (environment)`, "this server's client secret")}
${line(`${variableOf('encryptionKey')} (environment)`, 'the keys that the storage is sealed with')}
${CLIENT_SECRET_HELP}
${line('--token-file <file>', 'an MCP token to try, from a file, or - for standard input')}
${line('--token <token>', 'the same; but every user of this machine can see a')}
${line('', 'command line, and the shell keeps it: use --token-file')}

${STORAGE_HELP}
${line('--subject <sub>', 'the user whose grant is tried; an MCP token does as well')}

${SET_UP_HELP}
Several issuers: --issuer once for each. What belongs to an issuer is looked at for each of them.

Output:
${line('--json', 'a JSON document in place of lines')}
${line('-h, --help', 'print this text')}
`
