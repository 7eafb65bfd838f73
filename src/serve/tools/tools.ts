import type { McpServer } from '@modelcontextprotocol/server'
import {
  McpAuthError,
  NotProvisionedError,
  SubjectTokenRejectedError,
  UpstreamUnavailableError,
} from '../../errors/errors.js'
import { nameOfFailure } from '../../errors/failure-name.js'
import type { McpAuth } from '../../mcp-auth.js'
import { scopedTools, withNextcloud } from '../../mcp/v2.js'
import { calendarTools } from './calendar.js'
import { fileTools } from './files.js'
import { noteTools } from './notes.js'
import { ToolFailure, type NextcloudOfTool, type Tool } from './tool.js'

export const TOOLS: readonly Tool[] = [...fileTools, ...noteTools, ...calendarTools]

export const toolNames: ReadonlySet<string> = new Set(TOOLS.map(({ name }) => name))

/** Returns the names of tools that a body of JSON-RPC calls, which may be a batch. */
export function toolsCalled(body: unknown): readonly string[] {
  const messages = [body].flat() as ({ method?: unknown; params?: { name?: unknown } | null } | null | undefined)[]
  return messages
    .filter((message) => message?.method === 'tools/call')
    .map((message) => message?.params?.name)
    .filter((name) => typeof name === 'string')
}

/** @param report hears of defects, by the tool's name and the name of the failure */
export function registerTools(server: McpServer, auth: McpAuth, report: (tool: string, error: string) => void): void {
  scopedTools(auth, server, Object.fromEntries(TOOLS.map(({ name, scopes }) => [name, scopes])))
  for (const tool of TOOLS) {
    const { name, title, description, input, readOnly, replaces } = tool
    server.registerTool(
      name,
      {
        title,
        description,
        inputSchema: input,
        annotations: { readOnlyHint: readOnly, destructiveHint: replaces === true, openWorldHint: false },
      },
      untilSignedOut(withNextcloud(auth, (args, _ctx, nextcloud) => runTool(tool, nextcloud, args, report))),
    )
  }
}

interface TextResult {
  [key: string]: unknown
  content: { type: 'text'; text: string }[]
  isError?: boolean
}

/** Runs a tool, and tells what it gives or why there is nothing in words for the model. */
export async function runTool(
  { name, run, readOnly }: Tool,
  nextcloud: NextcloudOfTool,
  args: unknown,
  report: (tool: string, error: string) => void,
): Promise<TextResult> {
  try {
    return text(await run(nextcloud, args))
  } catch (error) {
    // The user must connect or sign in first.
    if (error instanceof NotProvisionedError || error instanceof SubjectTokenRejectedError) throw error
    if (error instanceof ToolFailure) return text(error.message, true)
    if (error instanceof McpAuthError) {
      const isUnsure = !readOnly && error instanceof UpstreamUnavailableError && !error.unprocessed
      return text(`${error.body.error_description}.${isUnsure ? MAY_BE_DONE : ''}`, true)
    }
    report(name, nameOfFailure(error) ?? 'unknown')
    return text('That did not work, for a reason that this server does not know.', true)
  }
}

/** The next request is a 401, by which a client signs its user in. */
const SIGN_IN_ENDED =
  'The sign-in of the user has ended. Call this tool again: the app then has the user sign in, which connects Nextcloud again.'

/** Returns the call, with words for the model where the user must sign in again. */
function untilSignedOut<A extends readonly unknown[], R>(
  call: (...args: A) => Promise<R>,
): (...args: A) => Promise<R | TextResult> {
  return async (...args) => {
    try {
      return await call(...args)
    } catch (error) {
      if (error instanceof SubjectTokenRejectedError) return text(SIGN_IN_ENDED, true)
      throw error
    }
  }
}

/** The answer to a change was lost, and a model would make it once more. */
const MAY_BE_DONE = ' It may have been done all the same: read it before you try again.'

const text = (words: string, isError = false): TextResult => ({
  content: [{ type: 'text', text: words }],
  ...(isError && { isError }),
})
