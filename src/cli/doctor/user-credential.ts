import { tokenLife } from '../../broker/token-cache.js'
import type { NextcloudConfig } from '../../config/config.js'
import { accessTokenOf, isLiving, type Grant, type Identity } from '../../grants/grant.js'
import { createGrants } from '../../grants/open-grants.js'
import type { Secret } from '../../nextcloud/credential.js'
import { quirksOf } from '../../presets.js'
import { missing, type Missing, type Subject } from './check.js'
import type { Examination } from './examination.js'
import { nextcloudOf } from './nextcloud.js'
import { knownIssuer } from './provider.js'
import { forApp } from './words.js'

/** A user's credential for Nextcloud. */
export interface UserCredential {
  readonly nextcloud: NextcloudConfig
  readonly secret: Secret
}

/** The credential that came of the MCP token, else the one that the store has for its user. */
export const userCredential: Subject<UserCredential> = async (context) => {
  const nextcloud = nextcloudOf(context)
  if ('missing' in nextcloud) return nextcloud
  const { nextcloudToken: token, config, secrets } = context
  if (token !== undefined) return { nextcloud, secret: { scheme: 'Bearer', token } }
  if (config.grants === undefined)
    return missing(`no token for Nextcloud to try: give an MCP token with ${forApp('--token-file')}`)
  const grant = await storedGrant(context)
  if ('missing' in grant) return grant
  const secret = secretIn(grant, nextcloud, context)
  if ('missing' in secret) return secret
  secrets.add(secret.scheme === 'Bearer' ? secret.token : secret.password)
  return { nextcloud, secret }
}

/** Reads the grant of the user, and changes nothing. */
async function storedGrant(context: Examination): Promise<Grant | Missing> {
  const { config, clock, events, store, secrets } = context
  const { grants } = config
  const storage = store === undefined ? undefined : grants?.storage
  const owner = await ownerOf(context)
  if (grants === undefined || storage === undefined || owner === undefined) {
    return missing(
      `no user is named, or no store: to have what a user has connected tried, name the store of the app by ${forApp('--storage, and the user by --subject or an MCP token (--token-file)')}`,
    )
  }
  const stored = createGrants({ config, grants, storage, clock, events }).store
  const { grant } = (await stored.look(owner)) ?? {}
  if (grant !== undefined && isLiving(grant)) return grant
  return missing(
    `${secrets.quote(owner.subject)} of ${owner.issuer} has no living grant in the store for ${config.resource}, this client and this Nextcloud: let that user connect, or name another`,
  )
}

async function ownerOf(context: Examination): Promise<Identity | undefined> {
  const { verified, subject } = context
  if (verified !== undefined) return verified
  const known = await knownIssuer(context)
  return subject === undefined || 'missing' in known ? undefined : { issuer: known.issuer, subject }
}

/** Returns the app password, or the access token as long as it lives: one that has ended may cost the grant where it is presented. */
function secretIn(grant: Grant, { preset }: NextcloudConfig, { clock, config }: Examination): Secret | Missing {
  const { appPassword } = grant
  const accessToken = accessTokenOf(grant, config.grants?.askedFor ?? '')
  if (appPassword !== undefined) return { scheme: 'Basic', ...appPassword }
  const { expiresIn, sentAt = 0 } = accessToken ?? {}
  const life = tokenLife({ expiresIn, sentAt }, { renewBefore: 0, margin: quirksOf(preset).margin })
  if (accessToken !== undefined && life !== undefined && clock.now() < life.ownEnd) {
    return { scheme: 'Bearer', token: accessToken.token }
  }
  return missing(
    'the access token in the grant has ended, and the doctor spends no refresh token: let the user call a tool, and run this again',
  )
}
