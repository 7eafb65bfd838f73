import { createClient, type ClientRooms } from '../authorization-server/client.js'
import { createCodeGrant } from '../authorization-server/code-grant.js'
import { createDeletions } from '../broker/deletions.js'
import type { ConnectConfig, GrantsConfig, NextcloudConfig } from '../config/config.js'
import type { CodeShares } from '../local-options.js'
import type { Grants } from '../grants/open-grants.js'
import { createAppPasswords } from '../nextcloud/app-passwords.js'
import { createFreshCredentials } from '../nextcloud/fresh-credentials.js'
import { createSignIns } from '../nextcloud/sign-ins.js'

/** The rooms of what is asked of Nextcloud. */
interface NextcloudRooms extends ClientRooms {
  readonly nextcloud: NextcloudConfig
  readonly connect: ConnectConfig
  readonly stored: Pick<GrantsConfig, 'endsAlone'>
  readonly grants: Grants
  readonly codes: CodeShares
  readonly issuer: URL
}

/** Builds what gets tokens of Nextcloud, and what ends them there. */
export function createTokenRooms(rooms: NextcloudRooms) {
  const { nextcloud, connect, stored, issuer, transport, clock } = rooms
  const codeGrant = createCodeGrant(connect, rooms)
  const freshCredentials = createFreshCredentials({ nextcloud, transport })
  const server = { client: createClient(rooms), codeGrant, issuer: () => issuer.origin }
  const deletions = createDeletions({
    ...rooms,
    freshCredentials,
    serverOf: () => server,
    endsAlone: stored.endsAlone,
    appPasswords: createAppPasswords(nextcloud, transport),
    signIns: createSignIns(clock),
  })
  return { codeGrant, freshCredentials, deletions }
}
