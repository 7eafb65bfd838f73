import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { onTestFinished } from 'vitest'

/** A name server of one process. */
export interface NameServer {
  /** IP address and port. */
  readonly address: string
  /** Resolves when it was asked for all these names. */
  readonly asked: (names: readonly string[]) => Promise<void>
}

const A_RECORD = 1

/** @param addressesOf IPv4 addresses of a name; undefined: no answer at all */
export async function startNameServer(
  addressesOf: (name: string) => readonly string[] | undefined,
): Promise<NameServer> {
  const names = new Set<string>()
  const socket = createSocket('udp4')
  socket.on('message', (question, { port, address }) => {
    const { name, end } = nameIn(question)
    names.add(name)
    const found = addressesOf(name)
    if (found !== undefined) {
      const isForIpv4 = question.readUInt16BE(end) === A_RECORD
      socket.send(answerTo(question.subarray(0, end + 4), isForIpv4 ? found : []), port, address)
    }
    socket.emit('name')
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  onTestFinished(() => void socket.close())
  return {
    address: `127.0.0.1:${socket.address().port}`,
    async asked(wanted) {
      while (!wanted.every((name) => names.has(name))) await once(socket, 'name')
    },
  }
}

/** Reads the name that a question is about (RFC 1035 §4.1.2), and where it ends. */
function nameIn(question: Buffer): { readonly name: string; readonly end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = question[at] ?? 0; length > 0; length = question[at] ?? 0) {
    labels.push(question.toString('latin1', at + 1, at + 1 + length))
    at += length + 1
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 }
}

function answerTo(question: Buffer, addresses: readonly string[]): Buffer {
  const header = Buffer.from(question)
  // A recursive answer without error, to one question.
  header.writeUInt16BE(0x8180, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(addresses.length, 6)
  header.writeUInt32BE(0, 8)
  const records = addresses.map((address) =>
    Buffer.from([0xc0, 12, 0, A_RECORD, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split('.').map(Number)]),
  )
  return Buffer.concat([header, ...records])
}
