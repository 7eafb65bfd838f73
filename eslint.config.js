import js from '@eslint/js'
import { defineConfig } from 'eslint/config'
import redos from 'eslint-plugin-redos'
import { configs as regexp } from 'eslint-plugin-regexp'
import security from 'eslint-plugin-security'
import tseslint from 'typescript-eslint'

const MODES = /^(token-exchange|refresh-token|app-password|jwt-bearer|pass-through)$/
const PRESETS = /^(keycloak|entra|nextcloud-oidc-app|nextcloud-oauth2-app)$/
/** Selectors of code that tells a mode or a preset by its name: a comparison, a `case`, a list to look it up in. */
const byName = (names, message) =>
  [
    `BinaryExpression[operator=/^[!=]==?$/] > Literal[value=${names}]`,
    `SwitchCase > Literal[value=${names}]`,
    `MemberExpression[property.name=/^(includes|indexOf|has)$/] > ArrayExpression > Literal[value=${names}]`,
  ].map((selector) => ({ selector, message }))
const NAMED_EXPORTS = { selector: 'ExportDefaultDeclaration', message: 'Named exports only.' }

export default defineConfig(
  { ignores: ['.cache/', 'dist/', 'coverage/', 'test/package/fixtures/', 'test/testing/fixtures/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: {
        project: ['./tsconfig.json', './bench/tsconfig.json', './examples/{fastify,nest,next}/tsconfig.json'],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': 'off',
      // `declare global { namespace Express }` is the one way to add to Express's Request.
      '@typescript-eslint/no-namespace': ['error', { allowDeclarations: true }],
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-syntax': [
        'error',
        NAMED_EXPORTS,
        ...byName(MODES, 'Ask the table in modes.ts what a mode does; only the mode files know their own names.'),
        ...byName(PRESETS, 'Ask the table in presets.ts what a server does.'),
      ],
      'max-lines': ['error', 400],
      'max-lines-per-function': ['error', 80],
      'max-params': ['error', 4],
      complexity: ['error', 15],
    },
  },
  {
    files: ['src/**/*.ts'],
    extends: [security.configs.recommended, regexp.recommended],
    plugins: { redos },
    rules: {
      // Measures each literal (recheck). A few seconds are enough for all that are here.
      'redos/no-vulnerable': ['error', { timeout: 20_000 }],
      'regexp/no-super-linear-move': 'error',
      // Judges by nested quantifiers, bounded ones included. The two rules above judge by time.
      'security/detect-unsafe-regex': 'off',
      // Every index by a name. The compiler has `noUncheckedIndexedAccess`, and what comes from outside is read by Object.hasOwn.
      'security/detect-object-injection': 'off',
      // The files are the operator's: no request names one.
      'security/detect-non-literal-fs-filename': 'off',
      // Comparisons of a secret with `undefined`.
      'security/detect-possible-timing-attacks': 'off',
      // `no-misleading-character-class` forbids what it asks for, where the alternatives are joiners.
      'regexp/prefer-character-class': 'off',
      // Spelling. Expressions here are spelled as the grammars that they come from.
      'regexp/use-ignore-case': 'off',
      'regexp/prefer-w': 'off',
      'regexp/control-character-escape': 'off',
    },
  },
  {
    // The mode files, and what is stored of a mode.
    files: ['src/broker/modes/*.ts', 'src/grants/grant.ts'],
    rules: { 'no-restricted-syntax': ['error', NAMED_EXPORTS] },
  },
  {
    // A list of tests, and a list of pages.
    files: ['src/testing/*.ts', 'src/connect/pages/pages.ts'],
    rules: { 'max-lines-per-function': 'off' },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/options.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'Only options.ts reads the environment.' },
      ],
    },
  },
  {
    // Modules of Nest are classes with a decorator and nothing else.
    files: ['examples/nest/*.ts'],
    rules: {
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  { files: ['**/*.js', '**/*.cjs'], languageOptions: { globals: { module: 'writable', process: 'readonly' } } },
  {
    files: ['**/*.mjs'],
    languageOptions: { globals: { URL: 'readonly', console: 'readonly', process: 'readonly' } },
  },
)
