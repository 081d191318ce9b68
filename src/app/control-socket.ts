import type { Config } from '../config/config.ts';
import { storageLayout } from '../store/disk/layout.ts';

/** The path of the socket on which commands reach the server of a configuration. Nothing is loaded with it. */
export function controlSocketOf({ storage }: Config): string {
  return storageLayout(storage.path).control;
}
