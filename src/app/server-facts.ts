import type { RequestFact } from '../http/request-facts.ts';
import type { Facts } from '../lib/facts.ts';
import type { Log } from '../lib/log.ts';
import { repositoryText } from '../oci/repository-key.ts';
import type { LoginFact } from '../policy/passwords.ts';
import type { PullFact } from '../pull/pull-facts.ts';
import type { SyncFact } from '../transfer/sync/sync-entries.ts';

/** An upstream answered, or did not; `op` says to what, `outcome` how, `ms` after how long. */
type UpstreamFact = {
  readonly kind: 'upstream-answered';
  readonly upstream: string;
  readonly op: string;
  readonly outcome: string;
  readonly ms: number;
};

/** Everything that becomes known in a server. */
export type ServerFact = PullFact | SyncFact | RequestFact | LoginFact | UpstreamFact;

/** Writes a line for each fact that an operator should read of, and that nothing else tells. */
export function logFacts(facts: Facts<ServerFact>, log: Log): void {
  facts.on('tag-moved', ({ key, move: { tag, old, new: digest, upstream } }) => {
    log.warn({ image: repositoryText(key), tag, old, new: digest, upstream }, 'tag moved upstream');
  });
}
