import 'reflect-metadata'
import type { McpHttpHandler } from '@modelcontextprotocol/server'
import { Module, type DynamicModule } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { NestExpressApplication } from '@nestjs/platform-express'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { MCP_AUTH } from './mcp-auth.guard.js'
import { MCP_SERVER, McpController } from './mcp.controller.js'

/** The module that an app imports, by `McpModule.with(auth, mcp)`. */
@Module({ controllers: [McpController] })
export class McpModule {
  static with(auth: McpAuth, mcp: McpHttpHandler): DynamicModule {
    const providers = [
      { provide: MCP_AUTH, useValue: auth },
      { provide: MCP_SERVER, useValue: mcp },
    ]
    return { module: McpModule, providers }
  }
}

/** An app of Nest on Express, with an MCP server at `/mcp`. */
export async function createApp(auth: McpAuth, mcp: McpHttpHandler): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(McpModule.with(auth, mcp), {
    // The MCP server reads its messages itself, after the guard. An app whose other routes need the parser leaves it on, or calls
    // app.useBodyParser('json', { limit: '4mb' }): a body that is parsed already does as well.
    bodyParser: false,
    logger: ['error', 'warn'],
  })
  // The metadata for MCP clients, and the pages on which people connect: at the root, outside of any global prefix.
  app.use(auth.routes())
  // For MCP clients in browsers. It also answers their preflights.
  app.enableCors({ origin: '*', exposedHeaders: ['WWW-Authenticate', 'Mcp-Session-Id'] })
  return app
}
