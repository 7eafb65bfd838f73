import { randomUUID } from 'node:crypto'
import { nextcloudPath } from 'mcp-nextcloud-auth'
import { addressOf, lookAt, onlyIf, type Files } from './files.js'

export interface UploadOptions {
  /** Bytes, where they are known. */
  readonly length?: number | undefined
  /** Of the content that is replaced. Without it, a file that is there stays as it is. */
  readonly etag?: string | undefined
  /** Bytes of a chunk, each of which is held in memory. Nextcloud wants at least 5 MiB of all but the last. */
  readonly chunk?: number
}

export interface Uploaded {
  /** What Nextcloud answered: 201, 204, or why not. */
  readonly status: number
  readonly etag?: string
}

/** Bytes. Web servers in front often take no more than 100 MB in one request. */
const CHUNK = 20 * 2 ** 20
const MOST_CHUNKS = 10_000
/** Bytes. Beyond 1 TB the chunks would be larger, and each is held in memory. */
const LARGEST_CHUNK = 100 * 2 ** 20
/** Milliseconds. Nextcloud puts the chunks together before it answers. */
const ASSEMBLY = 15 * 60_000

/** Stores a stream of any size: in one request where it is known to be short, else in chunks, each of which can be sent again. */
export async function upload(
  files: Files,
  path: string,
  body: AsyncIterable<Uint8Array>,
  { length, etag, chunk = Math.max(CHUNK, Math.ceil((length ?? 0) / MOST_CHUNKS)) }: UploadOptions,
): Promise<Uploaded> {
  if (chunk > LARGEST_CHUNK) return { status: 413 }
  if (length === undefined || length > chunk) return uploadChunks(files, path, chunksOf(body, chunk), { length, etag })
  const headers = { 'content-length': `${length}`, ...onlyIf(etag) }
  return uploaded(await files.fetch(await addressOf(files, path), { method: 'PUT', headers, body }))
}

async function uploadChunks(
  files: Files,
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  { length, etag }: UploadOptions,
): Promise<Uploaded> {
  const { fetch, user } = files
  // Asked now, because only the last request would say so, when all bytes are there.
  const folder = await lookAt(
    files,
    path
      .split('/')
      .filter((name) => name !== '')
      .slice(0, -1)
      .join('/'),
  )
  if (folder.entry === undefined) return { status: folder.status }
  const { status, url: destination, entry } = await lookAt(files, path)
  if (status !== 207 && status !== 404) return { status }
  if (entry?.etag !== etag) return { status: 412 }

  const { id } = await user()
  const place = nextcloudPath`/remote.php/dav/uploads/${id}/${randomUUID()}`
  const total: Record<string, string> = length === undefined ? {} : { 'oc-total-length': `${length}` }
  let isStored = false
  try {
    const made = await fetch(place, { method: 'MKCOL', headers: { destination } })
    if (!made.ok) return await uploaded(made)
    let count = 0
    let bytes = 0
    for await (const body of chunks) {
      const name = String(++count).padStart(5, '0')
      const answer = await fetch(`${place}/${name}`, { method: 'PUT', headers: { destination, ...total }, body })
      if (!answer.ok) return await uploaded(answer)
      bytes += body.byteLength
    }
    const headers = { destination, 'oc-total-length': `${length ?? bytes}`, ...onlyIfThere(destination, etag) }
    const moved = await fetch(`${place}/.file`, { method: 'MOVE', headers, timeout: ASSEMBLY })
    isStored = moved.ok
    return await uploaded(moved)
  } finally {
    // With a signal of its own, because the caller's may be why it failed.
    if (!isStored) await fetch(place, { method: 'DELETE', signal: AbortSignal.timeout(10_000) }).catch(() => undefined)
  }
}

/** What `onlyIf` says of a PUT, for the target of a MOVE (RFC 4918 §10.4, §10.6). */
function onlyIfThere(destination: string, etag: string | undefined): Record<string, string> {
  return etag === undefined ? { overwrite: 'F' } : { if: `<${destination}> ([${etag}])` }
}

async function uploaded({ status, headers, body }: Response): Promise<Uploaded> {
  await body?.cancel()
  const etag = headers.get('oc-etag')
  return { status, ...(etag !== null && { etag }) }
}

/** The same bytes in chunks of one size, but for the last. */
async function* chunksOf(body: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = []
  let free = size
  for await (let piece of body) {
    for (; piece.byteLength > free; held = [], free = size) {
      yield Buffer.concat([...held, piece.subarray(0, free)])
      piece = piece.subarray(free)
    }
    held.push(piece)
    free -= piece.byteLength
  }
  yield Buffer.concat(held)
}
