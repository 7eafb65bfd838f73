import type { Change, Sequence, States, Step } from './diagrams.js'

/** Pixels. */
const MARGIN = 16
const COLUMN = 200
const BOX = { width: 140, height: 34 }
const LINE = 17
const PER_LETTER = 6.6

/** Follows the colours of the reader's system, on a ground of its own: the page behind it may be light or dark all the same. */
const STYLE = `<style>
text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.strong { font-weight: 600 } .soft { fill: #59636e } .middle { text-anchor: middle } .end { text-anchor: end }
.over { paint-order: stroke; stroke: #fff; stroke-width: 6px; stroke-linejoin: round }
.ground { fill: #fff; stroke: #d1d9e0 } .box { fill: #f6f8fa; stroke: #818b98 } .band { fill: #eff2f5 }
.life { stroke: #d1d9e0; stroke-dasharray: 4 4 } .arrow { stroke: #0550ae; stroke-width: 1.5; fill: none } .head { fill: #0550ae }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .over { stroke: #151b23 } .soft { fill: #9198a1 } .ground { fill: #151b23; stroke: #3d444d } .box { fill: #212830; stroke: #656c76 }
.band { fill: #262c36 } .life { stroke: #3d444d } .arrow { stroke: #79c0ff } .head { fill: #79c0ff }
}
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>`

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

const text = (x: number, y: number, words: string, kind = ''): string =>
  `<text x="${x}" y="${y}" class="${kind}">${escaped(words)}</text>`

const arrow = (path: string): string => `<path class="arrow" marker-end="url(#head)" d="${path}"/>`

/** Breaks words into lines that fit into a width. */
function lines(words: string, width: number): string[] {
  const broken: string[] = []
  for (const word of words.split(' ')) {
    const last = broken.at(-1)
    if (last !== undefined && (last.length + 1 + word.length) * PER_LETTER <= width) {
      broken[broken.length - 1] = `${last} ${word}`
    } else broken.push(word)
  }
  return broken
}

function drawing(title: string, width: number, height: number, parts: readonly string[]): string {
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`
  const ground = `<rect class="ground" x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="8"/>`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">\n${[`<title>${escaped(title)}</title>`, STYLE, ground, ...parts].join('\n')}\n</svg>\n`
}

const box = (middle: number, y: number, { width, height }: typeof BOX): string =>
  `<rect class="box" x="${middle - width / 2}" y="${y}" width="${width}" height="${height}" rx="6"/>`

/** Returns the parts of one step that begins at `y`, and where the next one begins. */
function drawStep(
  step: Step,
  y: number,
  xOf: (party: string) => number,
  width: number,
): [parts: string[], next: number] {
  if ('heading' in step) {
    const band = `<rect class="band" x="${MARGIN}" y="${y + 10}" width="${width - 2 * MARGIN}" height="26" rx="4"/>`
    return [[band, text(MARGIN + 10, y + 28, step.heading, 'strong')], y + 42]
  }
  if ('does' in step) {
    const broken = lines(step.does, COLUMN - 12)
    const height = broken.length * LINE + 10
    const x = Math.min(Math.max(xOf(step.at), COLUMN / 2 + 4), width - COLUMN / 2 - 4)
    const words = broken.map((each, index) => text(x, y + 26 + index * LINE, each, 'middle'))
    return [[box(x, y + 8, { width: COLUMN - 8, height }), ...words], y + height + 12]
  }
  const [from, to] = [xOf(step.from), xOf(step.to)]
  const broken = lines(step.says, Math.abs(to - from) - 12)
  const end = y + broken.length * LINE + 12
  const words = broken.map((each, index) => text((from + to) / 2, y + 18 + index * LINE, each, 'over middle'))
  return [[...words, arrow(`M${from} ${end}H${to}`)], end + 2]
}

/** Draws who says what to whom, from top to bottom. */
export function sequenceSvg({ title, parties, steps }: Sequence): string {
  const width = 2 * MARGIN + parties.length * COLUMN - 24
  const xOf = (party: string): number => MARGIN + COLUMN / 2 - 12 + parties.indexOf(party) * COLUMN
  let y = MARGIN + BOX.height + 6
  const parts = steps.flatMap((step) => {
    const [drawn, next] = drawStep(step, y, xOf, width)
    y = next
    return drawn
  })
  const height = y + MARGIN
  const heads = parties.flatMap((party) => [
    `<path class="life" d="M${xOf(party)} ${MARGIN + BOX.height}V${height - MARGIN}"/>`,
    box(xOf(party), MARGIN, BOX),
    text(xOf(party), MARGIN + 22, party, 'strong middle'),
  ])
  return drawing(title, width, height, [...heads, ...parts])
}

/** The middle of each box, and its top. */
const PLACES = {
  active: { x: 270, y: 76 },
  presented: { x: 720, y: 76 },
  'needs-reconnect': { x: 720, y: 330 },
  disconnected: { x: 270, y: 330 },
} as const
const STATE = { width: 190, height: 52 }

/** Path, place of the label, how it is set, and how wide it may be. By `from to`. */
const EDGES: Readonly<Record<string, readonly [path: string, x: number, y: number, set: string, width: number]>> = {
  'start active': ['M40 102H173', 34, 90, '', 140],
  'active presented': ['M365 90H623', 494, 82, 'middle', 260],
  'presented active': ['M625 114H367', 494, 132, 'middle', 260],
  'presented presented': ['M690 76V44H750V74', 720, 36, 'middle', 300],
  'presented needs-reconnect': ['M730 128V328', 738, 232, '', 130],
  'active needs-reconnect': ['M356 128 623 336', 530, 204, '', 190],
  'needs-reconnect active': ['M625 372 316 130', 545, 345, 'end', 165],
  'active disconnected': ['M224 128V328', 216, 216, 'end', 170],
  'disconnected active': ['M262 330V130', 270, 240, '', 130],
  'needs-reconnect end': ['M720 382V424', 730, 410, '', 200],
  'disconnected end': ['M270 382V424', 280, 410, '', 200],
}

function drawChange({ from, to, when }: Change): string[] {
  const edge = EDGES[`${from} ${to}`]
  if (edge === undefined) throw new Error(`There is no place for ${from} → ${to}`)
  const [path, x, y, set, width] = edge
  return [arrow(path), ...lines(when, width).map((each, index) => text(x, y + index * LINE, each, set))]
}

/** Draws the states of a grant. */
export function statesSvg({ title, states, changes }: States): string {
  const boxes = (Object.keys(PLACES) as (keyof typeof PLACES)[]).flatMap((name) => {
    const { x, y } = PLACES[name]
    return [box(x, y, STATE), text(x, y + 22, name, 'strong middle'), text(x, y + 40, states[name], 'soft middle')]
  })
  return drawing(title, 880, 446, [...boxes, ...changes.flatMap(drawChange)])
}

/** Returns a picture as a page has it, and the same in words. */
function inPage(name: string, title: string, words: readonly string[]): string {
  return [
    `![${title}](diagrams/${name}.svg)`,
    `<details><summary>The same in words</summary>`,
    words.join('\n'),
    `</details>`,
  ].join('\n\n')
}

export function sequenceInPage(name: string, { title, steps }: Sequence): string {
  let count = 0
  const words = steps.map((step) => {
    if ('heading' in step) return `\n${step.heading}:\n`
    count += 1
    return `${count}. ${'does' in step ? `${step.at}: ${step.does}` : `${step.from} → ${step.to}: ${step.says}`}`
  })
  return inPage(name, title, words)
}

export function statesInPage(name: string, { title, states, changes }: States): string {
  const meanings = Object.entries(states).map(([state, meaning]) => `- \`${state}\`: ${meaning}`)
  const words = changes.map(({ from, to, when }) => `- ${from} → ${to}: ${when}`)
  return inPage(name, title, [...meanings, '', 'What leads from one to another:', '', ...words])
}
