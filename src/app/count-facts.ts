import type { Facts } from '../lib/facts.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { ServerFact } from './server-facts.ts';

/** Counts what becomes known, by its kind. */
export function countFacts(facts: Facts<ServerFact>, metrics: Metrics): void {
  const counter = metrics.counter.bind(metrics);
  const moves = counter('entrepot_tag_moves_total', 'Tags that upstream moved to another digest.', [
    'registry',
  ]);
  facts.on('tag-moved', ({ key }) => moves({ registry: key.registry }));

  const hedges = counter('entrepot_hedges_total', 'Second requests sent because the first was late.', []);
  facts.on('request-hedged', () => hedges({}));

  const fills = counter('entrepot_fills_total', 'Downloads that ended, by how.', ['result']);
  const stored = counter('entrepot_fill_bytes_total', 'Bytes downloaded and stored.', []);
  facts.on('fill-ended', ({ report }) => {
    fills({ result: report.result });
    if (report.result === 'stored') stored({}, report.bytes);
  });

  const asked = metrics.seconds('entrepot_upstream_seconds', 'Upstream requests, by how they ended.', [
    'upstream',
    'op',
    'outcome',
  ]);
  facts.on('upstream-answered', ({ upstream, op, outcome, ms }) => {
    asked({ upstream, op, outcome }, ms / 1000);
  });

  const distrusted = counter('entrepot_distrusted_total', 'Blobs that an upstream sent wrong.', ['upstream']);
  facts.on('upstream-distrusted', ({ upstream }) => distrusted({ upstream }));

  const prefetched = counter(
    'entrepot_prefetched_total',
    'Blobs that a pulled manifest named and that were not here, by what became of them.',
    ['result'],
  );
  facts.on('blob-prefetched', ({ result }) => prefetched({ result }));

  const logins = counter('entrepot_logins_total', 'Passwords that were compared, by the result.', ['result']);
  facts.on('login-ended', ({ result }) => logins({ result }));

  const denied = counter('entrepot_denied_total', 'Requests that policy denied.', ['registry', 'route']);
  facts.on('request-denied', ({ exchange, image }) => {
    denied({ registry: image.slice(0, image.indexOf('/')), route: exchange.facts.route });
  });

  const runs = counter('entrepot_sync_runs_total', 'Runs of scheduled images, by how they ended.', [
    'image',
    'result',
  ]);
  const tags = counter('entrepot_sync_tags_total', 'Tags that were synced, by what became of them.', [
    'image',
    'result',
  ]);
  facts.on('sync-ended', ({ image, run: { added, moved, unchanged, failed, stopped } }) => {
    runs({ image, result: failed.length > 0 ? 'failed' : stopped === undefined ? 'ok' : 'stopped' });
    for (const [became, { length }] of Object.entries({ added, moved, unchanged, failed })) {
      tags({ image, result: became }, length);
    }
  });
}
