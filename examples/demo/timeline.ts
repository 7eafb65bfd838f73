import { styleText } from 'node:util'
import type { JWTPayload } from 'jose'

export interface Timeline {
  heading(text: string): void
  /** An event: the party that acted, and its action. */
  step(who: string, what: string): void
  /** Belongs to the step before. */
  detail(text: string): void
  /** The claims of a token. The token itself is never printed, because a reader could use it. */
  claims(name: string, claims: JWTPayload): void
  /** Something that this demo promises to show, and whether it did. */
  check(promise: string, kept: boolean): void
  /** Prints every promise. True when there were some and all were kept. */
  summary(): boolean
}

/**
 * Prints events as they happen, with milliseconds since the start.
 *
 * @param output coloured if it is a terminal; `NO_COLOR` and `FORCE_COLOR` overrule that
 */
export function createTimeline(output: NodeJS.WriteStream): Timeline {
  const start = performance.now()
  const promises: { readonly promise: string; readonly kept: boolean }[] = []
  const indent = ' '.repeat(32)

  const styled = (style: 'bold' | 'dim' | 'red' | 'green') => (text: string) =>
    styleText(style, text, { stream: output })
  const [bold, dim, red, green] = [styled('bold'), styled('dim'), styled('red'), styled('green')]

  const line = (text: string) => output.write(`${text}\n`)
  const mark = (kept: boolean) => (kept ? green('ok    ') : red('FAILED'))

  return {
    heading(text) {
      line(`\n${bold(text)}`)
    },
    step(who, what) {
      const elapsed = `${(performance.now() - start).toFixed(0)} ms`.padStart(8)
      line(`${dim(elapsed)}  ${who.padEnd(22)}${what}`)
    },
    detail(text) {
      line(dim(indent + text))
    },
    claims(name, { iss, aud, sub, scope, exp }) {
      const life = exp === undefined ? 'never' : `in ${exp - Math.floor(Date.now() / 1000)} s`
      line(indent + bold(name))
      for (const [claim, value] of Object.entries({ aud, iss, sub, scope, exp: life })) {
        line(`${indent}  ${claim.padEnd(7)}${[value].flat().join(', ')}`)
      }
    },
    check(promise, kept) {
      promises.push({ promise, kept })
      if (!kept) line(`${indent}${red('Expected:')} ${promise}`)
    },
    summary() {
      line(`\n${bold('What this run showed')}`)
      for (const { promise, kept } of promises) line(`  ${mark(kept)}  ${promise}`)
      return promises.length > 0 && promises.every(({ kept }) => kept)
    },
  }
}
