import { settle } from '../../lib/settle.ts';
import type { ManifestAnswer } from '../manifests/answer.ts';
import type { PullManifests } from '../manifests/manifests.ts';
import type { Ask, DigestAsk } from '../repository.ts';
import type { Admission, Allowed, Denied, Judgement, Known, Wanted } from './admission.ts';
import type { DeniedContent } from './denied-content.ts';

/** Evidence that is brought for one question: more than there are kinds of it. */
const mostEvidence = 5;

/** A manifest that may be served, or why it may not; `fetched`: the manifest that had to be fetched to tell. */
export type AdmittedManifest =
  | { readonly kind: 'allow'; readonly answer: ManifestAnswer }
  | (Denied & { readonly fetched?: ManifestAnswer | undefined });

/** Of what repository something is asked, and until when somebody waits. */
type Waiting = Pick<Ask, 'target' | 'signal'>;

/** What a question came to, and the manifest that was fetched on the way, if one was. */
type Outcome = { readonly judgement: Allowed | Denied; readonly answer: ManifestAnswer | undefined };

/**
 * Asks the policy whether something may be served. Fetches the evidence that it needs, and asks again, until it has
 * decided.
 */
export class Admit {
  readonly #admission: Pick<Admission, 'judge'>;
  readonly #manifests: Pick<PullManifests, 'hot' | 'pull'>;
  readonly #deniedContent: Pick<DeniedContent, 'learn'>;

  constructor(deps: {
    admission: Pick<Admission, 'judge'>;
    manifests: Pick<PullManifests, 'hot' | 'pull'>;
    deniedContent: Pick<DeniedContent, 'learn'>;
  }) {
    this.#admission = deps.admission;
    this.#manifests = deps.manifests;
    this.#deniedContent = deps.deniedContent;
  }

  /**
   * The manifest that a reference names, where it may be served: the one that was judged. Answers at once when memory
   * alone can.
   * @throws OciError as `PullManifests.pull` and `DeniedContent.learn` do
   */
  manifest(ask: Ask): AdmittedManifest | Promise<AdmittedManifest> {
    return settle(this.#admission.judge(ask.target, ask.reference), (judgement) => {
      if (judgement.kind === 'deny') return judgement;
      const hot = judgement.kind === 'allow' ? this.#manifests.hot(ask, judgement.terms) : undefined;
      return hot === undefined ? this.#fetch(ask, judgement) : { kind: 'allow', answer: hot };
    });
  }

  /**
   * Whether a blob, or the list of what refers to a digest, may be served.
   * @throws OciError as `DeniedContent.learn` does
   */
  content(ask: DigestAsk): Allowed | Denied | Promise<Allowed | Denied> {
    return this.#decide(ask, { kind: 'content', digest: ask.reference.digest });
  }

  /** Whether anything may be listed of a repository. */
  repository(ask: Ask<undefined>): Allowed | Denied | Promise<Allowed | Denied> {
    return this.#decide(ask, { kind: 'repository' });
  }

  async #fetch(ask: Ask, first: Judgement): Promise<AdmittedManifest> {
    const { judgement, answer } = await this.#gather(ask, ask.reference, first);
    if (judgement.kind === 'deny') return { ...judgement, fetched: answer };
    return { kind: 'allow', answer: answer ?? (await this.#manifests.pull(ask, judgement.terms)) };
  }

  #decide(ask: Waiting, wanted: Wanted): Allowed | Denied | Promise<Allowed | Denied> {
    return settle(this.#admission.judge(ask.target, wanted), (first) => {
      return first.kind === 'needs'
        ? this.#gather(ask, wanted, first).then(({ judgement }) => judgement)
        : first;
    });
  }

  /** Brings one piece of evidence after the other until none is needed. */
  async #gather(ask: Waiting, wanted: Wanted, first: Judgement): Promise<Outcome> {
    let judgement = first;
    let known: Known = {};
    let answer: ManifestAnswer | undefined;
    for (let brought = 0; judgement.kind === 'needs'; brought += 1) {
      if (brought === mostEvidence) throw new Error('policy asks for evidence without end');
      const { evidence } = judgement;
      switch (evidence.kind) {
        case 'manifest': {
          if (wanted.kind !== 'tag' && wanted.kind !== 'digest') {
            throw new Error(`policy asks for a manifest to judge ${wanted.kind}`);
          }
          const { target, signal } = ask;
          answer = await this.#manifests.pull({ target, reference: wanted, signal }, evidence.terms);
          known = { ...known, manifest: answer.manifest.digest };
          break;
        }
        case 'denied-content':
          await this.#deniedContent.learn(ask.target, evidence.digests, ask.signal);
          known = { ...known, deniedContent: true };
          break;
        default:
          evidence satisfies never;
      }
      judgement = await this.#admission.judge(ask.target, wanted, known);
    }
    return { judgement, answer };
  }
}
