import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../../src/clock.js'
import { checkedLookup, findAddresses, isPublicAddress } from '../../src/transport/public-address.js'
import { createPublicDocuments, NO_ANSWER } from '../../src/transport/public-document.js'
import { selfSigned } from '../support/certificate.js'
import { until } from '../support/promises.js'
import { startNameServer } from '../support/name-server.js'

describe('an address', () => {
  it.each(['8.8.8.8', '1.1.1.1', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '2a00:1450:4001::1'])(
    'is public: %s',
    (address) => expect(isPublicAddress(address)).toBe(true),
  )

  it.each([
    ...[
      '0.0.0.0',
      '10.1.2.3',
      '100.64.0.1',
      '127.0.0.1',
      '127.255.255.254',
      '169.254.169.254',
      '172.16.0.1',
      '172.31.255.255',
    ],
    ...['192.0.0.1', '192.0.2.1', '192.168.1.1', '198.18.0.1', '198.51.100.1', '203.0.113.1', '224.0.0.1', '240.0.0.1'],
    ...[
      '255.255.255.255',
      '::',
      '::1',
      '::ffff:127.0.0.1',
      '::ffff:8.8.8.8',
      '::8.8.8.8',
      '64:ff9b::808:808',
      '2001::1',
    ],
    ...[
      '2001:db8::1',
      '2002:7f00:1::',
      '3fff::1',
      'fc00::1',
      'fd12:3456::1',
      'fe80::1',
      'fec0::1',
      'ff02::1',
      'fe80::1%lo',
    ],
    ...['', 'localhost', '127.1', '0x7f.0.0.1'],
  ])('is not public: %s', (address) => expect(isPublicAddress(address)).toBe(false))
})

describe('the look-up of a socket', () => {
  const lookUp = (all: boolean, ...found: string[]) =>
    new Promise<unknown>((resolve) => {
      const find = () => Promise.resolve(found.map((address) => ({ address, family: 4 })))
      checkedLookup(isPublicAddress, find)('app.example', { all }, (error, address) => resolve(error?.code ?? address))
    })

  it.each([true, false])('gives the addresses that it has checked: all %s', async (all) => {
    expect(await lookUp(all, '8.8.8.8')).toEqual(all ? [{ address: '8.8.8.8', family: 4 }] : '8.8.8.8')
  })

  it.each([[['10.0.0.1']], [['8.8.8.8', '127.0.0.1']], [[]]])('gives none of %j', async (found) => {
    expect(await lookUp(true, ...found)).toBe('ENOTPUBLIC')
    expect(await lookUp(false, ...found)).toBe('ENOTPUBLIC')
  })
})

const { cert, key } = selfSigned({ names: ['localhost', '127.0.0.1'] })

async function serve(listener: RequestListener, onConnection: () => void = () => undefined): Promise<string> {
  const server = createServer({ cert, key }, listener).listen(0, '127.0.0.1')
  server.on('connection', onConnection)
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `https://localhost:${(server.address() as AddressInfo).port}/client.json`
}

describe('a document of a stranger', () => {
  const find = () => Promise.resolve([{ address: '127.0.0.1', family: 4 }])
  const onLoopback = createPublicDocuments({}, systemClock, { isAllowed: () => true, tls: { ca: cert }, find })!
  const strict = createPublicDocuments({}, systemClock, { isAllowed: isPublicAddress, tls: { ca: cert }, find })!

  it('is fetched over https from an address that is allowed', async () => {
    const url = await serve((_req, res) => res.end('{"client_name":"Claude"}'))
    expect(await onLoopback(url)).toEqual({ client_name: 'Claude' })
  })

  it('is not asked for at a name or an address that is not public', async () => {
    let connections = 0
    const url = await serve(
      (_req, res) => res.end('{}'),
      () => (connections += 1),
    )
    for (const host of ['localhost', '127.0.0.1', '[::1]', '[::ffff:127.0.0.1]', '0x7f.1', '2130706433']) {
      expect(await strict(url.replace('localhost', host))).toBeUndefined()
    }
    expect(connections).toBe(0)
    expect(await onLoopback(url.replace('localhost', '127.0.0.1'))).toEqual({})
  })

  it.each<[what: string, listener: RequestListener]>([
    [
      'redirects',
      (req, res) => (req.url === '/there' ? res.end('{}') : res.writeHead(302, { location: '/there' }).end()),
    ],
    ['an error', (_req, res) => res.writeHead(404).end('{}')],
    ['more than 5 KB', (_req, res) => res.end(JSON.stringify('x'.repeat(5_120)))],
    ['no JSON', (_req, res) => res.end('<html>')],
  ])('is none: %s', async (_what, listener) => {
    expect(await onLoopback(await serve(listener))).toBeUndefined()
  })

  it.each<[what: string, listener: RequestListener]>([
    ['a connection that breaks off', (req) => req.socket.destroy()],
    [
      'an answer that breaks off',
      (_req, res) => (res.writeHead(200), res.write('{'), void setImmediate(() => res.destroy())),
    ],
    ['an error of its host', (_req, res) => res.writeHead(500).end('{}')],
    ['a host that has too much to do', (_req, res) => res.writeHead(429).end('{}')],
  ])('may be there, and nobody knows: %s', async (_what, listener) => {
    expect(await onLoopback(await serve(listener))).toBe(NO_ANSWER)
  })

  it('is fetched from one host so many times at once, and others do not wait for it', async () => {
    const waiting: (() => void)[] = []
    const url = await serve((_req, res) => void waiting.push(() => res.end('{}')))
    const other = await serve((_req, res) => res.end('{}'))
    const fetches = Array.from({ length: 12 }, (_, at) => onLoopback(`${url}?${at}`))

    expect(await Promise.all(fetches.slice(8))).toEqual(Array(4).fill(NO_ANSWER))
    expect(await onLoopback(other)).toEqual({})
    await until(() => waiting.length === 8)
    for (const answer of waiting) answer()
    expect(await Promise.all(fetches.slice(0, 8))).toEqual(Array(8).fill({}))
    expect(await onLoopback(other)).toEqual({})
  })

  it.each(['http://localhost/client.json', 'https://user:pass@localhost/x', 'ftp://localhost/', 'nonsense'])(
    'is none at %s',
    async (url) => expect(await onLoopback(url)).toBeUndefined(),
  )

  it('is not fetched with a fetch or an agent of the app, because no address can be checked then', async () => {
    const { Agent } = await import('node:https')
    expect(createPublicDocuments({ fetch }, systemClock)).toBeUndefined()
    expect(createPublicDocuments({ agent: new Agent() }, systemClock)).toBeUndefined()
  })
})

describe('the name of a stranger', () => {
  const documentsBy = (nameServer: string, ca = cert) =>
    createPublicDocuments({}, systemClock, {
      isAllowed: (address) => address === '127.0.0.1',
      tls: { ca },
      find: findAddresses([nameServer]),
    })!

  it('whose name server never answers holds up no other work of this process', async () => {
    const silent = await startNameServer(() => undefined)
    const fetchDocument = documentsBy(silent.address)
    const names = Array.from({ length: 20 }, (_, at) => `client-${at}.example`)
    let ended = 0
    const fetches = names.map((name) => fetchDocument(`https://${name}/client.json`).finally(() => (ended += 1)))
    // As many as there are threads, and more, with every look-up still open.
    await Promise.race([silent.asked(names), ...fetches])
    const others = Array.from({ length: 8 }, async () => {
      await Promise.all([lookup('localhost'), readFile(import.meta.filename)])
    })
    await Promise.race([Promise.all(others), ...fetches])

    expect(ended).toBe(0)
    expect(await Promise.all(fetches)).toEqual(names.map(() => NO_ANSWER))
  })

  it('is found by the name servers, and checked', async () => {
    const named = selfSigned({ names: ['client.example', 'inside.example'] })
    const server = createServer(named, (_req, res) => res.end('{}')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const answers: Record<string, string[]> = {
      'client.example': ['127.0.0.1'],
      'inside.example': ['127.0.0.1', '127.0.0.2'],
    }
    const names = await startNameServer((name) => answers[name] ?? [])
    const fetchDocument = documentsBy(names.address, named.cert)

    expect(await fetchDocument(`https://client.example:${port}/client.json`)).toEqual({})
    expect(await fetchDocument(`https://inside.example:${port}/client.json`)).toBeUndefined()
    expect(await fetchDocument(`https://nobody.example:${port}/client.json`)).toBeUndefined()
  })

  it('is looked up for so many documents at a time, and no more', async () => {
    let asked = 0
    let end: (addresses: never[]) => void = () => undefined
    const pending = new Promise<never[]>((resolve) => (end = resolve))
    const find = () => ((asked += 1), pending)
    const fetchDocument = createPublicDocuments({}, systemClock, { isAllowed: () => true, tls: {}, find })!
    const fetches = Array.from({ length: 50 }, (_, at) => fetchDocument(`https://client-${at}.example/client.json`))

    await Promise.all(fetches.slice(32))
    end([])
    await Promise.all(fetches)
    expect(asked).toBe(32)
    await fetchDocument('https://later.example/client.json')
    expect(asked).toBe(33)
  })

  it('is looked up although strangers have taken all places, if it is in use, and so many of those from one host', async () => {
    const asked: string[] = []
    let end: (addresses: never[]) => void = () => undefined
    const pending = new Promise<never[]>((resolve) => (end = resolve))
    const find = (host: string) => (asked.push(host), pending)
    const fetchDocument = createPublicDocuments({}, systemClock, { isAllowed: () => true, tls: {}, find })!
    const at = (host: string, count: number, isKnown: boolean) =>
      Array.from({ length: count }, (_, index) => fetchDocument(`https://${host}/${index}.json`, isKnown))
    const strangers = [...Array(32).keys()].flatMap((count) => at(`client-${count}.example`, 1, false))
    const known = at('known.example', 4, true)

    expect(await at('known.example', 1, true)[0]).toBe(NO_ANSWER)
    known.push(...at('other.example', 4, true))
    expect(await at('third.example', 1, true)[0]).toBe(NO_ANSWER)
    end([])
    await Promise.all([...strangers, ...known])
    expect(asked.filter((host) => !host.startsWith('client-'))).toEqual([
      ...Array<string>(4).fill('known.example'),
      ...Array<string>(4).fill('other.example'),
    ])
  })
})

describe('the addresses of a name', () => {
  it('are not known where no name server answers, which is an outage', async () => {
    // Nothing listens there.
    await expect(findAddresses(['127.0.0.1:1'])('app.example')).rejects.toMatchObject({ code: 'EAI_AGAIN' })
  })

  it('are those of the kinds that the name server has', async () => {
    const { address } = await startNameServer(() => ['8.8.8.8'])

    expect(await findAddresses([address])('app.example')).toEqual([{ address: '8.8.8.8', family: 4 }])
  })
})
