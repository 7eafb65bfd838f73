// Builds `dist` from `src`: the types by tsc, and the JavaScript of every entry that package.json names by esbuild.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

const { exports, bin, engines } = JSON.parse(readFileSync('package.json', 'utf8'))
const entries = [...Object.values(exports).map((entry) => entry.default), ...Object.values(bin)].filter(Boolean)

rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
await build({
  entryPoints: entries.map((file) => file.replace(/^(\.\/)?dist\//, 'src/').replace(/\.js$/, '.ts')),
  outbase: 'src',
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: `node${engines.node.replace('>=', '')}`,
  packages: 'external',
  chunkNames: 'shared/[hash]',
  logLevel: 'warning',
})
