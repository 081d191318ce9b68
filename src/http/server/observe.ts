import type { Log } from '../../lib/log.ts';
import type { Metrics } from '../../lib/metrics.ts';
import type { Exchange } from '../exchange.ts';

/** Makes the function that writes one log line and the metrics for each request that ended. */
export function requestObserver(deps: {
  log: Log;
  metrics: Metrics;
}): (exchange: Exchange, ms: number) => void {
  const { log, metrics } = deps;
  const requests = metrics.counter(
    'entrepot_requests_total',
    'Registry requests by how they were answered.',
    ['route', 'method', 'status', 'cache'],
  );
  const bytes = metrics.counter('entrepot_sent_bytes_total', 'Body bytes sent to clients.', ['cache']);
  const seconds = metrics.seconds('entrepot_request_seconds', 'From the request to the end of its answer.', [
    'route',
    'cache',
  ]);
  return ({ incoming, outgoing, facts }, ms) => {
    const { route } = facts;
    const method = incoming.method ?? '';
    const cache = facts.outcome ?? 'none';
    const aborted = !outgoing.writableFinished;
    const known = method === 'GET' || method === 'HEAD' ? method : 'other';
    requests({ route, method: known, status: aborted ? 'aborted' : outgoing.statusCode, cache });
    if (facts.bytes > 0) bytes({ cache }, facts.bytes);
    seconds({ route, cache }, ms / 1000);
    log.info(
      {
        route,
        method,
        status: outgoing.statusCode,
        image: facts.image,
        reference: facts.reference,
        cache: facts.outcome,
        upstream: facts.upstream,
        ...(facts.upstreams !== undefined && { upstreams: facts.upstreams }),
        bytes: facts.bytes,
        ms: Math.round(ms * 10) / 10,
        client: incoming.socket.remoteAddress,
        agent: incoming.headers['user-agent'],
        ...(facts.user !== undefined && { user: facts.user }),
        ...(aborted && { aborted }),
        ...(facts.error !== undefined && { error: facts.error }),
        ...(facts.because !== undefined && { because: facts.because }),
      },
      'request',
    );
  };
}
