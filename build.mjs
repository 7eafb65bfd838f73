// Builds `dist` from `src`: the types by tsc, which does nothing where nothing has changed, and the JavaScript of every entry
// that package.json names by esbuild. With --clean, nothing of an earlier build is left.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { build } from 'esbuild'
import { globSync } from 'tinyglobby'

const { exports, bin, engines } = JSON.parse(readFileSync('package.json', 'utf8'))
const entries = [...Object.values(exports).map((entry) => entry.default), ...Object.values(bin)].filter(Boolean)

if (process.argv.includes('--clean')) rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '--build', 'tsconfig.build.json'], {
  stdio: 'inherit',
})
// Their names have a hash of what is in them.
for (const file of globSync('dist/**/*.js')) rmSync(file)
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
