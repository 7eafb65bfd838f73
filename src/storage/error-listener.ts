/**
 * Warns (`ERR_STORAGE_LISTENER`) of a client or pool that emits `error` when its connection breaks and has no listener: Node.js ends the
 * process then, although each call of the adapter is answered for.
 *
 * @param name the client, as its owner knows it
 */
export function warnWithoutErrorListener(client: object, name: string): void {
  const { listenerCount } = client as { readonly listenerCount?: (event: string) => number }
  if (listenerCount?.call(client, 'error') !== 0) return
  process.emitWarning(
    `${name} has no listener for 'error', so that this process ends when a connection breaks: give it one with on('error', …)`,
    { type: 'McpAuthWarning', code: 'ERR_STORAGE_LISTENER' },
  )
}
