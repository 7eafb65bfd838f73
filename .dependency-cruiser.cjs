// The doors: which room of src/ may import which (ARCHITECTURE.md). Data enters at the top as an HTTP request and leaves as a
// Nextcloud token; nothing travels back up. test/docs/doors.test.ts breaks each rule once.

/** The files on the ground: every room stands on them, and they stand on each other alone. */
const GROUND =
  '^src/(auth-info|client-id|clock|consistent-options|contact|event-line|event-log|events|freeze|hash-of-parts|json|local-options|modes|options|presets|process-warnings|shell-word|single-flight|storage-adapter|token-spelling|under-way|watchers|config/(config|declarations|encryption-keys|identity-rule|issuer-template|kinds|per-issuer|read-options|values)|errors/[^/]+)\\.ts$'

/** Room → what it may import besides itself and the ground. */
const DOORS = {
  http: ['verify'],
  verify: ['authorization-server', 'transport'],
  connect: ['http', 'verify', 'broker', 'grants', 'nextcloud', 'authorization-server', 'transport'],
  broker: ['grants', 'authorization-server', 'nextcloud', 'transport'],
  nextcloud: ['transport'],
  'authorization-server': ['transport'],
  transport: [],
  grants: [],
  storage: [],
  config: [],
  'nextcloud-sign-in': [
    'http',
    'connect',
    'broker',
    'grants',
    'nextcloud',
    'authorization-server',
    'transport',
    'storage',
    'config',
    'mcp-auth.ts',
  ],
  serve: ['nextcloud-sign-in', 'mcp', 'connect', 'nextcloud', 'storage', 'mcp-auth.ts'],
  telemetry: ['mcp-auth.ts'],
  cli: ['config', 'authorization-server', 'transport', 'verify', 'broker', 'nextcloud', 'grants', 'storage', 'serve'],
}

const NPM = ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown']

const pathOf = (room) => (room.endsWith('.ts') ? `^src/${room.replace('.', '\\.')}$` : `^src/${room}/`)

const door = ([room, mayImport]) => ({
  name: `${room}-door`,
  comment: `${room}/ may import only itself, the ground${mayImport.map((other) => `, ${other}`).join('')}`,
  severity: 'error',
  from: { path: `^src/${room}/`, pathNot: GROUND },
  to: { path: '^src/', pathNot: [`^src/${room}/`, GROUND, ...mayImport.map(pathOf)] },
})

/** @param may the only files of src/ that it may import */
const only = (name, comment, path, may) => ({
  name,
  comment,
  severity: 'error',
  from: { path },
  to: { path: '^src/', pathNot: [path, ...may] },
})

module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    ...Object.entries(DOORS).map(door),
    only('ground-door', 'the ground leans on no room', GROUND, [GROUND]),
    only(
      'options-door',
      'options.ts may import only the contract of storage, modes, presets, events, errors and auth-info',
      '^src/options\\.ts$',
      ['^src/(storage-adapter|modes|presets|events|auth-info|errors/[^/]+)\\.ts$'],
    ),
    only(
      'storage-adapter-door',
      'the contract of storage and the tables of modes and presets lean on nothing',
      '^src/(storage-adapter|modes|presets)\\.ts$',
      [],
    ),
    only(
      'testing-door',
      'testing/ is for the tests of others: it may import only itself and the contract of storage',
      '^src/testing/',
      ['^src/storage-adapter\\.ts$'],
    ),
    only('mcp-door', 'mcp/ may import only itself, mcp-auth.ts and the ground', '^src/mcp/', [
      '^src/mcp-auth\\.ts$',
      GROUND,
    ]),
    {
      name: 'rooms-are-built-once',
      comment: 'rooms.ts is asked by mcp-auth.ts alone',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/mcp-auth\\.ts$' },
      to: { path: '^src/rooms\\.ts$' },
    },
    {
      name: 'the-cli-is-an-end',
      comment: 'nothing imports cli/',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/cli/' },
      to: { path: '^src/cli/' },
    },
    {
      name: 'mcp-is-an-entry-of-its-own',
      comment: 'without an MCP SDK installed, the root entry must load',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(mcp|serve)/' },
      to: { path: '^src/mcp/' },
    },
    {
      name: 'the-sign-in-is-an-entry-of-its-own',
      comment: 'an app that does not import it loads nothing of oidc-provider',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(nextcloud-sign-in|serve)/' },
      to: { path: '^src/nextcloud-sign-in/' },
    },
    {
      name: 'serve-is-for-the-cli',
      comment: 'it is an app, and nothing is built on it',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(cli|serve)/' },
      to: { path: '^src/serve/' },
    },
    {
      name: 'the-four-dependencies',
      comment: 'runtime dependencies are jose, lru-cache, node-fetch and oauth4webapi',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(mcp|nextcloud-sign-in|serve|telemetry)/' },
      to: { dependencyTypes: NPM, pathNot: 'node_modules/(jose|lru-cache|node-fetch|oauth4webapi)/' },
    },
    {
      name: 'the-sign-in-needs-oidc-provider-alone',
      comment: 'the entry has one optional peer',
      severity: 'error',
      from: { path: '^src/nextcloud-sign-in/' },
      to: { dependencyTypes: NPM, pathNot: 'node_modules/(@types/)?(jose|lru-cache|oidc-provider)/' },
    },
    {
      name: 'telemetry-is-an-entry-of-its-own',
      comment: 'an app that does not import it loads nothing of OpenTelemetry',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/telemetry/' },
      to: { path: '^src/telemetry/' },
    },
    {
      name: 'telemetry-needs-the-api-alone',
      comment: 'the entry has one optional peer',
      severity: 'error',
      from: { path: '^src/telemetry/' },
      to: { dependencyTypes: NPM, pathNot: 'node_modules/@opentelemetry/api/' },
    },
    {
      name: 'serve-needs-what-it-names',
      comment: 'src/cli/serve-packages.ts tells people what to install',
      severity: 'error',
      from: { path: '^src/serve/' },
      to: {
        dependencyTypes: NPM,
        pathNot: 'node_modules/(@types/)?(@modelcontextprotocol/(server|node)|express|express-rate-limit|helmet|zod)/',
      },
    },
    ...[
      ['v1', '^src/mcp/v1\\.ts$', 'node_modules/@modelcontextprotocol/sdk/'],
      ['v2', '^src/mcp/v2\\.ts$', 'node_modules/@modelcontextprotocol/server/'],
      ['other', '^src/mcp/(?!v[12]\\.ts$)', '(?!)'],
    ].map(([name, path, pathNot]) => ({
      name: `mcp-${name}-needs-its-own-sdk-alone`,
      comment: 'an app has one of the MCP SDKs, and gets by without the other one',
      severity: 'error',
      from: { path },
      to: { dependencyTypes: NPM, pathNot },
    })),
    {
      name: 'http-out-by-one-door',
      comment: 'node-fetch is loaded in one place',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/transport/node-fetch\\.ts$' },
      to: { path: 'node_modules/node-fetch/' },
    },
    {
      name: 'http-out-within-bounds',
      comment:
        'what is loaded there is called in two places, each of which sets timeouts, size limits and no redirects',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/transport/(transport|public-document)\\.ts$' },
      to: { path: '^src/transport/node-fetch\\.ts$' },
    },
    {
      name: 'no-req-or-res-inside',
      comment:
        'req and res are seen in http/, connect/, the two servers, the fakes of testing/ and the two public files only; transport/ knows the agents of node:http',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot:
          '^src/(http/|connect/|nextcloud-sign-in/|serve/|testing/|transport/|mcp-auth\\.ts$|local-options\\.ts$|options\\.ts$)',
      },
      to: { path: '^(node:)?https?$', dependencyTypes: ['core'] },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
}
