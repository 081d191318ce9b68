import type { AdminOperations } from '../../../src/http/admin/admin.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { OciError } from '../../../src/oci/errors.ts';
import type { Tag } from '../../../src/oci/reference.ts';

/** A digest of the given hex digit, for tests that only need it to be well-formed. */
export const digestOf = (digit: string) => `sha256:${digit.repeat(64)}` as Digest;

/** Operations that do nothing but say what they were asked for, as lines of text. */
export function scriptedOperations() {
  const asked: string[] = [];
  const moves: Awaited<ReturnType<AdminOperations['history']>> = [
    {
      tag: '3.12' as Tag,
      old: digestOf('a'),
      new: digestOf('b'),
      upstream: 'registry-1.docker.io',
      at: Date.UTC(2026, 6, 1, 8, 30),
      action: 'moved',
    },
    { tag: '3.12' as Tag, old: undefined, new: digestOf('a'), upstream: '', at: 0, action: 'locked' },
  ];
  const operations: AdminOperations = {
    history: async ({ registry, repository }, tag) => {
      asked.push(`history ${registry} ${repository} ${tag ?? '-'}`);
      return moves;
    },
    rollback: async ({ registry, repository }, tag, digest) => {
      asked.push(`rollback ${registry} ${repository} ${tag} ${digest}`);
      if (digest === digestOf('f'))
        throw new OciError('MANIFEST_UNKNOWN', 'that manifest is not stored here');
    },
    release: async ({ registry, repository }, tag) => {
      asked.push(`release ${registry} ${repository} ${tag}`);
      if (tag === 'broken') throw new Error('secret detail');
    },
    lock: async (images) => {
      asked.push(
        `lock ${images.map((image) => `${image.registry}/${image.repository}:${image.tag}`).join(' ')}`,
      );
      return images.map(({ registry, repository, tag }) => ({
        image: `${registry}/${repository}`,
        tag,
        digest: digestOf('c'),
        platforms: tag === 'plain' ? undefined : { 'linux/amd64': digestOf('d') },
      }));
    },
  };
  return { operations, asked };
}
