// The doors: which room of src/ may import which. Data enters at the top as an HTTP request and leaves as a Nextcloud
// token; nothing travels back up.
const open =
  '^src/(auth-info|clock|events|freeze|hash-of-parts|modes|options|presets|single-flight|storage-adapter|config/(config|declarations|encryption-keys|kinds|read-options|values)|errors/[^/]+)\\.ts$'
const room = (name, mayImport) => ({
  name: `${name}-door`,
  comment: `${name}/ may import only: ${['itself', 'errors', 'events', 'options', 'clock', 'config/', ...mayImport].join(', ')}`,
  severity: 'error',
  from: { path: `^src/${name}/` },
  to: {
    path: '^src/',
    pathNot: [
      `^src/${name}/`,
      open,
      ...mayImport.map((other) => (other.endsWith('.ts') ? `^src/${other}$` : `^src/${other}/`)),
    ],
  },
})

module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    room('http', ['verify']),
    room('verify', ['authorization-server', 'transport']),
    room('connect', ['http', 'verify', 'broker', 'nextcloud', 'grants', 'authorization-server', 'transport']),
    room('broker', ['authorization-server', 'transport', 'nextcloud', 'grants']),
    room('nextcloud', ['transport', 'broker', 'authorization-server', 'grants']),
    room('transport', []),
    room('authorization-server', ['transport']),
    room('grants', []),
    room('cli', ['config', 'authorization-server', 'transport', 'verify', 'broker', 'nextcloud', 'grants', 'storage']),
    room('storage', []),
    {
      name: 'testing-door',
      comment: 'testing/ is for adapters of anybody: it may import only itself and the contract they keep',
      severity: 'error',
      from: { path: '^src/testing/' },
      to: { path: '^src/', pathNot: '^src/(testing/|storage-adapter\\.ts$)' },
    },
    room('mcp', ['mcp-auth.ts']),
    {
      name: 'open-files-stand-alone',
      comment: 'errors, events, options, clock and config are open to all, so they lean on no room',
      severity: 'error',
      from: { path: open },
      to: { path: '^src/', pathNot: open },
    },
    {
      name: 'the-four-dependencies',
      comment: 'runtime dependencies are jose, lru-cache, node-fetch and oauth4webapi',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/mcp/' },
      to: {
        dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'],
        pathNot: 'node_modules/(jose|lru-cache|node-fetch|oauth4webapi)/',
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
      to: { dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'], pathNot },
    })),
    {
      name: 'mcp-is-an-entry-of-its-own',
      comment: 'without an MCP SDK installed, the root entry must load',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/mcp/' },
      to: { path: '^src/mcp/' },
    },
    {
      name: 'http-out-by-one-door',
      comment: 'node-fetch is loaded in one place',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/transport/node-fetch\\.ts$' },
      to: { path: 'node_modules/node-fetch/' },
    },
    {
      name: 'http-out-within-bounds',
      comment: 'what is loaded there is called in one place, which sets timeouts, size limits and no redirects',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/transport/transport\\.ts$' },
      to: { path: '^src/transport/node-fetch\\.ts$' },
    },
    {
      name: 'no-req-or-res-inside',
      comment: 'verify, broker, nextcloud, grants and authorization-server never see req or res',
      severity: 'error',
      from: { path: '^src/(verify|broker|nextcloud|grants)/' },
      to: { path: '^(node:)?http$', dependencyTypes: ['core'] },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
}
