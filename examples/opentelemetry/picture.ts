import { seriesOf, type Panel } from './panels.js'
import type { Frame } from './load.js'

const COLOURS = ['#3274d9', '#e0752d', '#56a64b', '#c4162a', '#8f3bb8', '#b8860b', '#0a7c8c', '#6e6e6e']
const [WIDTH, HEIGHT, GAP, COLUMNS] = [380, 190, 14, 3]
/** Pixels of a panel around its plot. */
const EDGE = { left: 46, right: 12, top: 30, bottom: 44 }

/** Draws the panels on recorded metrics, as an SVG. */
export function drawDashboard(panels: readonly Panel[], frames: readonly Frame[]): string {
  const rows = Math.ceil(panels.length / COLUMNS)
  const [width, height] = [COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + GAP]
  const drawn = panels.map((panel, index) => {
    const x = GAP + (index % COLUMNS) * (WIDTH + GAP)
    const y = GAP + Math.floor(index / COLUMNS) * (HEIGHT + GAP)
    return `<g transform="translate(${x} ${y})">${drawPanel(panel, frames)}</g>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="10">`,
    '<title>The dashboard on the metrics of one run of the example</title>',
    `<rect width="${width}" height="${height}" fill="#f4f5f5"/>`,
    ...drawn,
    '</svg>\n',
  ].join('\n')
}

function drawPanel(panel: Panel, frames: readonly Frame[]): string {
  const series = seriesOf(panel, frames)
  const end = frames.at(-1)?.at ?? 1
  const highest = Math.max(...series.flatMap(({ points }) => points.map(([, value]) => value)), 0)
  const top = highest === 0 ? 1 : rounded(highest)
  const [plotWidth, plotHeight] = [WIDTH - EDGE.left - EDGE.right, HEIGHT - EDGE.top - EDGE.bottom]
  const place = ([at, value]: readonly [number, number]): string =>
    `${(EDGE.left + (at / end) * plotWidth).toFixed(1)},${(EDGE.top + plotHeight * (1 - value / top)).toFixed(1)}`
  const lines = series.map(({ points }, index) => {
    const colour = COLOURS[index % COLOURS.length] ?? ''
    const dots =
      points.length === 1
        ? points.map((point) => `<circle cx="${place(point).replace(',', '" cy="')}" r="2" fill="${colour}"/>`)
        : []
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.map(place).join(' ')}"/>${dots.join('')}`
  })
  const grid = [0, 0.5, 1].map((part) => {
    const y = EDGE.top + plotHeight * (1 - part)
    return `<path d="M${EDGE.left} ${y}h${plotWidth}" stroke="#ddd"/><text x="${EDGE.left - 5}" y="${y + 3}" text-anchor="end" fill="#555">${shown(top * part, panel)}</text>`
  })
  return [
    `<rect width="${WIDTH}" height="${HEIGHT}" rx="3" fill="#fff" stroke="#ddd"/>`,
    `<text x="10" y="18" font-size="12" font-weight="600">${panel.title}</text>`,
    ...grid,
    `<text x="${EDGE.left}" y="${EDGE.top + plotHeight + 13}" fill="#555">0 s</text>`,
    `<text x="${WIDTH - EDGE.right}" y="${EDGE.top + plotHeight + 13}" fill="#555" text-anchor="end">${(end / 1_000).toFixed(0)} s</text>`,
    ...lines,
    legend(series.map(({ label }) => label)),
  ].join('')
}

function legend(labels: readonly string[]): string {
  let x = 10
  return labels
    .filter((label) => label !== '')
    .map((label, index) => {
      const at = x
      x += 20 + label.length * 6.4
      return `<rect x="${at}" y="${HEIGHT - 17}" width="8" height="8" fill="${COLOURS[index % COLOURS.length] ?? ''}"/><text x="${at + 12}" y="${HEIGHT - 9}" fill="#333">${label}</text>`
    })
    .join('')
}

/** Returns 1, 2 or 5 times a power of ten, not below the value. */
function rounded(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((factor) => factor * power).find((top) => top >= value) ?? value
}

function shown(value: number, { shows }: Panel): string {
  if (shows === 'p95') return `${Number((value * 1_000).toPrecision(2))} ms`
  return `${Number(value.toPrecision(2))}${shows === 'rate' ? '/s' : ''}`
}
