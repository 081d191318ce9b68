/**
 * The life of one fill:
 *
 *     made ─▶ waiting ─▶ filling ─▶ judging ─▶ verified ─▶ stored
 *                           ▲  │       │
 *                           │  ▼       ▼
 *                           discarding
 *
 * From each of these but the first and the last it may go to `cleaning`, and from there to `failed`. When the worker that
 * has the file open ends, it is `filling` again. `copy` counts the copies of the blob that were begun, from 0 on.
 */
export type FillState =
  /** Nothing has begun. */
  | { readonly kind: 'made' }
  /** It waits for an earlier fill of the digest to be cleaned up, or for its turn. */
  | { readonly kind: 'waiting' }
  /** Bytes arrive. */
  | { readonly kind: 'filling'; readonly copy: number }
  /** All bytes are there, and their digest is compared. */
  | { readonly kind: 'judging'; readonly copy: number }
  /** The bytes so far are of no use, and are thrown away; `copy` is the one that comes next. */
  | { readonly kind: 'discarding'; readonly copy: number }
  /** The digest is right. The blob is being stored. */
  | { readonly kind: 'verified'; readonly copy: number }
  | { readonly kind: 'stored'; readonly copy: number }
  /** It has failed, all were told, and what is left of it is being removed. */
  | { readonly kind: 'cleaning'; readonly failure: Error }
  /** It has failed, and nothing is under way for it. */
  | { readonly kind: 'failed'; readonly failure: Error };

/** What happens to a fill. */
export type FillEvent =
  | { readonly kind: 'started' }
  /** Its file is open in a worker: for the first time, or again after the worker that had it open has ended. */
  | { readonly kind: 'opened' }
  /** All bytes are there, and nothing writes any more. */
  | { readonly kind: 'whole' }
  /** The digest is that of the blob. */
  | { readonly kind: 'right' }
  /** The copy is wrong, or cannot be completed: another will be fetched from the start. */
  | { readonly kind: 'discarded' }
  /** The file of a discarded copy is empty. */
  | { readonly kind: 'emptied' }
  /** The blob is in the store. */
  | { readonly kind: 'stored' }
  | { readonly kind: 'failed'; readonly failure: Error }
  /** What was left of a failed fill is gone, or kept for the next start of the server. */
  | { readonly kind: 'cleaned' };

/** What of the bytes that are there readers are shown: `front` is all but the last piece. */
export type Shown = 'nothing' | 'front' | 'all';

/**
 * The state that follows. Two fills of one digest have one file: the second neither begins nor is over before the first is.
 * @param before the state of the fill of the same digest that came before, if there was one
 * @throws Error when the event cannot happen in that state
 */
export function nextFillState(state: FillState, event: FillEvent, before: FillState | undefined): FillState {
  const next = following(state, event, before === undefined || isOver(before));
  if (next === undefined) throw new Error(`a fill cannot be ${event.kind} while it is ${state.kind}`);
  return next;
}

function following(state: FillState, event: FillEvent, free: boolean): FillState | undefined {
  switch (event.kind) {
    case 'started':
      return state.kind === 'made' ? { kind: 'waiting' } : undefined;
    case 'opened':
      if (state.kind === 'waiting') return free ? { kind: 'filling', copy: 0 } : undefined;
      return state.kind === 'filling' || state.kind === 'judging' || state.kind === 'discarding'
        ? { kind: 'filling', copy: state.copy }
        : undefined;
    case 'whole':
      return state.kind === 'filling' ? { kind: 'judging', copy: state.copy } : undefined;
    case 'right':
      return state.kind === 'judging' ? { kind: 'verified', copy: state.copy } : undefined;
    case 'discarded':
      return state.kind === 'filling' || state.kind === 'judging'
        ? { kind: 'discarding', copy: state.copy + 1 }
        : undefined;
    case 'emptied':
      return state.kind === 'discarding' ? { kind: 'filling', copy: state.copy } : undefined;
    case 'stored':
      return state.kind === 'verified' ? { kind: 'stored', copy: state.copy } : undefined;
    case 'failed': {
      const alive = state.kind !== 'made' && failureOf(state) === undefined && !isOver(state);
      return alive ? { kind: 'cleaning', failure: event.failure } : undefined;
    }
    case 'cleaned':
      return state.kind === 'cleaning' && free ? { kind: 'failed', failure: state.failure } : undefined;
    default:
      return event satisfies never;
  }
}

/** Whether nothing more happens, so that another fill of the digest may have the file. */
export function isOver({ kind }: FillState): boolean {
  return kind === 'stored' || kind === 'failed';
}

/** What ended it, from the moment at which readers are told. */
export function failureOf(state: FillState): Error | undefined {
  return state.kind === 'cleaning' || state.kind === 'failed' ? state.failure : undefined;
}

/** Whether all bytes are there and of the right digest. */
export function isVerified({ kind }: FillState): boolean {
  return kind === 'verified' || kind === 'stored';
}

/** What readers are shown in that state. */
export function shownIn({ kind }: FillState): Shown {
  if (kind === 'verified' || kind === 'stored') return 'all';
  return kind === 'filling' || kind === 'judging' ? 'front' : 'nothing';
}

/** Whether a reader that was given bytes of a copy may be given more: nothing takes back what it has. */
export function mayGoOn(state: FillState, given: number): boolean {
  return 'copy' in state && state.copy === given;
}
