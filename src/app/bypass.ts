import type { Clock } from '../lib/clock.ts';
import type { Facts } from '../lib/facts.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { BypassWatch } from '../policy/bypass-watch.ts';
import type { ServerFact } from './server-facts.ts';

/** Tells of clients that were denied a tag and then ask for the image's content by digest. */
export function watchForBypass(
  facts: Facts<ServerFact>,
  { clock, log, metrics }: { clock: Clock; log: Log; metrics: Metrics },
): void {
  const watch = new BypassWatch({ clock });
  const attempts = metrics.counter(
    'entrepot_bypass_attempts_total',
    'Requests for content of an image by a client that had been denied it by tag.',
    ['registry'],
  );
  facts.on('request-denied', ({ exchange, image, byTag }) => {
    const client = exchange.incoming.socket.remoteAddress ?? '';
    if (byTag) return watch.denied(client, image);
    if (!watch.follows(client, image)) return;
    attempts({ registry: image.slice(0, image.indexOf('/')) });
    log.warn(
      { image, reference: exchange.facts.reference, client, agent: exchange.incoming.headers['user-agent'] },
      'denied image asked for by digest: its client goes around the policy',
    );
  });
}
