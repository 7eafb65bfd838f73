import { variableOf } from '../../config/declarations.js'
import { CLIENT_SECRET_HELP, helpLine as line, SET_UP_HELP, SET_UP_OPTIONS, STORAGE_HELP } from '../options.js'

export const GRANTS_OPTIONS: typeof SET_UP_OPTIONS = {
  ...SET_UP_OPTIONS,
  'from-resource': { type: 'string' },
  'from-client-id': { type: 'string' },
  'from-issuer': { type: 'string' },
  'from-nextcloud-url': { type: 'string' },
  'dry-run': { type: 'boolean' },
  json: { type: 'boolean' },
}

export const GRANTS_HELP = `Usage: mcp-nextcloud-auth grants list [options]
       mcp-nextcloud-auth grants move --from-… [options]

list  prints the connections in a store, and how many each configuration has: resource, client, Nextcloud and
      issuer. It needs the storage and its keys alone.
move  moves connections of another configuration to the one that options and environment name now, so that users
      need not connect again. What is not named by --from-… is as it is now. Who is connected there already is kept.
      Refresh tokens are bound to client and issuer: with --from-client-id and --from-issuer they are left. It may be
      stopped (Ctrl-C) and run again.
Exit status: 0 done, 1 something is wrong, 2 misuse, 130 stopped.

Move:
${line('--from-resource <url>', 'the resource as it was')}
${line('--from-client-id <id>', "this server's client id as it was")}
${line('--from-issuer <url>', 'the issuer as it was; subjects must mean the same persons there')}
${line('--from-nextcloud-url <url>', 'the address of the same Nextcloud as it was')}
${line('--dry-run', 'count, and write nothing')}

List:
${line('--json', 'a JSON document in place of lines')}

Secrets:
${line(`${variableOf('encryptionKey')} (environment)`, 'the keys that the storage is sealed with')}
${line(`${variableOf('clientSecret')} (environment)`, "this server's client secret")}
${CLIENT_SECRET_HELP}

${STORAGE_HELP}

${SET_UP_HELP}

  -h, --help  print this text
`
