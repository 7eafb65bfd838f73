import type { Config } from '../config/config.js'
import { named } from '../config/declarations.js'
import { ConfigurationError } from '../errors/errors.js'
import { withoutEndSlash, type Routes } from './router.js'

/**
 * Joins the routes of this package. Requests without a token pass the middleware on each of them, by the methods that it has.
 *
 * @throws {ConfigurationError} the MCP endpoint has the path of one, so that its handler would be reached without a token; or two of
 * them have one path
 */
export function ownRoutes({ resource }: Pick<Config, 'resource'>, metadata: Routes, pages: Routes): Routes {
  const path = withoutEndSlash(new URL(resource).pathname)
  // In Express, paths that differ by case alone are one.
  const lower = path.toLowerCase()
  const isIn = (routes: Routes): boolean => [...routes.keys()].some((one) => one.toLowerCase() === lower)
  if (isIn(metadata)) {
    throw new ConfigurationError(
      `${named('resource')} has the path ${path}, at which auth.routes() serves metadata: give the MCP endpoint another path, such as /mcp, or change ${named('resourceMetadataUrl')}`,
      'resource',
    )
  }
  if (isIn(pages)) {
    throw new ConfigurationError(
      `${named('resource')} has the path ${path}, at which auth.routes() serves a page: give the MCP endpoint another path, such as /mcp, or change ${named('connect.path')}`,
      'resource',
    )
  }
  const twice = [...pages.keys()].find((one) => metadata.has(one))
  if (twice !== undefined) {
    throw new ConfigurationError(
      `${named('connect.path')} has a page at ${twice}, which is the path of metadata: change it, or ${named('resourceMetadataUrl')}`,
      'connect.path',
    )
  }
  return new Map([...metadata, ...pages])
}
