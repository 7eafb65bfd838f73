import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { optionsFor } from '../nextcloud-sign-in/nextcloud-sign-in.js'
import { DATABASE_FILE, KEY_FILE } from './data-folder.js'
import type { ServeSettings } from './settings.js'
import { SCOPES } from './tools/tool.js'

/** The set-up of `serve`, as the doctor looks at one. */
export interface DoctorSetUp {
  /** The options of the `mcpAuth()` that `serve` has. */
  readonly options: Readonly<Record<string, unknown>>
  /** URL of the store, as `--storage` names it. Undefined: it is not there yet. */
  readonly storage: string | undefined
  readonly encryptionKey: string | undefined
  /** The state of the folder, as a sentence. */
  readonly folder: { readonly usable: boolean; readonly found: string }
}

/** Reads what is there, and makes nothing. */
export function doctorSetUp(settings: ServeSettings): DoctorSetUp {
  const { resource, nextcloudUrl, nextcloudPublicUrl, clientId, clientSecret, data } = settings
  const encryptionKey = settings.encryptionKey ?? keyIn(path.join(data, KEY_FILE))
  const file = path.join(data, DATABASE_FILE)
  const nextcloud = { url: nextcloudUrl, publicUrl: nextcloudPublicUrl, clientId, clientSecret }
  return {
    // No answers from inside: the doctor asks the public address, as clients do.
    options: optionsFor({ resource, nextcloud }, Object.keys(SCOPES), {
      local: () => undefined,
      userAt: () => Promise.resolve(undefined),
    }) as unknown as DoctorSetUp['options'],
    storage: existsSync(file) ? `sqlite:${file}` : undefined,
    encryptionKey,
    folder: folderAt(data, encryptionKey !== undefined),
  }
}

function keyIn(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}

function folderAt(folder: string, hasKey: boolean): DoctorSetUp['folder'] {
  const isThere = existsSync(folder)
  const [place, inside] = isThere
    ? [folder, `${folder} can be written`]
    : [parentOf(folder), `${folder} is made by the first start`]
  try {
    if (!statSync(place).isDirectory()) return { usable: false, found: `${place} is not a folder` }
    accessSync(place, constants.W_OK)
  } catch {
    return { usable: false, found: `${place} cannot be written by this user` }
  }
  const lacksKey = !hasKey && existsSync(path.join(folder, DATABASE_FILE))
  if (lacksKey) return { usable: false, found: `${folder} has a database, and there is no key to it` }
  return { usable: true, found: hasKey ? `${inside}, and there is a key` : inside }
}

/** Returns the first folder above that is there. */
function parentOf(folder: string): string {
  const parent = path.dirname(folder)
  return existsSync(parent) || parent === folder ? parent : parentOf(parent)
}
