import { connect } from 'node:net'

/** One answer of HTTP, as it came. */
export interface WireAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Milliseconds after which there is no answer. */
const LONGEST = 10_000

/**
 * Sends bytes to a port of this machine just as they are, and gives the answers in their order: as many as are wanted, or those that came
 * before the connection was closed.
 */
export function exchange(port: number, bytes: string, wanted = 1): Promise<readonly WireAnswer[]> {
  return new Promise((resolve, reject) => {
    let received = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'))
    const end = (): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answersIn(received, true))
    }
    const timer = setTimeout(end, LONGEST)
    socket.setEncoding('latin1')
    socket.on('data', (text) => {
      received += String(text)
      if (answersIn(received, false).length >= wanted) end()
    })
    socket.on('close', end)
    // A server may hang up while it is still sent something.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') reject(error)
      else end()
    })
  })
}

/** @param isEnd whether nothing more will come, which ends an answer without a length */
function answersIn(text: string, isEnd: boolean): WireAnswer[] {
  const answers: WireAnswer[] = []
  let rest = text
  for (;;) {
    const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(rest) ?? []
    const end = rest.indexOf('\r\n\r\n')
    if (status === undefined || end < 0) return answers
    const head = rest.slice(0, end)
    const length = bodyLength(head, rest.slice(end + 4), isEnd)
    if (length === undefined) return answers
    answers.push({ status: Number(status), head, body: rest.slice(end + 4, end + 4 + length) })
    rest = rest.slice(end + 4 + length)
  }
}

function bodyLength(head: string, rest: string, isEnd: boolean): number | undefined {
  const [, stated] = /^content-length: (\d+)$/im.exec(head) ?? []
  if (stated !== undefined) return rest.length >= Number(stated) || isEnd ? Number(stated) : undefined
  if (/^transfer-encoding: chunked$/im.test(head)) {
    const end = rest.indexOf('0\r\n\r\n')
    return end >= 0 ? end + 5 : isEnd ? rest.length : undefined
  }
  return isEnd ? rest.length : undefined
}
