import { basicOf, fieldsOf, fresh, json, type Asked, type Told } from '../../../src/testing/nextcloud/exchange.js'
import { removeToken, type NextcloudState } from './state.js'

/** The settings of the core app `oauth2`, by which an administrator adds a client. */
export function oauth2Clients(state: NextcloudState, asked: Asked): Told | undefined {
  const [, id] = /^\/apps\/oauth2\/clients(?:\/(\d+))?$/.exec(asked.path) ?? [undefined, 'none']
  if (id === 'none') return undefined
  const { name = '', password } = basicOf(asked) ?? {}
  const account = state.accounts.get(name)
  if (account?.password !== password || account?.groups.has('admin') !== true)
    return json(403, { message: 'Logged in account must be an admin' })
  if (asked.method === 'DELETE') {
    const at = state.oauth2Clients.findIndex((client) => client.id === Number(id))
    const [client] = at === -1 ? [] : state.oauth2Clients.splice(at, 1)
    // Nextcloud ends whatever has the client's name.
    for (const token of state.tokens.filter((each) => each.name === client?.name)) removeToken(state, token)
    return json(200, [])
  }
  const form = fieldsOf(asked)
  const redirectUri = form.get('redirectUri') ?? ''
  const client = {
    id: state.nextId(),
    name: form.get('name') ?? '',
    clientId: fresh(64),
    secret: fresh(64),
    redirectUris: [redirectUri],
  }
  state.oauth2Clients.push(client)
  const { clientId, secret: clientSecret } = client
  return json(200, { id: client.id, name: client.name, redirectUri, clientId, clientSecret })
}
