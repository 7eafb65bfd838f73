import { vi } from 'vitest'

/** Bytes of a GCM tag. */
const TAG = 16

/**
 * Puts the order of events into the scheduler's hands: sealing is a matter of microtasks, without the cipher that runs in the thread pool,
 * and no timer of Node goes off by itself. The sealer has tests of its own. Returns what puts both back.
 */
export async function usePlainProcess(): Promise<() => void> {
  const { subtle } = crypto
  const key = await subtle.importKey('raw', new Uint8Array(32), 'AES-GCM', false, ['encrypt', 'decrypt'])
  const plain = {
    importKey: () => Promise.resolve(key),
    encrypt: (_algorithm: unknown, _key: unknown, text: Uint8Array) => {
      const sealed = new Uint8Array(text.length + TAG)
      sealed.set(text)
      return Promise.resolve(sealed.buffer)
    },
    decrypt: (_algorithm: unknown, _key: unknown, sealed: Uint8Array) =>
      Promise.resolve(sealed.slice(0, sealed.length - TAG).buffer),
  }
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  for (const [name, value] of Object.entries(plain)) Object.defineProperty(subtle, name, { value, configurable: true })
  return () => {
    vi.useRealTimers()
    for (const name of Object.keys(plain)) Reflect.deleteProperty(subtle, name)
  }
}

/** Returns the value of a record that was sealed so. */
export function plainValue(sealed: string): unknown {
  return JSON.parse(Buffer.from(sealed.split('.')[3] ?? '', 'base64url').toString()) as unknown
}
