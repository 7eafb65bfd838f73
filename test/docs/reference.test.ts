import { readFileSync } from 'node:fs'
import path from 'node:path'
import { globSync } from 'tinyglobby'
import ts from 'typescript'
import { expect, it } from 'vitest'
import { INVALID_TOKEN_DESCRIPTIONS } from '../../src/errors/rejection-details.js'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')
const events = read('src/events.ts')
const errors = globSync('src/errors/*.ts', { cwd: root }).map(read).join('\n')

/** The reasons of `token.rejected` that are none of a token. */
const OTHER_REASONS = /type RejectionReason =(.*?)\n\n/s.exec(events)?.[1]?.match(/(?<=')\w+(?=')/g) ?? []

it('docs/events.md names every event', () => {
  const types = [...events.matchAll(/readonly type: '([\w.]+)'/g)].map(([, type]) => type)
  const rows = [...read('docs/events.md').matchAll(/^\| `([\w.]+)` /gm)].map(([, type]) => type)
  expect(types.length).toBeGreaterThan(10)
  expect(rows).toEqual(types)
})

it('docs/errors.md names every class, with its code', () => {
  const classes = [...errors.matchAll(/class (\w+Error) extends \w+ \{\n {2}static readonly code = '(ERR_\w+)'/g)]
  const rows = [...read('docs/errors.md').matchAll(/`(\w+Error)`, \[`(ERR_\w+)`\]\(errors\/\2\.md\)/g)]
  const pairs = (found: RegExpMatchArray[]): string[] => found.map(([, name, code]) => `${name} ${code}`).sort()
  expect(classes.length).toBeGreaterThan(10)
  expect(pairs(rows)).toEqual(pairs(classes))
})

it('docs/events.md names every reason of token.rejected', () => {
  const reasons = [...Object.keys(INVALID_TOKEN_DESCRIPTIONS), ...OTHER_REASONS]
  const list = /^`reason` is one of(.*?)\n(?:\n|$)/ms.exec(read('docs/events.md'))?.[1] ?? ''
  expect(reasons.length).toBeGreaterThan(20)
  expect([...list.matchAll(/`(\w+)`/g)].map(([, reason]) => reason).sort()).toEqual(reasons.sort())
})

it('docs/options.md names every member of auth', () => {
  const source = ts.createSourceFile('mcp-auth.ts', read('src/mcp-auth.ts'), ts.ScriptTarget.ES2022, true)
  const members = source.statements
    .filter(ts.isInterfaceDeclaration)
    .filter(({ name }) => name.text === 'McpAuth')
    .flatMap((each) => [...each.members])
    .filter(
      (member) =>
        member.name !== undefined && !ts.getJSDocTags(member).some(({ tagName }) => tagName.text === 'internal'),
    )
    .map((member) => member.name?.getText())
  const [, text = ''] = read('docs/options.md').split('## Members of `auth`')
  const named = [...text.matchAll(/`(\w+)`/g)].map(([, name]) => name)
  expect(members.length).toBeGreaterThan(15)
  expect(named.sort()).toEqual(members.sort())
})
