import fc from 'fast-check'
import { expect, it } from 'vitest'
import { markup } from '../../src/connect/pages/markup.js'
import { everyPage, plainWords, type PageWords } from '../support/connect-pages.js'
import { anyText, fuzz } from './support/fuzz.js'

/** Text that tries to be markup, in whichever place it stands. */
const words = fc.oneof(
  fc
    .array(
      fc.constantFrom(
        '<',
        '>',
        '"',
        "'",
        '&',
        '/',
        '=',
        '`',
        '<script>',
        '</p>',
        '<!--',
        '-->',
        ' onload=x',
        'javascript:',
        '&#60;',
        '&lt',
        '\0',
        '\u202E',
      ),
      {
        maxLength: 8,
      },
    )
    .map((parts) => parts.join('')),
  anyText(40),
)

/** The tags of a document without the values of attributes, and how many angle brackets there are. */
function bones(html: string) {
  const outside = html.replace(/<style>[^]*?<\/style>/, '').replace(/="[^"]*"/g, '=""')
  return { tags: outside.match(/<[^<>]*>/g) ?? [], brackets: outside.match(/[<>]/g)?.length ?? 0 }
}

it('no word from outside makes an element, an attribute or a comment of a page', async () => {
  const known = new Set([...everyPage().values()].flatMap(({ html }) => bones(html).tags))
  const texts = (Object.keys(plainWords) as (keyof PageWords)[]).filter((name) => typeof plainWords[name] === 'string')
  await fuzz(
    fc.property(fc.constantFrom(...texts), words, (name, word) => {
      // The address of a provider is made by a library, and is one.
      const given = name === 'query' ? encodeURI(word.replace(/\p{Surrogate}/gu, '')) : word
      for (const [title, { html }] of everyPage({ ...plainWords, [name]: given })) {
        const { tags, brackets } = bones(html)
        expect(
          tags.filter((tag) => !known.has(tag)),
          title,
        ).toEqual([])
        expect(brackets, title).toBe(2 * tags.length)
      }
    }),
  )
})

it('text in markup is read back as it was', async () => {
  await fuzz(
    fc.property(words, words, (one, other) => {
      const { html } = markup`<p title="${one}">${other}</p>`
      const read = /^<p title="([^"<>]*)">([^<>]*)<\/p>$/.exec(html)
      const text = (given = ''): string =>
        given
          .replace(/&lt;/g, '<')
          .replace(/&gt;/g, '>')
          .replace(/&quot;/g, '"')
          .replace(/&#39;/g, "'")
          .replace(/&amp;/g, '&')
      expect([text(read?.[1]), text(read?.[2])]).toEqual([one, other])
    }),
  )
})
