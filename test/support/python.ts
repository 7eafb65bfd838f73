import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'

/** Python with the official MCP SDK: `.ci/install-servers` makes it in `.cache`; or the one that `MCP_PYTHON` names. */
export function pythonWithMcp(): string | undefined {
  const made = path.resolve(import.meta.dirname, '../../.cache/python/bin/python')
  return [process.env['MCP_PYTHON'], made].find(
    (program) =>
      program !== undefined && existsSync(program) && spawnSync(program, ['-c', 'import mcp, httpx2']).status === 0,
  )
}
