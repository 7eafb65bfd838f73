/** The two halves of `jose` that sealing uses, without the cipher: what a model of a million courses would spend most of its time with. */

/** Stands for what a cipher would add. */
const ADDED = 'AAAA'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')

export class CompactEncrypt {
  readonly #plaintext: Uint8Array
  #header: unknown

  constructor(plaintext: Uint8Array) {
    this.#plaintext = plaintext
  }

  setProtectedHeader(header: unknown): this {
    this.#header = header
    return this
  }

  encrypt(): Promise<string> {
    const header = text(Buffer.from(JSON.stringify(this.#header)))
    return Promise.resolve(`${header}..${ADDED}.${text(this.#plaintext)}.${ADDED}`)
  }
}

export function compactDecrypt(sealed: string): Promise<{ readonly plaintext: Uint8Array }> {
  return Promise.resolve({ plaintext: Buffer.from(sealed.split('.')[3] ?? '', 'base64url') })
}
