import type { z } from 'zod'
import type { Nextcloud } from '../../mcp/v2.js'

/** Nextcloud as the user of the call, as far as tools need it. */
export type NextcloudOfTool = Pick<Nextcloud, 'fetch' | 'user'>

/** A tool of this server. */
export interface Tool {
  readonly name: string
  readonly title: string
  /** Sentences for the model. */
  readonly description: string
  /** The scopes without which it is not called. */
  readonly scopes: readonly Scope[]
  readonly input: z.ZodObject
  /** Whether it changes nothing in Nextcloud. */
  readonly readOnly: boolean
  /** Whether it can replace what is there. Default: it cannot. */
  readonly replaces?: true
  /**
   * @returns a text for the model
   * @throws {ToolFailure} it cannot be done, in words for the model
   */
  readonly run: (nextcloud: NextcloudOfTool, args: unknown) => Promise<string>
}

/** Scope → a sentence for the page on which people agree to it. */
export const SCOPES = {
  'files:read': 'List, search and read your files',
  'files:write': 'Write new text files, and change those that you have',
  'notes:read': 'List and read your notes',
  'notes:write': 'Write new notes, and change those that you have',
  'calendar:read': 'See your calendars and the events in them',
  'calendar:write': 'Add events to your calendars',
} as const

export type Scope = keyof typeof SCOPES

/** A call that cannot be done. The message is for the model, and holds nothing that Nextcloud said but its status. */
export class ToolFailure extends Error {}

/** Declares a tool, whose arguments have their types from its schema. */
export function tool<S extends z.ZodObject>(
  given: Omit<Tool, 'input' | 'run'> & {
    readonly input: S
    readonly run: (nextcloud: NextcloudOfTool, args: z.output<S>) => Promise<string>
  },
): Tool {
  // The SDK has parsed them by this very schema.
  return { ...given, run: (nextcloud, args) => given.run(nextcloud, args as z.output<S>) }
}
