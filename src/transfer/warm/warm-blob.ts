import { abandonOnAbort } from '../../lib/abort.ts';
import type { Semaphore } from '../../lib/concurrency.ts';
import type { Fills } from '../../pull/blobs/fills.ts';
import type { ResolvedRepository } from '../../pull/repository.ts';
import type { StoredBlobs } from '../../store/stored-blobs.ts';
import type { ImagePart } from '../images/walk.ts';

/** Milliseconds between two words about the progress. */
const progressEvery = 250;

/** Says how many bytes of a blob are here. */
export type TellBlob = (arrived: number, state: 'arriving' | 'stored' | 'failed') => void;

/**
 * Brings a blob in through the one fill that all who want it share, once it is its turn. Resolves to whether it was
 * here by then, was being brought for another, or was brought for this.
 * @throws what ends the fill; the signal's reason when it aborts, and the fill goes on for a while then
 */
export async function warmBlob(
  target: ResolvedRepository,
  { digest, size }: ImagePart,
  {
    fills,
    blobs,
    semaphore,
    tell,
  }: { fills: Fills; blobs: StoredBlobs; semaphore: Semaphore; tell: TellBlob },
  signal: AbortSignal,
): Promise<'here' | 'joined' | 'fetched'> {
  const release = await semaphore.acquire(signal);
  try {
    // Another image, or a client, may have brought it while this one waited for its turn.
    if (fills.find(digest) === undefined && (await blobs.present(digest)) !== undefined) {
      tell(size, 'stored');
      return 'here';
    }
    const { fill, joined } = fills.join(target, digest, size);
    const reader = fill.reader();
    let told = 0;
    const timer = setInterval(() => {
      const arrived = fill.arrival.arrived().size;
      if (arrived !== told) tell(arrived, 'arriving');
      told = arrived;
    }, progressEvery);
    tell(0, 'arriving');
    try {
      await abandonOnAbort(fill.done, signal);
    } catch (error) {
      tell(told, 'failed');
      throw error;
    } finally {
      clearInterval(timer);
      await reader.close();
    }
    tell(size, 'stored');
    return joined ? 'joined' : 'fetched';
  } finally {
    release();
  }
}
