import { readFileSync } from 'node:fs'
import path from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { OPTIONS } from '../../src/config/declarations.js'
import type { Declaration, Declarations } from '../../src/config/read-options.js'
import { MODES, type NextcloudMode } from '../../src/modes.js'
import { PRESETS } from '../../src/presets.js'
import { withTable } from '../support/written-page.js'

const root = path.resolve(import.meta.dirname, '../..')
/** Modes with a page of their own. */
const PAGES: Readonly<Record<NextcloudMode, string | undefined>> = {
  'token-exchange': 'token-exchange.md',
  'refresh-token': 'refresh-token.md',
  'app-password': 'app-password.md',
  'jwt-bearer': 'entra.md',
  'pass-through': undefined,
}

/** Interface → option → its docstring, in one line a paragraph. */
const docstrings = readMembers((member) => {
  const [doc] = ts.getJSDocCommentsAndTags(member)
  const text = doc && ts.isJSDoc(doc) ? (ts.getTextOfJSDocComment(doc.comment) ?? '') : ''
  return text.replaceAll(/([^\n])\n(?=[^\n-])/g, '$1 ')
})

/** Reads something of each member of each interface of the options. */
function readMembers<T>(read: (member: ts.TypeElement) => T): Map<string, Map<string, T>> {
  const file = path.join(root, 'src/options.ts')
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022, true)
  return new Map(
    source.statements
      .filter(ts.isInterfaceDeclaration)
      .map(({ name, members }) => [
        name.text,
        new Map(members.map((member) => [member.name?.getText() ?? '', read(member)])),
      ]),
  )
}

const INTERFACES: Readonly<Record<string, string>> = {
  '': 'McpAuthOptions',
  'authorizationServer.': 'AuthorizationServerOptions',
  'nextcloud.': 'NextcloudOptions',
  'connect.': 'ConnectOptions',
  'cache.': 'CacheOptions',
  'http.': 'HttpOptions',
}

interface Documented {
  readonly option: string
  readonly declaration: Partial<Declaration>
  readonly doc: string
}

/** Every option, and each object that may be false, beside its members. */
function documented(declarations: Declarations, prefix = ''): Documented[] {
  return Object.entries(declarations).flatMap(([name, declaration]) => {
    const doc = docstrings.get(INTERFACES[prefix]!)?.get(name) ?? ''
    const option = { option: prefix + name, declaration: 'kind' in declaration ? declaration : {}, doc }
    if ('kind' in declaration) return [option]
    const members = documented(declaration.members, `${prefix}${name}.`)
    return declaration.orFalse === true ? [option, ...members] : members
  })
}

const all = documented(OPTIONS)
/** A sentence that begins so, in which a full stop within backticks or before a digit is none. */
const sentence = (start: string) => new RegExp(`(?:^|(?<=[.] ))${start}((?:\`[^\`]*\`|[.](?=\\d)|[^.\`])*)[.](?: |$)`)
const DEFAULT = sentence('(?:Default:? |(?=Required))')
const ENVIRONMENT = sentence('Environment: ')
const firstParagraph = (doc: string) => doc.split('\n')[0]!

/** A default as a docstring has it. Undefined: it has it in words. */
function shown(value: unknown): string | undefined {
  if (typeof value === 'number') return value.toLocaleString('en-US')
  if (typeof value === 'function' || (Array.isArray(value) && value.length > 1)) return undefined
  return value === undefined ? undefined : `\`${JSON.stringify(value).replaceAll('"', "'")}\``
}

/** What the page says of an option. */
interface Said {
  readonly meaning: string
  readonly default: string
  readonly environment: string
}

function said({ declaration: { default: value, kind }, doc }: Documented): Said {
  const [first = '', ...others] = doc.split('\n\n')
  const stated = DEFAULT.exec(first)?.[1] ?? ''
  const unit = { seconds: 's', milliseconds: 'ms' }[kind?.unit ?? ''] ?? kind?.unit
  const text = [first.replace(DEFAULT, '').replace(ENVIRONMENT, '').trim(), ...others].join('\n\n')
  const values = (kind?.values ?? []).map((each) => `\`${each}\``)
  return {
    meaning: values.every((value) => text.includes(value)) ? text : `${text} One of ${values.join(', ')}.`,
    default: typeof value === 'number' ? `${stated} ${unit ?? ''}` : stated,
    environment: ENVIRONMENT.exec(first)?.[1] ?? '',
  }
}

function section(option: Documented): string {
  const { meaning, default: stated, environment } = said(option)
  const facts = [
    ...(stated === ''
      ? []
      : [`${stated.startsWith('Required') ? stated.replace('Required', '**Required**') : `**Default:** ${stated}`}.`]),
    ...(environment === '' ? [] : [`**Environment:** ${environment}.`]),
  ]
  const linked = meaning.replaceAll(/`docs\/([\w-]+\.md)`/g, '[$1]($1)')
  return [`### \`${option.option}\``, facts.join(' '), linked].filter((part) => part !== '').join('\n\n')
}

const table = (head: string[], rows: string[][]): string =>
  [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n')

function linked(mode: string): string {
  const page = PAGES[mode as NextcloudMode]
  return page === undefined ? `\`${mode}\`` : `[\`${mode}\`](${page})`
}

/** Page of `docs/` → what stands between its marks, which are named for the page. */
const WRITTEN: Readonly<Record<string, string>> = {
  options: all.map(section).join('\n\n'),
  modes: table(
    ['mode', 'credential', 'when', 'what the provider has to offer'],
    Object.entries(MODES).map(([mode, { says, when, provider }]) => [linked(mode), says, when, provider]),
  ),
}

it.each(Object.entries(WRITTEN))(
  'docs/%s.md says what the declarations say (npm run docs:options writes it)',
  async (name, text) => {
    const file = path.join(root, `docs/${name}.md`)
    await expect(await withTable(file, name, text)).toMatchFileSnapshot(file)
  },
)

/** Interface and option → the words in quotes of its type. */
const words = readMembers((member) =>
  ts.isPropertySignature(member) ? [...(member.type?.getText().matchAll(/'[\w-]+'/g) ?? [])].map(([word]) => word) : [],
)

it.each(all)('the section of $option has every value of its type', (option) => {
  const { option: name, declaration } = option
  const [, group = '', member = ''] = /^(.*\.)?(\w+)$/.exec(name) ?? []
  const ofType = words.get(INTERFACES[group]!)?.get(member) ?? []
  const { meaning, default: standard } = said(option)

  expect(declaration.kind?.values ?? []).toEqual(expect.arrayContaining(ofType))
  for (const value of declaration.kind?.values ?? []) expect(`${standard} ${meaning}`).toContain(`\`${value}\``)
  const [, flagged] = /<(.*\|.*)>/.exec(declaration.flag ?? '') ?? []
  const inText = declaration.kind?.values
    ?.filter((value) => !value.includes('=>'))
    .map((value) => value.replaceAll("'", ''))
  if (flagged !== undefined) expect(flagged.split('|')).toEqual(inText)
})

describe('the docstring of', () => {
  it.each(all)('$option says the default that is declared, and begins with its unit', ({ declaration, doc }) => {
    const { default: value, kind } = declaration
    const stated = DEFAULT.exec(firstParagraph(doc))

    if (value === undefined) expect(stated?.[0] ?? 'Default: ').toMatch(/^(?:Default: |Required)/)
    else expect(stated?.[1]).toBe(shown(value) ?? stated?.[1]?.replace(/^`.*`$/, ''))
    if (kind?.unit !== undefined) expect(doc.toLowerCase()).toMatch(new RegExp(`^${kind.unit} `))
  })

  it.each(all)(
    '$option names the environment variables that are declared, in their order, and no other',
    ({ declaration, doc }) => {
      const stated = ENVIRONMENT.exec(firstParagraph(doc))?.[1]?.match(/(?<=`)[A-Z]\w+(?=`)/g) ?? []
      expect(stated).toEqual([declaration.environment ?? []].flat())
    },
  )

  it('nextcloud.mode has every mode as the table of modes says it', () => {
    const list = Object.entries(MODES).map(([mode, { says }]) => `- \`${mode}\`: ${says}`)

    expect(docstrings.get('NextcloudOptions')?.get('mode')?.split('\n').slice(-list.length)).toEqual(list)
  })
})

it('lint knows every mode and preset by its name', () => {
  const lint = readFileSync(path.join(root, 'eslint.config.js'), 'utf8')
  const names = (list: string) =>
    new RegExp(`^const ${list} = /\\^\\(([\\w|-]+)\\)\\$/$`, 'm').exec(lint)?.[1]?.split('|').sort()
  expect(names('MODES')).toEqual(Object.keys(MODES).sort())
  expect(names('PRESETS')).toEqual(
    Object.keys(PRESETS)
      .filter((name) => name !== 'generic')
      .sort(),
  )
})
