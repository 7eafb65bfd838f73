// Signs you in at the provider of an MCP server, and calls a tool there:
//   node call-tool.mjs https://mcp.example.com/mcp mcp-client write_note '{"title":"Hello","content":"From MCP"}'
// Without a tool, it writes the access token to standard output, for the doctor:
//   node call-tool.mjs https://mcp.example.com/mcp mcp-client | npx mcp-nextcloud-auth doctor --token-file -
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'

const [url, clientId, tool, args = '{}'] = process.argv.slice(2)
const listener = createServer().listen(0, '127.0.0.1')
await once(listener, 'listening')
const redirectUrl = `http://127.0.0.1:${listener.address().port}/callback`
const state = randomUUID()
/** The parameters with which the provider sends the browser back. */
const callback = new Promise((resolve) => {
  listener.on('request', (req, res) => {
    const { searchParams } = new URL(req.url, redirectUrl)
    const ours = searchParams.get('state') === state
    const words = searchParams.has('code')
      ? 'Signed in. You can close this page.'
      : 'Not signed in. The terminal says why.'
    res.writeHead(ours ? 200 : 404, { connection: 'close' }).end(ours ? words : '')
    if (ours) resolve(searchParams)
  })
})
let tokens
let verifier
let discovered

const authProvider = {
  redirectUrl,
  clientMetadata: { redirect_uris: [redirectUrl] },
  clientInformation: () => ({ client_id: clientId }),
  state: () => state,
  tokens: () => tokens,
  saveTokens: (issued) => void (tokens = issued),
  codeVerifier: () => verifier,
  saveCodeVerifier: (made) => void (verifier = made),
  // The code goes to the server that the browser was sent to, and to no other.
  discoveryState: () => discovered,
  saveDiscoveryState: (found) => void (discovered = found),
  redirectToAuthorization: (page) => console.error(`Open this page in your browser and sign in:\n${page.href}\n`),
}

const open = () => new StreamableHTTPClientTransport(new URL(url), { authProvider })
const client = new Client({ name: 'call-tool', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } })
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
if (tool === undefined) process.stdout.write(tokens.access_token)
else {
  const { content, isError } = await client.callTool({ name: tool, arguments: JSON.parse(args) })
  for (const { text } of content) console.log(text)
  process.exitCode = isError ? 1 : 0
}
await client.close()
