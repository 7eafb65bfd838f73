import { removeToken } from '../nextcloud/state.js'
import { secretOf } from './bed.js'
import { basic, clientFields, type Makers, type Making, type Tokens } from './makers.js'

const TOKEN = '/index.php/apps/oauth2/api/v1/token'
const CLIENT = 'oauth2-client-id'

/** Credentials of the core app `oauth2`. */
export function oauth2Credentials(making: Making): Makers {
  const { given, fields, nextcloud, post } = making
  const code = () => nextcloud.oauth2.grantCode('alice', CLIENT)
  return {
    '<client id and secret>': () => basic(CLIENT, secretOf(CLIENT)),
    '<client id and a wrong secret>': () => basic(CLIENT, 'wrong'),
    '<secret of the client>': () => secretOf(String(fields['client_id'])),
    '<code>': async () => {
      const made = code()
      if (given === 'code redeemed') await redeem(making, made)
      return made
    },
    '<refresh token>': async () => (await tokensIn(making, code())).refresh_token,
    '<refresh token, used>': async () => {
      const { refresh_token: used } = await tokensIn(making, code())
      await post(TOKEN, { ...clientFields(CLIENT), grant_type: 'refresh_token', refresh_token: used })
      return used
    },
    '<access token of core oauth2>': async () => (await tokensIn(making, code())).access_token,
    '<access token of core oauth2, expired>': async () => (await tokensIn(making, code())).access_token,
  }
}

const redeem = async ({ post }: Making, code: string) =>
  JSON.parse((await post(TOKEN, { ...clientFields(CLIENT), grant_type: 'authorization_code', code })).text) as Tokens

async function tokensIn(making: Making, code: string): Promise<Tokens> {
  const { given, nextcloud } = making
  const { state } = nextcloud
  const tokens = await redeem(making, code)
  const session = state.tokens.find(({ password }) => password === tokens.access_token)!
  if (/after DELETE|removed|session deleted/.test(given)) removeToken(state, session)
  if (given.includes('expired') || given.includes('aged')) session.endsAt = 0
  return tokens
}
