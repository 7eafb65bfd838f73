import { z } from 'zod'

/** `auth.nextcloudFetch` for one user: it adds the Nextcloud token, and gets a new one when Nextcloud refuses it. */
export type NextcloudFetch = (
  path: string,
  init?: { readonly method: string; readonly headers: Record<string, string>; readonly body: string },
) => Promise<{ readonly ok: boolean; readonly status: number; json(): Promise<unknown> }>

export const noteId = z.object({ id: z.number().int().describe('Number of the note, as list_notes gives it') })
export const newNote = z.object({ title: z.string().min(1), content: z.string() })

/** The scopes of tools beyond those of every request. */
export const toolScopes = { create_note: ['notes:read', 'notes:write'] }

const notesPath = '/index.php/apps/notes/api/v1/notes'
const note = z.object({ id: z.number(), title: z.string(), content: z.string() })

/** One line for each of the user's notes. */
export async function listNotes(nextcloudFetch: NextcloudFetch): Promise<string> {
  const notes = z.array(note).parse(await answerOf(nextcloudFetch(notesPath)))
  return notes.map(({ id, title }) => `${id}. ${title}`).join('\n')
}

/** Title and text of one of the user's notes. */
export async function readNote(nextcloudFetch: NextcloudFetch, id: number): Promise<string> {
  const { title, content } = note.parse(await answerOf(nextcloudFetch(`${notesPath}/${id}`)))
  return `${title}: ${content}`
}

/** Writes a note and says which number it got. */
export async function createNote(nextcloudFetch: NextcloudFetch, content: z.infer<typeof newNote>): Promise<string> {
  const created = nextcloudFetch(notesPath, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(content),
  })
  const { id, title } = note.parse(await answerOf(created))
  return `Created note ${id}, ${title}`
}

async function answerOf(request: ReturnType<NextcloudFetch>): Promise<unknown> {
  const response = await request
  if (!response.ok) throw new Error(`Nextcloud answered ${response.status}`)
  return response.json()
}
