import type { RequestListener } from 'node:http'
import type { McpHttpHandler } from '@modelcontextprotocol/server'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { allowBrowsers } from './for-browsers.js'
import { nodeHandler } from './node-handler.js'

/** The same without any framework: a listener for `http.createServer()`. */
export function createHttpApp(auth: McpAuth, mcp: McpHttpHandler): RequestListener {
  const routes = auth.routes()
  const handle = nodeHandler(mcp)
  return (req, res) => {
    const fail = (): void => void res.writeHead(500).end()
    // Whatever the pages do not answer comes here.
    routes(req, res, (error) => {
      if (error !== undefined) fail()
      else if (req.url?.split('?')[0] !== '/mcp') res.writeHead(404).end()
      else if (!allowBrowsers(req, res)) {
        auth(req, res, (refused) => {
          if (refused === undefined) handle(req, res)
          else fail()
        })
      }
    })
  }
}
