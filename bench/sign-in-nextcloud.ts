/** A program: the stand-in for Nextcloud, with accounts and one OAuth client. Says its address, and ends with its parent. */
import { startStandIn } from '../test/support/nextcloud/stand-in.js'
import { addAccount } from '../test/support/nextcloud/state.js'

const [clientId = '', secret = '', redirectUri = '', accounts = ''] = process.argv.slice(2)
process.on('disconnect', () => process.exit())
const { url, state, requests } = await startStandIn()
// They are kept for tests.
requests.push = () => 0
state.oauth2Clients.push({ id: 1, name: 'MCP', clientId, secret, redirectUris: [redirectUri] })
for (const uid of accounts.split(',')) addAccount(state, uid)
process.send?.(url)
