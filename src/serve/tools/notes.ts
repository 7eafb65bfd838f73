import { z } from 'zod'
import { leave, lines, oneLine, readJson, refused } from './answer.js'
import { tool, ToolFailure, type NextcloudOfTool, type Tool } from './tool.js'

/** The API of the app Notes, version 1. */
const NOTES = '/index.php/apps/notes/api/v1/notes'
const MOST_NOTES = 200
const MOST_CONTENT = 100_000

const id = z.number().int().positive().describe('The number that list_notes tells')
const title = z.string().min(1).max(200)
const content = z.string().max(MOST_CONTENT)
const category = z.string().max(200).describe('A folder of notes, such as Work/Meetings; empty for none')

const heading = z.object({
  id: z.number(),
  title: z.string().default(''),
  category: z.string().default(''),
  modified: z.number().default(0),
})
const whole = heading.extend({ content: z.string().default(''), etag: z.string().default('') })

export const noteTools: readonly Tool[] = [
  tool({
    name: 'list_notes',
    title: 'List notes',
    description: `List the user’s notes in Nextcloud, the latest first; at most ${MOST_NOTES}.`,
    scopes: ['notes:read'],
    readOnly: true,
    input: z.object({
      category: category.optional(),
      title: z.string().max(200).optional().describe('Text that the title has in it'),
    }),
    run: listNotes,
  }),
  tool({
    name: 'read_note',
    title: 'Read a note',
    description: 'Read one of the user’s notes. Tells the etag, which update_note needs.',
    scopes: ['notes:read'],
    readOnly: true,
    input: z.object({ id }),
    run: readNote,
  }),
  tool({
    name: 'create_note',
    title: 'Write a note',
    description: 'Write a new note in the user’s Nextcloud, in Markdown.',
    scopes: ['notes:read', 'notes:write'],
    readOnly: false,
    input: z.object({ title, content, category: category.optional() }),
    run: createNote,
  }),
  tool({
    name: 'update_note',
    title: 'Change a note',
    description:
      'Change the title, the content or the category of a note. The content given replaces the whole content. Needs the etag that read_note told, and changes nothing if the note has changed since.',
    scopes: ['notes:read', 'notes:write'],
    readOnly: false,
    replaces: true,
    input: z.object({
      id,
      etag: z
        .string()
        .min(1)
        .max(200)
        .regex(/^[\x21\x23-\x7E]+$/)
        .describe('From read_note'),
      title: title.optional(),
      content: content.optional(),
      category: category.optional(),
    }),
    run: updateNote,
  }),
]

async function listNotes(
  { fetch }: NextcloudOfTool,
  wanted: { readonly category?: string | undefined; readonly title?: string | undefined },
): Promise<string> {
  const answer = await fetch(`${NOTES}?exclude=content`)
  if (!answer.ok) throw await refusedNote(answer, 'the notes')
  const notes = parsed(z.array(heading), await readJson(answer))
  const text = wanted.title?.toLowerCase() ?? ''
  const found = notes
    .filter((note) => wanted.category === undefined || note.category === wanted.category)
    .filter((note) => note.title.toLowerCase().includes(text))
    .sort((a, b) => b.modified - a.modified)
  return lines(found.map(shown), MOST_NOTES, 'There are no such notes.')
}

function shown({ id, title, category, modified }: z.output<typeof heading>): string {
  const where = category === '' ? '' : ` (in ${oneLine(category, 100)})`
  return `${id}. ${oneLine(title, 200)}${where}, changed ${day(modified)}`
}

/** Seconds since the epoch as a day. */
const day = (seconds: number): string =>
  Math.abs(seconds) < 1e11 ? new Date(seconds * 1_000).toISOString().slice(0, 10) : 'at an unknown time'

async function readNote({ fetch }: NextcloudOfTool, { id }: { readonly id: number }): Promise<string> {
  const answer = await fetch(`${NOTES}/${id}`)
  if (!answer.ok) throw await refusedNote(answer, `note ${id}`)
  const { title, category, content, etag } = parsed(whole, await readJson(answer))
  const cut = content.length > MOST_CONTENT ? `\n\nOnly the first ${MOST_CONTENT} characters are shown.` : ''
  const where = category === '' ? '' : `, in ${oneLine(category, 100)}`
  return `Note ${id}: ${oneLine(title, 200)}${where}. Its etag is ${etag}.\n\n${content.slice(0, MOST_CONTENT)}${cut}`
}

async function createNote({ fetch }: NextcloudOfTool, note: object): Promise<string> {
  const answer = await fetch(NOTES, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(note),
  })
  if (!answer.ok) throw await refusedNote(answer, 'the new note')
  const { id, title } = parsed(whole, await readJson(answer))
  return `Wrote note ${id}, ${oneLine(title, 200)}.`
}

async function updateNote(
  { fetch }: NextcloudOfTool,
  { id, etag, ...changes }: { readonly id: number; readonly etag: string; readonly content?: string | undefined },
): Promise<string> {
  if (Object.values(changes).every((change) => change === undefined))
    throw new ToolFailure('There is nothing to change.')
  const answer = await fetch(`${NOTES}/${id}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'if-match': `"${etag}"` },
    body: JSON.stringify(changes),
  })
  if (!answer.ok) throw await refusedNote(answer, `note ${id}`)
  const changed = parsed(whole, await readJson(answer))
  return `Changed note ${id}, ${oneLine(changed.title, 200)}. Its etag is now ${changed.etag}.`
}

async function refusedNote(answer: Response, what: string): Promise<ToolFailure> {
  // An app that is not there is a page.
  if (answer.status === 404 && !/\bjson\b/.test(answer.headers.get('content-type') ?? '')) {
    await leave(answer)
    return new ToolFailure(
      'The app Notes is not installed in this Nextcloud, or not switched on for this user (404). An administrator can add it in Apps.',
    )
  }
  const reasons = {
    403: `${what} is not the user’s to change (403).`,
    404: `There is no ${what} (404).`,
    412: `${what} has changed since it was read (412): read it again.`,
    423: `${what} is in use (423): try again in a moment.`,
    507: 'There is no room in the user’s Nextcloud (507).',
  }
  return refused(answer, reasons, what)
}

/** @throws {ToolFailure} the answer does not have the form of one of Notes */
function parsed<S extends z.ZodType>(schema: S, json: unknown): z.output<S> {
  const { data, success } = schema.safeParse(json)
  if (!success) throw new ToolFailure('Nextcloud’s answer is not one of the app Notes.')
  return data
}
