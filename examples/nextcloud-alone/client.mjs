// A client of this server: signs you in in your browser, lists the tools, and calls one.
//   npm run try                                                        the files of your home folder
//   npm run try -- create_note '{"title":"Milk","content":"Two litres"}'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'

const [tool = 'list_files', args = '{}'] = process.argv.slice(2)
const listener = createServer().listen(0, '127.0.0.1')
await once(listener, 'listening')
const redirectUrl = `http://127.0.0.1:${listener.address().port}/callback`
const [state, kept] = [randomUUID(), {}]
/** The parameters with which the server sends the browser back. */
const callback = new Promise((resolve) => {
  listener.on('request', (req, res) => {
    const { searchParams } = new URL(req.url, redirectUrl)
    const ours = searchParams.get('state') === state
    res.writeHead(ours ? 200 : 404, { connection: 'close' }).end(ours ? 'Go back to the terminal.' : '')
    if (ours) resolve(searchParams)
  })
})
/** The SDK asks for what it has handed over to keep. Nothing is kept longer than this process. */
const authProvider = {
  redirectUrl,
  clientMetadata: { client_name: 'My client', redirect_uris: [redirectUrl], token_endpoint_auth_method: 'none' },
  state: () => state,
  clientInformation: () => kept.client,
  saveClientInformation: (registered) => void (kept.client = registered),
  tokens: () => kept.tokens,
  saveTokens: (issued) => void (kept.tokens = issued),
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (made) => void (kept.verifier = made),
  discoveryState: () => kept.discovered,
  saveDiscoveryState: (found) => void (kept.discovered = found),
  redirectToAuthorization: (page) => console.log(`Open this page in your browser and sign in:\n${page.href}\n`),
}
const open = () => new StreamableHTTPClientTransport(new URL(process.env.NEXTCLOUD_MCP_SERVER_URL), { authProvider })
const client = new Client({ name: 'my-client', version: '1.0.0' })
const transport = open()
try {
  await client.connect(transport)
} catch (error) {
  if (!(error instanceof UnauthorizedError)) throw error
  await transport.finishAuth(await callback)
  await client.connect(open())
} finally {
  listener.close()
}
const { tools } = await client.listTools()
console.log(`Tools: ${tools.map(({ name }) => name).join(', ')}\n`)
const { content, isError } = await client.callTool({ name: tool, arguments: JSON.parse(args) })
for (const { text } of content) console.log(text)
await client.close()
process.exitCode = isError ? 1 : 0
