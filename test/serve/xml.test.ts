import { expect, it } from 'vitest'
import { parseXml, type XmlElement } from '../../src/serve/tools/xml.js'

const element = (name: string, text: string, ...children: readonly XmlElement[]): XmlElement => ({
  name,
  attributes: '',
  text,
  children,
})

it('reads elements without their namespaces, with text, references and CDATA', () => {
  expect(
    parseXml(
      '<?xml version="1.0"?>\n<!-- > --><d:a xmlns:d="DAV:"><b>1 &lt; 2 &amp;amp; &#228;&#x1F600;<![CDATA[<c>&amp;]]></b><e/></d:a>',
    ),
  ).toEqual({
    name: 'a',
    attributes: ' xmlns:d="DAV:"',
    text: '',
    children: [element('b', '1 < 2 &amp; ä😀<c>&amp;'), element('e', '')],
  })
})

it('takes a > in an attribute as part of it', () => {
  expect(parseXml('<a b="/>"><c d=\'>\'/></a>').children[0]?.name).toBe('c')
})

it.each([
  ['a document type', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'],
  ['an element that does not end', '<a><b></a>'],
  ['an end without its beginning', '</a>'],
  ['a tag that does not end', '<a b="'],
  ['a comment that does not end', '<a><!--</a>'],
  ['nothing', ''],
  ['text alone', 'Internal Server Error'],
  ['elements without end', '<a>'.repeat(1_000)],
])('does not read %s', (_, text) => {
  expect(() => parseXml(text)).toThrow(SyntaxError)
})

it('reads a megabyte of anything in linear time', () => {
  for (const part of ['<a/>', '<', '&', '&#1', '<!-- -->', '<a "', "<a b='", '<![CDATA[]]>', '<a></a>', '\n']) {
    const startedAt = performance.now()
    try {
      parseXml(`<r>${part.repeat(1_048_576 / part.length)}</r>`)
    } catch (error) {
      expect(error).toBeInstanceOf(SyntaxError)
    }
    expect(performance.now() - startedAt).toBeLessThan(3_000)
  }
})

it('leaves a reference that it does not know, or that is no character, as it is', () => {
  expect(parseXml('<a>&euro;&#x110000;&#1114112;</a>').text).toBe('&euro;&#x110000;&#1114112;')
})
