import { mcpAuth } from 'mcp-nextcloud-auth'
import { createApp } from './app.js'

// Issuer, resource, client and Nextcloud come from the environment; README.md lists it.
const auth = mcpAuth()
const { PORT = '3000', HOST = '127.0.0.1' } = process.env
const server = createApp(auth).listen(Number(PORT), HOST, () => {
  process.stdout.write(`Listening on http://${HOST}:${PORT}\n`)
})
// An upload may take longer than the five minutes that Node gives a request.
server.requestTimeout = 0
