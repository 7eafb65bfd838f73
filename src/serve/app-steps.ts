import { shellWord } from '../shell-word.js'

/** Lines for a terminal, and what to do then. The page at `/` has them, and so has `docs/nextcloud-alone.md`. */
export interface AppSteps {
  readonly lines: readonly string[]
  readonly then: string
}

export const claudeCode = (resource: string): AppSteps => ({
  lines: [`claude mcp add --transport http nextcloud ${shellWord(resource)}`, 'claude mcp login nextcloud'],
  then: 'The second line opens the browser.',
})

export const inspector = (resource: string): AppSteps => ({
  lines: [`npx --yes @modelcontextprotocol/inspector --transport http --server-url ${shellWord(resource)}`],
  then: 'Open the address that it prints, and switch on the one server that the page shows. It needs Node 22.19.',
})
