import { readFile } from 'node:fs/promises'

interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

/** Returns the versions of this package, of its dependencies, and of the packages that it is compared with. */
export async function installedVersions(): Promise<Record<string, string>> {
  const read = async (path: string): Promise<Manifest> =>
    JSON.parse(await readFile(new URL(path, import.meta.url), 'utf8')) as Manifest
  const [own, bench] = [await read('../package.json'), await read('package.json')]
  const versions: Record<string, string> = { [own.name]: own.version }
  for (const name of [...Object.keys(own.dependencies), 'oidc-provider']) {
    versions[name] = (await read(`../node_modules/${name}/package.json`)).version
  }
  for (const name of Object.keys(bench.devDependencies).filter((each) => !each.startsWith('@types/'))) {
    versions[name] ??= (await read(`node_modules/${name}/package.json`)).version
  }
  return versions
}
