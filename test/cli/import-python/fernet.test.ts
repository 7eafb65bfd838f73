import { createCipheriv, createHmac, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createFernet } from '../../../src/cli/import-python/fernet.js'

/** The secret of every vector of the specification (github.com/fernet/spec, `verify.json` and `invalid.json`). */
const SECRET = Buffer.from('cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=', 'base64url')
const VERIFY = 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=='
const INVALID = [
  [
    'incorrect mac',
    'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==',
  ],
  ['too short', 'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA=='],
  [
    'invalid base64',
    '%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==',
  ],
  [
    'payload size not multiple of block size',
    'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm',
  ],
  [
    'payload padding error',
    'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==',
  ],
  [
    'incorrect IV (causes padding error)',
    'gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==',
  ],
] as const
/** Refused for their time alone, which counts where a token has a life. */
const OF_ANOTHER_TIME = [
  [
    'far-future TS (unacceptable clock skew)',
    'gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==',
  ],
  [
    'expired TTL',
    'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==',
  ],
] as const

/** A token as the specification makes it, with any part changed. */
function tokenOf(text: string | Buffer, key: Buffer = SECRET, change: { version?: number } = {}): Buffer {
  const iv = randomBytes(16)
  const cipher = createCipheriv('aes-128-cbc', key.subarray(16), iv)
  const head = Buffer.alloc(9)
  head[0] = change.version ?? 0x80
  const body = Buffer.concat([head, iv, cipher.update(text), cipher.final()])
  return Buffer.concat([body, createHmac('sha256', key.subarray(0, 16)).update(body).digest()])
}

describe('Fernet', () => {
  const open = createFernet([SECRET])

  it('opens the vector of the specification, from text and from bytes', () => {
    expect(open(VERIFY)).toBe('hello')
    expect(open(Buffer.from(VERIFY))).toBe('hello')
    expect(open(new Uint8Array(Buffer.from(VERIFY)))).toBe('hello')
  })

  it.each(INVALID)('refuses the vector of the specification: %s', (_why, token) => {
    expect(open(token)).toBeUndefined()
  })

  it.each(OF_ANOTHER_TIME)('asks for no time, as the Python server does not: %s', (_why, token) => {
    expect(open(token)).toBe('')
  })

  it('opens with the second key of a list too, and with no other key', () => {
    const [first, second, other] = [randomBytes(32), randomBytes(32), randomBytes(32)]
    const token = tokenOf('p\u00e4ssword', second).toString('base64url')

    expect(createFernet([first, second])(token)).toBe('p\u00e4ssword')
    expect(createFernet([first, other])(token)).toBeUndefined()
    expect(createFernet([])(token)).toBeUndefined()
  })

  it('refuses each token with a bit changed, another version, and what is no text', () => {
    const good = tokenOf('secret')
    for (let at = 0; at < good.length; at += 1) {
      const changed = Buffer.from(good)
      changed[at] = changed[at]! ^ 1
      expect(open(changed.toString('base64url')), `byte ${at}`).toBeUndefined()
    }
    expect(open(good.toString('base64url'))).toBe('secret')
    expect(open(tokenOf('secret', SECRET, { version: 0x81 }).toString('base64url'))).toBeUndefined()
    expect(open(tokenOf(Buffer.from([0xff, 0xfe])).toString('base64url'))).toBeUndefined()
    expect(open('')).toBeUndefined()
    expect(open(VERIFY.replace('_', '/'))).toBeUndefined()
  })
})
