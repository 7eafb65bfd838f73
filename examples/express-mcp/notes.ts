import type { Nextcloud } from 'mcp-nextcloud-auth/mcp-v2'
import { z } from 'zod'

/** The Notes app's API, version 1. */
const NOTES = '/index.php/apps/notes/api/v1/notes'

const storedNote = z.object({ id: z.number(), title: z.string(), content: z.string() })

/** The arguments of each tool, and the scope that its MCP client needs. Both SDKs serve the same three tools. */
export const tools = {
  list_notes: { description: 'List the notes in your Nextcloud', scopes: ['notes:read'] },
  read_note: {
    description: 'Read one note',
    scopes: ['notes:read'],
    inputSchema: z.object({ id: z.number().int().describe('The number that list_notes gives') }),
  },
  create_note: {
    description: 'Write a new note',
    scopes: ['notes:read', 'notes:write'],
    inputSchema: z.object({ title: z.string().min(1).max(200), content: z.string().max(100_000) }),
  },
} as const

/** The scopes of each tool by its name. */
export const toolScopes = Object.fromEntries(Object.entries(tools).map(([name, { scopes }]) => [name, scopes]))

interface TextResult {
  [key: string]: unknown
  content: { type: 'text'; text: string }[]
  isError?: boolean
}

export async function listNotes({ fetch }: Nextcloud): Promise<TextResult> {
  const response = await fetch(`${NOTES}?exclude=content`)
  if (!response.ok) return refused(response)
  const notes = z.array(storedNote.pick({ id: true, title: true })).parse(await response.json())
  return text(notes.map(({ id, title }) => `${id}. ${title}`).join('\n') || 'There are no notes yet.')
}

export async function readNote({ fetch }: Nextcloud, id: number): Promise<TextResult> {
  const response = await fetch(`${NOTES}/${id}`)
  if (response.status === 404) return text(`There is no note ${id}.`, true)
  if (!response.ok) return refused(response)
  const { title, content } = storedNote.parse(await response.json())
  return text(`${title}\n\n${content}`)
}

export async function createNote(
  { fetch }: Nextcloud,
  note: { readonly title: string; readonly content: string },
): Promise<TextResult> {
  const response = await fetch(NOTES, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(note),
  })
  if (!response.ok) return refused(response)
  const { id, title } = storedNote.parse(await response.json())
  return text(`Wrote note ${id}, ${title}.`)
}

/** The status only, because the body may be a page of HTML. */
function refused({ status }: Response): TextResult {
  return text(`Nextcloud answered ${status}.`, true)
}

function text(content: string, isError = false): TextResult {
  return { content: [{ type: 'text', text: content }], ...(isError && { isError }) }
}
