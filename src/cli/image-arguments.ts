import { readFile } from 'node:fs/promises';
import { text as readText } from 'node:stream/consumers';
import { type Command, InvalidArgumentError } from 'commander';
import { findImages } from '../config/image-list.ts';

/** Where a command's images come from. */
export type ImageSources = { readonly file?: readonly string[] };

/** Adds the images and `-f, --file` to a command. */
export function addImages(command: Command): Command {
  return command
    .argument('[image...]', 'such as python:3.12-slim or ghcr.io/org/app:v1; without a tag: latest')
    .option(
      '-f, --file <file>',
      'read images from a list (one a line, # for comments), a compose file, Kubernetes YAML or a kustomization; ' +
        '- is standard input; may be repeated',
      collect,
    );
}

/** Adds `--platform`, which may be repeated. */
export function addPlatforms(command: Command): Command {
  return command.option(
    '--platform <os/arch[/variant]>',
    'only this platform of images that have several, such as linux/amd64; may be repeated; default: all',
    (text: string, before: readonly string[] = []) => {
      const given = text.split(',').map((each) => each.trim());
      const wrong = given.find((each) => !/^[a-z0-9_.-]+\/[a-z0-9_.-]+(?:\/[a-z0-9_.-]+)?$/.test(each));
      if (wrong !== undefined) throw new InvalidArgumentError('Write it as linux/amd64 or linux/arm/v7.');
      return [...before, ...given];
    },
  );
}

/** Ends a command that was given no images and nothing to read them from: wrong usage. */
export function requireImages(command: Command, names: readonly string[], { file }: ImageSources): void {
  if (names.length > 0 || file !== undefined) return;
  command.error('error: no images: name some, or a file that does with -f', { exitCode: 2 });
}

/**
 * The images that a command was given, each once.
 * @throws Error when a file cannot be read or names none
 */
export async function readImages(
  names: readonly string[],
  { file: files = [] }: ImageSources,
): Promise<readonly string[]> {
  const images = [...names];
  for (const file of files) {
    const source = file === '-' ? 'standard input' : file;
    const text = file === '-' ? await readText(process.stdin) : await readFile(file, 'utf8');
    const found = findImages(text, process.env, source);
    if (found.length === 0) throw new Error(`${source} names no images`);
    images.push(...found.map(({ name }) => name));
  }
  return [...new Set(images)];
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
