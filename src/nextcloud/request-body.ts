import { Readable } from 'node:stream'
import { types } from 'node:util'

/**
 * The body of a request to Nextcloud. A web or Node stream, or any other async iterable of bytes or strings, is sent as it comes and
 * once. Everything else is sent again where that is needed.
 */
export type NextcloudRequestBody =
  | string
  | ArrayBufferLike
  | ArrayBufferView
  | URLSearchParams
  | FormData
  | Blob
  | ReadableStream
  | NodeJS.ReadableStream
  | AsyncIterable<ArrayBufferLike | ArrayBufferView | string>

/** A body that can be sent. */
export interface RequestBody {
  /** `content-type` by the Fetch standard ("extract a body"), for a request that has none. */
  readonly type?: string | undefined
  /** Bytes; undefined if nobody has stated them. */
  readonly length: number | undefined
  readonly repeatable: boolean
  /** Returns what is sent, in one piece or in many, from its beginning. */
  readonly open: () => Uint8Array | Source
}

/** The bytes of one attempt. */
interface Source {
  readonly chunks: AsyncIterable<unknown>
  /** Ends it, also while it waits for a chunk. */
  readonly destroy: () => void
}

/** A body on its way. */
export interface Upload {
  /**
   * Returns the body as `fetch` takes it, and its bytes if it is a stream of a known length. A short stream is read to its end first, so
   * that it has a length, and that nothing was sent of one that fails.
   */
  readonly start: () => Promise<{
    readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>
    readonly length?: number | undefined
  }>
  /** Ends the body's source. */
  readonly cancel: () => void
  /** The one who is waited for: the body itself, the connection that takes it, or the answer when all of it is taken. */
  readonly waitsFor: () => 'body' | 'connection' | 'answer'
  /** The error with which the body ended by itself. */
  readonly failure: () => { readonly error: unknown } | undefined
}

/** A part of a body that is repeatable. A Blob is read when it is sent. */
type Part = Uint8Array | Blob

/** Bytes that a connection takes at a time. Shorter bodies are sent in one piece. */
const SLICE = 65_536
/** Bytes of a stream that are read before it is sent. */
const READ_AHEAD = 1_048_576
const NO_BODY =
  'A body is a string, bytes (Buffer, typed array, DataView, ArrayBuffer), URLSearchParams, FormData, a Blob or File, a stream, or an ' +
  'async iterable of bytes or strings: send any other value as JSON.stringify(value) with content-type application/json'

/**
 * Returns the body that a value stands for.
 *
 * @param stated bytes that the caller announces, which count for a stream
 * @throws {TypeError} the value is no body, or has been read already
 */
export function readRequestBody(value: unknown, stated: number | undefined): RequestBody {
  if (typeof value === 'string') return inParts([Buffer.from(value)], 'text/plain;charset=UTF-8')
  if (ArrayBuffer.isView(value)) return inParts([bytesOf(value)])
  if (types.isAnyArrayBuffer(value)) return inParts([bytesOf(value)])
  if (value instanceof URLSearchParams) {
    return inParts([Buffer.from(value.toString())], 'application/x-www-form-urlencoded;charset=UTF-8')
  }
  if (isBlob(value)) return inParts([value], value.type || undefined)
  if (isFormData(value)) return ofForm(value)
  if (typeof value !== 'object' || value === null || !(Symbol.asyncIterator in value)) throw new TypeError(NO_BODY)
  return ofStream(value as AsyncIterable<unknown>, stated)
}

function inParts(parts: readonly Part[], type?: string): RequestBody {
  const length = parts.reduce((sum, part) => sum + sizeOf(part), 0)
  const isShort = length <= SLICE && parts.every((part) => part instanceof Uint8Array)
  const open = isShort ? () => Buffer.concat(parts) : () => ({ chunks: chunksOf(parts), destroy: () => undefined })
  return { type, length, repeatable: true, open }
}

const sizeOf = (part: Part): number => (part instanceof Uint8Array ? part.byteLength : part.size)

async function* chunksOf(parts: readonly Part[]): AsyncGenerator {
  for (const part of parts) {
    if (part instanceof Uint8Array) yield part
    else yield* part.stream()
  }
}

/** HTML standard, multipart/form-data encoding algorithm. */
function ofForm(form: FormData): RequestBody {
  const boundary = `form-${crypto.randomUUID()}`
  const parts: Part[] = []
  for (const [name, value] of form) {
    const field = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(withLineEnds(name))}"`
    if (typeof value === 'string') parts.push(Buffer.from(`${field}\r\n\r\n${withLineEnds(value)}\r\n`))
    else {
      const type = value.type || 'application/octet-stream'
      const head = `${field}; filename="${quoted(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`
      parts.push(Buffer.from(head), value, Buffer.from('\r\n'))
    }
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`))
  return inParts(parts, `multipart/form-data; boundary=${boundary}`)
}

const withLineEnds = (text: string): string => text.replace(/\r?\n|\r/g, '\r\n')
const quoted = (text: string): string => text.replace(/[\r\n"]/g, encodeURIComponent)

function ofStream(stream: AsyncIterable<unknown>, length: number | undefined): RequestBody {
  if (isSpent(stream)) throw new TypeError('The body has been read already: a stream can be sent once')
  const chunks = nodeStream(stream)
  // An error may come while nobody reads yet, which would end the process. Who reads later gets it all the same.
  for (const emitter of [stream, chunks]) {
    if ('on' in emitter && typeof emitter.on === 'function') emitter.on('error', () => undefined)
  }
  const whole = chunks === stream ? chunks : toItsEnd(stream, chunks)
  return { length, repeatable: false, open: () => ({ chunks: whole, destroy: () => void chunks.destroy() }) }
}

/**
 * The chunks of a stream that is not Node's own. One of the package readable-stream that is destroyed gives no error: it ends.
 *
 * @throws {Error} it was broken off
 */
function toItsEnd(stream: object, chunks: Readable): AsyncIterable<unknown> {
  if (!('pipe' in stream && 'once' in stream)) return chunks
  const state = { hasEnded: false }
  ;(stream as NodeJS.ReadableStream).once('end', () => (state.hasEnded = true))
  return (async function* () {
    yield* chunks
    if (!state.hasEnded) throw new Error('The body was broken off')
  })()
}

function isSpent(stream: object): boolean {
  if (stream instanceof ReadableStream) return stream.locked || Readable.isDisturbed(stream as never)
  return stream instanceof Readable && (stream.readableEnded || (stream.destroyed && stream.errored === null))
}

/** Returns the stream as a Node stream, which can be ended while it waits for a chunk. */
function nodeStream(stream: AsyncIterable<unknown>): Readable {
  if (stream instanceof Readable) return stream
  return stream instanceof ReadableStream ? Readable.fromWeb(stream as never) : Readable.from(stream)
}

/** The state of an upload. */
interface Flow {
  readonly slices: AsyncGenerator<Uint8Array, undefined>
  readonly onMoved: () => void
  waitsFor: ReturnType<Upload['waitsFor']>
  failure: ReturnType<Upload['failure']>
  cancelled: boolean
}

/**
 * Opens a body.
 *
 * @param onMoved called whenever the connection has taken a slice, since it asks for the next one then, or a slice was read ahead
 */
export function createUpload({ length, repeatable, open }: RequestBody, onMoved: () => void): Upload {
  const opened = open()
  if (opened instanceof Uint8Array) return inOnePiece(opened as Uint8Array<ArrayBuffer>)
  const { chunks, destroy } = opened
  const slices = length === undefined ? slicesOf(chunks) : slicesOfLength(length, slicesOf(chunks))
  const flow: Flow = { slices, onMoved, waitsFor: 'answer', failure: undefined, cancelled: false }
  const cancel = (): void => {
    flow.cancelled = true
    destroy()
    slices.return(undefined).catch(() => undefined)
  }
  return {
    start: async () => {
      if (repeatable) return { body: streamOf(flow, [], cancel), length }
      const { ahead, size } = await readAhead(flow)
      if (size !== undefined && size <= SLICE) return { body: Buffer.concat(ahead) }
      return { body: streamOf(flow, ahead, cancel), length: length ?? size }
    },
    cancel,
    waitsFor: () => flow.waitsFor,
    failure: () => flow.failure,
  }
}

/** An upload that waits for nothing but the answer. */
function inOnePiece(body: Uint8Array<ArrayBuffer>): Upload {
  return {
    start: () => Promise.resolve({ body }),
    cancel: () => undefined,
    waitsFor: () => 'answer',
    failure: () => undefined,
  }
}

/** Reads the beginning, and counts it if that was all. */
async function readAhead(flow: Flow): Promise<{ ahead: Uint8Array[]; size: number | undefined }> {
  const ahead: Uint8Array[] = []
  for (let size = 0; size <= READ_AHEAD;) {
    const slice = await nextSlice(flow)
    if (slice === undefined) return { ahead, size }
    ahead.push(slice)
    size += slice.byteLength
  }
  return { ahead, size: undefined }
}

function streamOf(flow: Flow, ahead: Uint8Array[], cancel: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        flow.onMoved()
        const slice = ahead.shift() ?? (await nextSlice(flow))
        flow.waitsFor = slice === undefined ? 'answer' : 'connection'
        if (slice === undefined) controller.close()
        else controller.enqueue(slice)
      },
      cancel,
    },
    { highWaterMark: 0 },
  )
}

async function nextSlice(flow: Flow): Promise<Uint8Array | undefined> {
  flow.waitsFor = 'body'
  flow.onMoved()
  try {
    const { value } = await flow.slices.next()
    flow.waitsFor = 'answer'
    return value
  } catch (error) {
    // A source that is destroyed because the connection has ended fails too.
    if (!flow.cancelled) flow.failure = { error }
    throw error
  }
}

async function* slicesOf(chunks: AsyncIterable<unknown>): AsyncGenerator<Uint8Array, undefined> {
  for await (const chunk of chunks) {
    const bytes = bytesOf(chunk)
    for (let at = 0; at < bytes.byteLength; at += SLICE) yield bytes.subarray(at, at + SLICE)
  }
}

/**
 * The same slices.
 *
 * @throws {RangeError} they are more or fewer bytes than stated. The last one is held back until that is known, because the server would take
 * the request for complete.
 */
async function* slicesOfLength(
  length: number,
  slices: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, undefined> {
  let left = length
  let last: Uint8Array | undefined
  for await (const slice of slices) {
    left -= slice.byteLength
    if (left < 0) throw new RangeError(`The body has more bytes than its content-length, which is ${length}`)
    if (left === 0) last = slice
    else yield slice
  }
  if (left > 0) throw new RangeError(`The body has ${length - left} bytes, and its content-length is ${length}`)
  if (last !== undefined) yield last
}

function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (ArrayBuffer.isView(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (types.isAnyArrayBuffer(chunk)) return Buffer.from(chunk)
  throw new TypeError('The body gives a chunk that is neither bytes nor a string')
}

/** Whether it is one, of this process or of a package such as node-fetch. */
function isBlob(value: unknown): value is Blob {
  return /^\[object (?:Blob|File)\]$/.test(Object.prototype.toString.call(value))
}

function isFormData(value: unknown): value is FormData {
  return Object.prototype.toString.call(value) === '[object FormData]'
}
