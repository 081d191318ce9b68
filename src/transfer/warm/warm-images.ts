import { eachAtOnce, Semaphore } from '../../lib/concurrency.ts';
import { OciError } from '../../oci/errors.ts';
import type { ImageName } from '../../oci/image-name.ts';
import { imageText } from '../../oci/repository-key.ts';
import { type ImageTarget, referenceOf } from '../images/images.ts';
import type { WarmEvent, WarmResult, WarmSummary } from './warm-events.ts';
import type { WarmDeps, WarmOptions } from './warm-image.ts';
import { WarmImage } from './warm-image.ts';

/** Images that are warmed at once: enough to keep the line busy while manifests are asked for. */
const imagesAtOnce = 4;

/**
 * Fetches images ahead of whoever will pull them, in the same way: by the same rules, from the same upstreams, each
 * blob once however many images share it. What is here is not fetched again.
 */
export class Warm {
  readonly #deps: WarmDeps;
  readonly #semaphore: Semaphore;

  /** @param options.blobs downloads at once, of all that is warmed; the rest of the server's are left to its clients */
  constructor(deps: WarmDeps, options: { blobs: number }) {
    this.#deps = deps;
    this.#semaphore = new Semaphore({ most: options.blobs });
  }

  /**
   * Warms one image. What goes wrong with it is in the answer.
   * @throws the signal's reason when it aborts; downloads under way then go on for a while on their own
   */
  run(
    image: ImageTarget,
    options: WarmOptions,
    onEvent: (event: WarmEvent) => void,
    signal: AbortSignal,
  ): Promise<WarmResult> {
    return new WarmImage(image, { ...this.#deps, semaphore: this.#semaphore, onEvent }, options).run(signal);
  }

  /**
   * Warms several images; the last event is `done`. Their tags are asked of upstream whatever is known of them, since
   * whoever warms wants what they name now. An image of a registry that is not configured has failed. Throws as
   * {@link Warm.run} does.
   */
  async all(
    images: readonly ImageName[],
    options: WarmOptions,
    onEvent: (event: WarmEvent) => void,
    signal: AbortSignal,
  ): Promise<WarmSummary> {
    const sums = { warmed: 0, unchanged: 0, denied: 0, failed: 0, fetched: 0, bytes: 0 };
    await eachAtOnce(images, imagesAtOnce, async (name) => {
      const image = this.#find(name);
      const ended = 'result' in image ? image : await this.run(image, options, onEvent, signal);
      sums[ended.result] += 1;
      sums.fetched += ended.fetched;
      sums.bytes += ended.bytes;
      onEvent({ kind: 'end', ...ended });
    });
    onEvent({ kind: 'done', ...sums });
    return sums;
  }

  #find(name: ImageName): ImageTarget | WarmResult {
    try {
      const { target, reference } = this.#deps.images.find(name);
      return { target: { ...target, registry: { ...target.registry, tagTtl: 0 } }, reference };
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
      return {
        image: imageText(name, referenceOf(name)),
        result: 'failed',
        digest: undefined,
        before: undefined,
        fetched: 0,
        bytes: 0,
        message: error.message,
        warnings: [],
      };
    }
  }
}
