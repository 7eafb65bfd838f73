import path from 'node:path'
import { expect, it } from 'vitest'
import { sequenceInPage, sequenceSvg, statesInPage, statesSvg } from '../../docs/.vitepress/diagram-svg.js'
import { GRANT_STATES, SEQUENCES, type Sequence } from '../../docs/.vitepress/diagrams.js'
import { withTable } from '../support/written-page.js'

const docs = path.resolve(import.meta.dirname, '../../docs')
const sequence = (name: string): Sequence => SEQUENCES[name] as Sequence

const DIAGRAMS = [
  ...[
    ['token-exchange.md', 'token-exchange'],
    ['refresh-token.md', 'refresh-token'],
    ['reliability.md', 'renewal'],
  ].map(([page = '', name = '']) => ({
    ...{ page, name },
    ...{ svg: sequenceSvg(sequence(name)), text: sequenceInPage(name, sequence(name)) },
  })),
  {
    ...{ page: 'reliability.md', name: 'grant-states' },
    ...{ svg: statesSvg(GRANT_STATES), text: statesInPage('grant-states', GRANT_STATES) },
  },
]

it.each(DIAGRAMS)('$page has the diagram $name, and its words (npm run docs:diagrams writes them)', async (diagram) => {
  const { page, name, svg, text } = diagram
  const file = path.join(docs, page)
  await expect(svg).toMatchFileSnapshot(path.join(docs, 'diagrams', `${name}.svg`))
  await expect(await withTable(file, `diagram ${name}`, text)).toMatchFileSnapshot(file)
})

it('a page has every diagram', () => {
  expect(DIAGRAMS.map(({ name }) => name).sort()).toEqual([...Object.keys(SEQUENCES), 'grant-states'].sort())
})

it('every step of a diagram is of a party that it shows', () => {
  for (const { parties, steps } of Object.values(SEQUENCES)) {
    const named = steps.flatMap((step) => ('says' in step ? [step.from, step.to] : 'at' in step ? [step.at] : []))
    expect([...new Set(named)].sort()).toEqual([...parties].sort())
  }
})
