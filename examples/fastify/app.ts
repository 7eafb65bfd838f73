import cors from '@fastify/cors'
import { toWebRequest } from '@modelcontextprotocol/node'
import type { McpHttpHandler } from '@modelcontextprotocol/server'
import fastify, { type FastifyInstance, type FastifyPluginCallback, type onRequestAsyncHookHandler } from 'fastify'
import type { McpAuth, McpAuthInfo } from 'mcp-nextcloud-auth'

declare module 'fastify' {
  interface FastifyRequest {
    mcpAuth?: McpAuthInfo
  }
}

/** An app of Fastify, with an MCP server at `/mcp`. */
export function createApp(auth: McpAuth, mcp: McpHttpHandler): FastifyInstance {
  const app = fastify()
  const routes = auth.routes()
  // The metadata for MCP clients, and the pages on which people connect. They read their forms themselves, before Fastify does.
  app.addHook('onRequest', ({ raw }, reply, done) => {
    routes(raw, reply.raw, (error) => done(error instanceof Error ? error : undefined))
  })
  app.register(mcpPlugin(auth, mcp))
  return app
}

function mcpPlugin(auth: McpAuth, mcp: McpHttpHandler): FastifyPluginCallback {
  return (app, _options, done) => {
    // For MCP clients in browsers. It also answers their preflights.
    app.register(cors, { origin: '*', exposedHeaders: ['WWW-Authenticate', 'Mcp-Session-Id'] })
    app.decorateRequest('mcpAuth', undefined)
    app.route({
      method: ['GET', 'POST', 'DELETE'],
      url: '/mcp',
      // Before the body is read and parsed.
      onRequest: verified(auth),
      handler: async ({ raw, method, url, body, mcpAuth }, reply) => {
        const request = await toWebRequest(Object.assign(raw, { method, url }), body)
        return reply.send(await mcp.fetch(request, { parsedBody: body, ...(mcpAuth && { authInfo: mcpAuth }) }))
      },
    })
    done()
  }
}

/** Lets verified requests pass, with the caller in `request.mcpAuth`. */
function verified(auth: McpAuth): onRequestAsyncHookHandler {
  return async (request, reply) => {
    const { method, url, raw } = request
    // A header that came twice is there twice.
    const verdict = await auth.authenticate({ method, url, headers: raw.headersDistinct })
    if ('status' in verdict) {
      const { status, headers, body } = verdict
      return reply.code(status).headers(headers).send(body)
    }
    if ('info' in verdict) request.mcpAuth = verdict.info
  }
}
