import { vi } from 'vitest';
import { seededBytes } from '../../helpers/image.ts';
import {
  DownloadScene,
  type RunningDownload,
  startDownload,
  type TestLane,
  type TestUpstream,
} from './download-scene.ts';

/** A million bytes. */
export const megabyte = 1_000_000;
/** Bytes of the blob that connections share. */
export const size = 40 * megabyte;
/** A blob that is large enough to be shared by several connections. */
export const blob: Buffer = seededBytes('lanes', size);

/** Lets what is due happen, without time going on. Timers have to be the fake ones, here and below. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

/** Time goes on, and every open connection brings what its upstream sends meanwhile, in bytes a second. */
export async function flow(
  scene: DownloadScene,
  ms: number,
  rateOf: (lane: TestLane) => number,
): Promise<void> {
  for (let time = 0; time < ms; time += 25) {
    for (const lane of scene.open) lane.bring(rateOf(lane) * 0.025);
    await vi.advanceTimersByTimeAsync(25);
  }
}

/** The script of an upstream that answers at once, and declares the blob's size. */
export function begins(lane: TestLane): void {
  lane.begin(size);
}

/** A download of the blob, of which the first connection has been asked for. */
export async function start(
  upstreams: Record<string, TestUpstream>,
  how: Parameters<typeof startDownload>[1] = {},
): Promise<{ scene: DownloadScene; download: RunningDownload }> {
  const scene = new DownloadScene(blob, upstreams);
  const download = startDownload(scene, how);
  await settle();
  return { scene, download };
}
